"""The two libraries that answer from one text: the C double of libnvidia-ml.so.1, and the simulation's in Python."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from agent.sources.source import NVML_CHILD, Surroundings
from tests.support.memory_store import MemoryStore
from tests.support.parts import missing
from tests.support.surroundings import surroundings_at

SOURCE = Path(__file__).parent.parent / "doubles" / "nvml" / "libnvidia-ml.c"
SIMULATED = (sys.executable, "-m", "agent.simulation.nvml_library")

GPU_UUIDS = tuple(f"GPU-00000000-0000-0000-0000-{index:012d}" for index in range(2))

HEALTHY = (
    "margin 52",
    "reasons 1",
    "pstate 0",
    "utilization 0 0",
    "power 70280 700000 700000",
    "clocks 345 2619 1980 2619 1980 2619",
    "pcie 5 16 5 16",
    "persistence 1",
    "ecc_mode 1 1",
    "mig 0 0",
    "vbios 96.00.99.00.01",
    "inforom G520.0200.00.05",
    "gsp 550.127.05",
    "gsp_mode 1 1",
    "histogram 2559 1 0 0 0",
    "dram 3 0",
    "sram 0 0 0 0",
    "processes ",
    "graphics ",
    "memory 4718592",
    "compute_mode 0",
    "unrepairable 0",
    f"fabric 3 0 {'0' * 32} 0 1aa 1",
    "field 74 0",
    "field 82 43",
    "field 94 0",
    "field 161 0",
    "field 162 0",
    "field 163 0",
    "field 173 0",
    "field 193 -8",
    "field 194 -2",
    "field 196 0",
    "field 269 0",
    "field 270 0",
    "field 271 0",
)
"""An idle H100 SXM. Source: nvidia-smi -q of one, as published; driver, InfoROM and VBIOS as it prints them."""


def build_double(directory: Path, *flags: str) -> Path:
    """Return the folder of a freshly compiled double."""
    compiler = shutil.which("gcc")
    if compiler is None:
        missing("gcc, which builds the C double of NVML,")
    directory.mkdir(parents=True, exist_ok=True)
    output = directory / "libnvidia-ml.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-Wall", "-Werror", *flags, "-o", output, SOURCE], check=True)
    return directory


@dataclass(frozen=True, slots=True)
class Library:
    """One of the two, with its state file and a sysfs without PCI devices. `double` is `None` for Python's."""

    root: Path
    double: Path | None

    @property
    def state(self) -> Path:
        """The text that it answers from."""
        return self.root / "nvml.state"

    def surroundings(self, store: MemoryStore | None = None) -> Surroundings:
        """Return the machine on which NVML is this library."""
        command = (*SIMULATED, str(self.state)) if self.double is None else NVML_CHILD
        return surroundings_at(self.root, store, nvml_command=command)

    @property
    def environment(self) -> dict[str, str] | None:
        """What the child needs in its environment to load this library."""
        if self.double is None:
            return None
        return {**os.environ, "LD_LIBRARY_PATH": str(self.double), "NVML_DOUBLE_STATE": str(self.state)}

    def say(self, *lines: str, gpus: int = 2) -> None:
        """Describe healthy GPUs of an H100 host, then these lines, of which the last about a fact counts."""
        text = ["driver 550.127.05", "init 0", f"count {gpus}"]
        for index in range(gpus):
            facts = (
                f"uuid {GPU_UUIDS[index]}",
                f"pci 0000:{0x1B + index:02x}:00",
                f"serial 165301234500{index}",
                "name NVIDIA H100 80GB HBM3",
                "temperature 35",
                "ecc 3 0",
                "rows 0 1 0 0",
                "recovery 0",
                "links 111111111111111111",
                *HEALTHY,
            )
            text += [f"gpu {index} {fact}" for fact in facts]
        new = self.state.with_suffix(".new")
        new.write_text("\n".join([*text, *lines]) + "\n")
        new.replace(self.state)
