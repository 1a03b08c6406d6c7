"""The C doubles of libcuda.so.1 and libnccl.so.2, what they answer, and what was asked of them."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.parts import missing

SOURCES = Path(__file__).parent.parent / "doubles" / "cuda"


def build_cuda_doubles(directory: Path, *more: str) -> Path:
    """Return the folder of freshly compiled doubles."""
    compiler = shutil.which("gcc")
    if compiler is None:
        missing("gcc, which builds the C doubles of CUDA and NCCL,")
    directory.mkdir(parents=True, exist_ok=True)
    driver, nccl = directory / "libcuda.so.1", directory / "libnccl.so.2"
    flags = [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", *more]
    subprocess.run([*flags, "-o", driver, SOURCES / "libcuda.c"], check=True)
    subprocess.run([*flags, "-Wl,-rpath,$ORIGIN", "-o", nccl, SOURCES / "libnccl.c", driver], check=True)
    return directory


def gpu_uuid(index: int) -> str:
    """Return the UUID of a GPU of the double."""
    return f"GPU-00000000-0000-0000-0000-{index:012x}"


@dataclass(frozen=True, slots=True)
class CudaHost:
    """A host with GPUs that are doubles: its folder, and that of the libraries."""

    root: Path
    doubles: Path

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to be on this host."""
        return {
            **os.environ,
            "LD_LIBRARY_PATH": str(self.doubles),
            "CUDA_DOUBLE_STATE": str(self.root / "cuda.state"),
            "CUDA_DOUBLE_LOG": str(self.root / "cuda.log"),
            "CUDA_DOUBLE_SITE": str(self.root.parent / "site"),
        }

    def say(self, *lines: str) -> None:
        """Describe the GPUs. Without a word they are the eight of a healthy H100 host."""
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root.parent / "site").mkdir(exist_ok=True)
        (self.root / "cuda.state").write_text("".join(f"{line}\n" for line in lines))

    def calls(self) -> list[str]:
        """Return the calls that were made, without the process that made them."""
        log = self.root / "cuda.log"
        return [line.partition(" ")[2] for line in log.read_text().splitlines()] if log.exists() else []

    def count(self, call: str) -> int:
        """Return how often a call was made, whatever it was given."""
        return sum(line.split()[0] == call for line in self.calls())
