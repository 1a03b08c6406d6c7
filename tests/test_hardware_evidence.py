"""`make hardware` on doubles: the page says what both sides read, and what differs is not passed over."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.hardware_evidence import FIELDS, NO_GPU
from tests.support.checkout import ROOT
from tests.support.cublaslt_double import build_cublaslt_double
from tests.support.cuda_double import CudaHost, build_cuda_doubles
from tests.support.nvml_double import Library, build_double

IDLE = {
    "driver_version": "550.127.05",
    "uuid": "GPU-00000000-0000-0000-0000-00000000000{gpu}",
    "name": "NVIDIA H100 80GB HBM3",
    "serial": "165301234500{gpu}",
    "pcie.link.width.current": "16",
    "temperature.gpu": "37",
    "power.limit": "700.00",
    "persistence_mode": "Enabled",
    "vbios_version": "96.00.99.00.01",
}


@pytest.fixture(scope="module")
def doubles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of NVIDIA's libraries, all of them doubles."""
    folder = build_cuda_doubles(tmp_path_factory.mktemp("libraries"))
    build_cublaslt_double(folder)
    return build_double(folder)


def nvidia_smi(folder: Path, **otherwise: str) -> None:
    """Put a program there that answers for two idle GPUs, and knows nothing of what it is not told."""
    said = IDLE | {name.replace("__", "."): text for name, text in otherwise.items()}
    script = f"""#!{sys.executable}
import sys
said = {said!r}
asked = sys.argv[1].partition("=")[2].split(",")
for gpu in range(2):
    print(", ".join(said.get(name, "[N/A]").replace("{{gpu}}", str(gpu)) for name in asked))
"""
    program = folder / "nvidia-smi"
    program.write_text(script)
    program.chmod(0o755)


def evidence(doubles: Path, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Run it on a host with two GPUs."""
    host, library = CudaHost(tmp_path / "host", doubles), Library(tmp_path, doubles)
    host.say("gpus 2", "memory_gib 0.25", "overhead_us 0")
    library.say()
    environment = {
        **host.environment,
        "NVML_DOUBLE_STATE": str(library.state),
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
    }
    command = [sys.executable, "-m", "scripts.hardware_evidence", "--output", str(tmp_path / "evidence")]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100, check=False)


def test_the_page_has_what_both_sides_say(doubles: Path, tmp_path: Path) -> None:
    nvidia_smi(tmp_path, temperature__gpu="90")

    done = evidence(doubles, tmp_path)

    assert done.returncode == 1, done.stderr
    (path,) = (tmp_path / "evidence").iterdir()
    assert path.name.endswith("-H100-driver-550.127.05.md")
    text = path.read_text()
    assert "| 1 | `serial` | 1653012345001 | 1653012345001 | same |" in text
    assert "| 0 | `temperature.gpu` | 35 | 90 | **differs** |" in text
    assert "| 0 | `pcie.link.gen.max` | 5 | [N/A] | not on both sides |" in text
    assert text.count("| 1 | `") == len(FIELDS)
    assert "### nccl_all_reduce: pass" in text
    assert "### gemm: error" in text, "two GPUs of 256 MiB have no room for it"
    assert "| memory_copy |" in text
    assert "| `gpu.count` |" in text


def test_a_host_without_gpus_is_told_so(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "scripts.hardware_evidence", "--output", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, list(tmp_path.iterdir())) == (NO_GPU, [])
    assert done.stderr.startswith("no NVIDIA GPU answers here: ")
