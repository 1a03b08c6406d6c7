"""`gpu_driver`: whether the GPUs on the bus have a driver and the library by which they are asked."""

from __future__ import annotations

import ctypes.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cli.doctor.diagnosis import AGENT, Check, Diagnosis, fine, missing
from cli.doctor.patient import Patient

NVIDIA = "0x10de"
DISPLAYS = ("0x0300", "0x0302")
"""VGA and 3D controllers. Source: PCI code and ID assignment specification, base class 03h."""


@dataclass(frozen=True, slots=True)
class Driver:
    """NVIDIA's GPUs and what speaks to them.

    Attributes:
        on_bus: GPUs on the PCI bus.
        version: of the kernel's module, empty while it is not loaded.
        library: the file of NVML, empty where it is not found.
    """

    on_bus: int
    version: str
    library: str


def read(patient: Patient) -> Driver:
    """Return what there is.

    Raises:
        OSError: sysfs cannot be read.
    """
    devices = patient.place.at("/sys/bus/pci/devices")
    on_bus = sum(_is_gpu(device) for device in devices.iterdir()) if devices.is_dir() else 0
    return Driver(on_bus, _line(patient.place.at("/sys/module/nvidia/version")), _library(patient))


def _is_gpu(device: Path) -> bool:
    return _line(device / "vendor") == NVIDIA and _line(device / "class")[:6] in DISPLAYS


def _line(file: Path) -> str:
    try:
        return file.read_text("ascii", "replace").strip()
    except OSError:
        return ""


def _library(patient: Patient) -> str:
    if patient.place.is_live:
        return ctypes.util.find_library("nvidia-ml") or ""
    found = patient.place.root.glob("usr/lib*/**/libnvidia-ml.so.1")
    return next((path.name for path in found), "")


def judge(driver: Driver) -> Iterator[Diagnosis]:
    """Say what keeps the agent from asking the GPUs."""
    if not driver.on_bus:
        yield fine("No GPU of NVIDIA is on the bus.")
        return
    if not driver.version:
        yield missing(
            f"{driver.on_bus} GPUs are on the bus, and no driver is loaded.",
            "modprobe nvidia; dmesg says why it is not.",
        )
    if not driver.library:
        yield missing(
            "NVML (libnvidia-ml.so.1) is not found: every check of GPUs is unknown.",
            "Install the driver's libraries, of the same version as its kernel module.",
        )
    if driver.version and driver.library:
        yield fine(f"{driver.on_bus} GPUs have the driver {driver.version}, and NVML is here.")


CHECK = Check("gpu_driver", "A driver and NVML for the GPUs that are there.", AGENT, read, judge)
