"""One check process of Meta's GPU Cluster Monitoring (PyPI `gpucm`), for comparison.

gcm starts a Python process for each check. It is installed into an environment of its own below the scratch folder,
with uv, and asked to count GPUs over the same C double of NVML that our agent is measured with.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from benchmarks.report import Row

CHECKOUT = Path(__file__).parent.parent
CHECK = ("check-nvidia-smi", "--sink", "do_nothing", "-c", "gpu_num", "--gpu_num", "8", "cluster", "nagios")
RUNS = 5


def one_check(folder: Path, double: Path, state: Path) -> list[Row]:
    """Return processor time and peak memory of one check, the median of some runs.

    Args:
        folder: where gcm is installed.
        double: the folder of the C double.
        state: the text that it answers from.
    """
    program = install(folder)
    environment = {**os.environ, "LD_LIBRARY_PATH": str(double), "NVML_DOUBLE_STATE": str(state)}
    runs = sorted(_run([str(program), *CHECK], environment, folder) for _ in range(RUNS))
    cpu_s, peak_mib = runs[RUNS // 2]
    return [Row("gcm, one check: CPU a run", cpu_s, "s"), Row("gcm, one check: peak RSS", peak_mib, "MiB")]


def install(folder: Path) -> Path:
    """Install gcm into the folder and return its program."""
    uv = subprocess.run([CHECKOUT / "scripts/ensure-uv"], capture_output=True, text=True, check=True)
    program = uv.stdout.strip().splitlines()[-1]
    subprocess.run([program, "venv", "--quiet", str(folder)], check=True)
    python = folder / "bin/python"
    subprocess.run([program, "pip", "install", "--quiet", "--python", str(python), "gpucm"], check=True)
    return folder / "bin/health_checks"


def _run(command: list[str], environment: dict[str, str], folder: Path) -> tuple[float, float]:
    process = subprocess.Popen(
        command, env=environment, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
