"""What disks say of their own health, asked by `nvme` and `smartctl`: a process a disk, one disk after the other.

A disk that hangs lets the command wait for a minute that nothing can end, so each disk has a process of its own: no
second one is started behind one that hangs, and the disks that did not answer are asked last the next time. The tools
are optional, and the disks of a host without them are nobody's fault.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from agent.sources.files import Contents, FileReader, entries
from agent.sources.smart_log import is_denied, parse_nvme, parse_smartctl
from agent.sources.source import Cost, Declaration, Privilege, Surroundings, Timing
from agent.sources.tool import Time, Tool
from checks.errors import CannotObserve
from checks.readings import DiskSmart, SmartReading

NVME: Final = "nvme"
SMARTCTL: Final = "smartctl"
FOLDERS: Final = ("usr/sbin", "sbin", "usr/local/sbin")
"""Where distributions put both; a service's PATH may lack them."""

ASK_NVME: Final = ("smart-log", "--output-format=json")
ASK_SMARTCTL: Final = ("--json=c", "--nocheck=standby", "--all")
"""Source: nvme-smart-log(1); smartctl(8). A disk that sleeps is left to sleep."""

OF_NVME: Final = ("transport", "address", "model", "serial")
OF_OTHER: Final = ("removable", "device/vendor", "device/model", "device/serial")
"""Files that say who a disk is. Source: kernel, Documentation/ABI/testing/sysfs-nvme, stable/sysfs-block; `serial` of
a SCSI device since Linux 6.14."""

PCIE: Final = "pcie"

ASK_S: Final = 15.0
"""For one disk. Source: our choice; a disk answers within some 20 ms, one that sorts itself out within seconds."""

_NVME = re.compile(r"nvme\d{1,4}", re.ASCII)
_OTHER = re.compile(r"sd[a-z]{1,3}", re.ASCII)
_PCI = re.compile(r"([0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2})\.[0-7]", re.ASCII)


@dataclass(frozen=True, slots=True)
class Programs:
    """Paths of the programs, empty for one that is not installed."""

    nvme: str
    smartctl: str

    def for_disk(self, disk: DiskSmart) -> str:
        """Return what asks this disk: `smartctl` knows every kind of disk."""
        return self.nvme or self.smartctl if _NVME.fullmatch(disk.name) else self.smartctl

    def missing(self, disks: Iterable[DiskSmart]) -> tuple[str, ...]:
        """Return the programs without which some disks cannot be asked."""
        unasked = [disk for disk in disks if not self.for_disk(disk)]
        return tuple(sorted({NVME if _NVME.fullmatch(disk.name) else SMARTCTL for disk in unasked}))


class SmartSource:
    """All disks of the host that have SMART."""

    name = "smart"

    def __init__(self, surroundings: Surroundings, timing: Timing) -> None:
        """Ask nothing yet."""
        self.timing = timing
        self._surroundings = surroundings
        self._reader = FileReader(surroundings.find("grep"))
        self._tools: dict[tuple[str, str], Tool] = {}
        self._named: dict[str, DiskSmart] = {}
        self._late: set[str] = set()

    async def read(self) -> SmartReading:
        """Return one reading, empty on a host without such disks.

        Raises:
            CannotObserve: a driver does not let go of the files that name its disks.
        """
        surroundings = self._surroundings
        time = Time(self.timing.deadline_s, ASK_S, monotonic=surroundings.monotonic)
        listed = await self._listed(time.left_s())
        programs = Programs(surroundings.find(NVME, *FOLDERS), surroundings.find(SMARTCTL, *FOLDERS))
        asked = [await self._ask(disk, programs.for_disk(disk), time) for disk in sorted(listed, key=self._is_late)]
        denied = {disk.name for disk in asked if is_denied(disk.unreadable)}
        self._late = {disk.name for disk in asked if disk.unreadable}
        return SmartReading(
            at_s=surroundings.monotonic(),
            disks=tuple(sorted((disk for disk in asked if disk.name not in denied), key=lambda disk: disk.name)),
            missing_tools=programs.missing(listed),
            denied=tuple(sorted(denied)),
        )

    async def close(self) -> None:
        """End what still runs."""
        await self._reader.close()
        for tool in self._tools.values():
            await tool.close()

    def _is_late(self, disk: DiskSmart) -> bool:
        return disk.name in self._late

    async def _listed(self, deadline_s: float) -> list[DiskSmart]:
        folders = disk_folders(self._surroundings.sysfs)
        files = [folder / name for folder in folders for name in _files_of(folder)]
        contents = await self._reader.read(files, deadline_s=deadline_s)
        return [disk for folder in folders if (disk := parse_disk(folder, contents)) is not None]

    async def _ask(self, disk: DiskSmart, program: str, time: Time) -> DiskSmart:
        """Return the disk with what it says of itself, or with why it could not be asked."""
        if not program:
            return disk
        tool = self._tools.setdefault((disk.name, program), Tool(program))
        is_nvme = Path(program).name == NVME
        command = (*(ASK_NVME if is_nvme else ASK_SMARTCTL), str(self._surroundings.root / "dev" / disk.name))
        try:
            printed = (await tool.run(*command, deadline_s=time.left_s())).text
            told = (parse_nvme if is_nvme else parse_smartctl)(disk, printed)
        except CannotObserve as error:
            return replace(self._remembered(disk), unreadable=str(error))
        self._named[disk.name] = told
        return told

    def _remembered(self, disk: DiskSmart) -> DiskSmart:
        """Return the disk with the serial number that it told before, as long as nothing says that it is another."""
        before = self._named.get(disk.name)
        if before is None or disk.serial or before.model != disk.model:
            return disk
        return replace(disk, serial=before.serial)


SOURCE: Final = Declaration(
    name=SmartSource.name,
    summary="What disks say of their own health (SMART), from `nvme` and `smartctl` where they are installed.",
    reading=SmartReading,
    timing=Timing(interval_s=600.0, fast_interval_s=300.0, deadline_s=110.0),
    cost=Cost.HIGH,
    privilege=Privilege.ROOT,
    hangs_with="the disks, each by itself",
    make=SmartSource,
)


def disk_folders(sysfs: Path) -> list[Path]:
    """Return the folder of every NVMe controller, and of every disk that SCSI or SATA drivers serve."""
    controllers = [folder for folder in entries(sysfs / "class/nvme") if _NVME.fullmatch(folder.name)]
    others = [folder for folder in entries(sysfs / "block") if _OTHER.fullmatch(folder.name)]
    return [*controllers, *others]


def parse_disk(folder: Path, contents: Contents) -> DiskSmart | None:
    """Return who a disk is, `None` for one that comes over a network or can be taken out."""
    if _OTHER.fullmatch(folder.name):
        vendor, model, serial = (contents.line(folder / name) for name in OF_OTHER[1:])
        is_removable = contents.line(folder / "removable") == "1"
        full = model if vendor in ("", "ATA") else f"{vendor} {model}"
        return None if is_removable else DiskSmart(folder.name, serial=serial, model=full)
    transport, address, model, serial = (contents.line(folder / name) for name in OF_NVME)
    if transport not in ("", PCIE):
        return None
    pci = _PCI.fullmatch(address.lower())
    return DiskSmart(folder.name, serial=serial, model=model, pci=pci[1] if pci else "")


def _files_of(folder: Path) -> tuple[str, ...]:
    return OF_OTHER if _OTHER.fullmatch(folder.name) else OF_NVME
