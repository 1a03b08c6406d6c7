"""Where sysfs keeps what the source `platform` reads: found once, and again when something came or went.

A large host has 1,500 of these files. Naming them anew for each reading would cost three times what reading them does.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.sources.files import entries
from agent.sources.pci_tree import PciFunction, read_tree
from agent.sources.pcie_link import MAX_WIDTH, WIDTH

CONTROLLERS: Final = "devices/system/edac/mc"
OF_CONTROLLER: Final = ("ce_noinfo_count", "ue_noinfo_count")
OF_MODULE: Final = ("dimm_label", "dimm_ce_count", "dimm_ue_count")
"""Source: kernel, Documentation/ABI/testing/sysfs-devices-edac."""

BUS: Final = "bus/pci/devices"
CORRECTABLE, NONFATAL, FATAL = "aer_dev_correctable", "aer_dev_nonfatal", "aer_dev_fatal"
"""Source: kernel, Documentation/ABI/testing/sysfs-bus-pci-devices-aer_stats."""

HAVE_STEADY_LINKS: Final = ("network", "nvme")
"""Kinds of devices that keep their width whatever they do. The links of RDMA adapters are read by the source
`rdma_adapters`, together with what their ports need."""

PROCESSORS: Final = "devices/system/cpu"
POLICIES: Final = "devices/system/cpu/cpufreq"
THROTTLES: Final = ("thermal_throttle/core_throttle_count", "thermal_throttle/package_throttle_count")
GOVERNOR: Final = ("scaling_governor", "energy_performance_preference")
CLOCKSOURCE: Final = "devices/system/clocksource/clocksource0/current_clocksource"
"""Source: kernel, Documentation/ABI/testing/sysfs-devices-system-cpu, Documentation/admin-guide/pm/intel_pstate.rst."""

RDMA: Final = "class/infiniband"
LISTED: Final = (CONTROLLERS, BUS, PROCESSORS, POLICIES, RDMA)

_MODULE = re.compile(r"(?:dimm|rank)\d{1,4}", re.ASCII)
_CONTROLLER = re.compile(r"mc\d{1,3}", re.ASCII)
_PROCESSOR = re.compile(r"cpu\d{1,5}", re.ASCII)
_POLICY = re.compile(r"policy\d{1,5}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ModuleFiles:
    """A memory module's files; a controller itself has no label."""

    name: str
    label: Path | None
    corrected: Path
    uncorrected: Path

    def paths(self) -> Iterator[Path]:
        """Yield them all."""
        yield from (path for path in (self.label, self.corrected, self.uncorrected) if path is not None)


@dataclass(frozen=True, slots=True)
class DeviceFiles:
    """A PCI function's files. `widths`: in use, most, most of the port above; empty where they say nothing."""

    function: PciFunction
    correctable: Path
    nonfatal: Path
    fatal: Path
    widths: tuple[Path, ...] = ()

    def paths(self) -> Iterator[Path]:
        """Yield them all."""
        yield from (self.correctable, self.nonfatal, self.fatal, *self.widths)


@dataclass(frozen=True, slots=True)
class PlatformFiles:
    """Everything. `governors`: of each frequency policy the governor and the energy preference."""

    modules: tuple[ModuleFiles, ...]
    devices: tuple[DeviceFiles, ...]
    throttles: tuple[Path, ...]
    governors: tuple[tuple[Path, Path], ...]
    clocksource: Path

    def paths(self) -> Iterator[Path]:
        """Yield them all."""
        yield from (path for module in self.modules for path in module.paths())
        yield from (path for device in self.devices for path in device.paths())
        yield from self.throttles
        yield from (path for pair in self.governors for path in pair)
        yield self.clocksource


def listing(sysfs: Path) -> tuple[tuple[str, ...], ...]:
    """Return the names in the folders by which it is seen that something came or went."""
    return tuple(_names(sysfs / folder) for folder in LISTED)


def find(sysfs: Path) -> PlatformFiles:
    """Return where everything is now."""
    return PlatformFiles(
        modules=tuple(_modules(sysfs)),
        devices=tuple(_device(sysfs / BUS, function) for function in read_tree(sysfs)),
        throttles=tuple(each / name for each in _matching(sysfs / PROCESSORS, _PROCESSOR) for name in THROTTLES),
        governors=tuple((each / GOVERNOR[0], each / GOVERNOR[1]) for each in _matching(sysfs / POLICIES, _POLICY)),
        clocksource=sysfs / CLOCKSOURCE,
    )


def _modules(sysfs: Path) -> Iterator[ModuleFiles]:
    for controller in _matching(sysfs / CONTROLLERS, _CONTROLLER):
        yield ModuleFiles(controller.name, None, *(controller / name for name in OF_CONTROLLER))
        for module in _matching(controller, _MODULE):
            yield ModuleFiles(f"{controller.name}/{module.name}", *(module / name for name in OF_MODULE))


def _device(bus: Path, function: PciFunction) -> DeviceFiles:
    folder = bus / function.address
    above = (bus / function.upstream / MAX_WIDTH,) if function.upstream else ()
    is_judged = function.kind in HAVE_STEADY_LINKS and not (folder / "infiniband").is_dir()
    widths = (folder / WIDTH, folder / MAX_WIDTH, *above) if is_judged else ()
    return DeviceFiles(function, folder / CORRECTABLE, folder / NONFATAL, folder / FATAL, widths)


def _matching(folder: Path, name: re.Pattern[str]) -> Iterator[Path]:
    return (path for path in entries(folder) if name.fullmatch(path.name))


def _names(folder: Path) -> tuple[str, ...]:
    try:
        return tuple(entry.name for entry in os.scandir(folder))
    except OSError:
        return ()
