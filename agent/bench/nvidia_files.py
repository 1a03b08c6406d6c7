"""Which GPUs NVIDIA's kernel driver has, from its files alone: for benchmarks that have no CUDA context to ask."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.sources.files import entries
from checks.bench_limits import shipped_limits

GPUS: Final = "proc/driver/nvidia/gpus"
DRIVER: Final = "sys/module/nvidia/version"
"""Source: NVIDIA driver README, "The /proc Interface"; modinfo(8) for the module's version."""

_LINE = re.compile(r"^([A-Za-z ]{1,40}):[ \t]*(\S.*?)[ \t]*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class NvidiaGpu:
    """One GPU: its PCI address with function, model and UUID, empty where the driver does not say them."""

    pci: str
    model: str = ""
    uuid: str = ""


def nvidia_gpus(root: Path) -> tuple[NvidiaGpu, ...]:
    """Return the GPUs in the order of addresses. `root`: where `proc` and `sys` are."""
    return tuple(_gpu(folder) for folder in entries(root / GPUS))


def nvidia_driver(root: Path) -> str:
    """Return the driver's version, empty where none is loaded."""
    return " ".join(_text(root / DRIVER).split())


def kind_of(models: Iterable[str]) -> str:
    """Return the kind of a host's GPUs as results name it: that of the limits, or the model where they have none."""
    return " + ".join(shipped_limits().sku_of(model) or model for model in sorted(set(models)) if model)


def _gpu(folder: Path) -> NvidiaGpu:
    said = {match[1]: match[2] for match in _LINE.finditer(_text(folder / "information"))}
    return NvidiaGpu(folder.name.lower(), said.get("Model", ""), said.get("GPU UUID", ""))


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
