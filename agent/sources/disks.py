"""Disks, NVMe controllers and md arrays, from the kernel's own account of them in sysfs.

What the disks say of themselves (SMART) is another source's matter: it takes a command to the disk, which can hang.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from agent.sources.files import Contents, FileReader, entries
from agent.sources.remembered import texts
from agent.sources.source import Cost, Declaration, Privilege, Surroundings, Timing
from checks.manifest import Section, unless_replaced
from checks.readings import DisksReading
from checks.readings.disks import Array, Disk, NvmeController

OF_CONTROLLER: Final = ("state", "transport", "address", "model", "serial", "firmware_rev")
OF_DISK: Final = ("stat", "size")
OF_ARRAY: Final = ("level", "array_state", "raid_disks", "degraded", "sync_action")
"""Files that are read. Source: kernel, Documentation/ABI/stable/sysfs-block, testing/sysfs-nvme, admin-guide/md.rst."""

SECTOR_BYTES: Final = 512
"""Source: kernel, Documentation/ABI/stable/sysfs-block: `size` counts 512-byte sectors whatever the disk's own are."""

READS, WRITES, IN_FLIGHT = 0, 4, 8
"""Places in the file `stat`. Source: kernel, Documentation/block/stat.rst."""

LIVE: Final = "live"
PCIE: Final = "pcie"

_CONTROLLER = re.compile(r"nvme\d{1,4}", re.ASCII)
_DISK = re.compile(r"(?:sd[a-z]{1,3}|vd[a-z]{1,3}|xvd[a-z]{1,3}|nvme\d{1,4}n\d{1,4}|md\d{1,4})", re.ASCII)
_ARRAY = re.compile(r"md(?:\d{1,4}|_\w{1,32})", re.ASCII)
_STAT = re.compile(r"\s*(?:\d{1,20}\s+){8,}\d{1,20}\s*", re.ASCII)
_PCI = re.compile(r"([0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2})\.[0-7]", re.ASCII)


class DisksSource:
    """All disks of the host."""

    name = "disks"

    def __init__(self, surroundings: Surroundings, timing: Timing) -> None:
        """Read nothing yet."""
        self.timing = timing
        self._sysfs, self._monotonic = surroundings.sysfs, surroundings.monotonic
        self._store, self._approved = surroundings.store(self.name), surroundings.approved
        self._known = texts(self._store.load().get("known_controllers"))
        self._reader = FileReader(surroundings.find("grep"))

    async def read(self) -> DisksReading:
        """Return one reading, empty where there are no disks.

        Raises:
            CannotObserve: a driver does not let go of its files.
        """
        contents = await self._reader.read(disk_files(self._sysfs), deadline_s=self.timing.deadline_s)
        controllers = tuple(_controller(folder, contents) for folder in _controllers(self._sysfs))
        self._learn(controllers)
        return DisksReading(
            at_s=self._monotonic(),
            controllers=controllers,
            disks=tuple(_disk(folder, contents) for folder in _disks(self._sysfs)),
            arrays=tuple(_array(folder, contents) for folder in _arrays(self._sysfs)),
            known_controllers=dict(self._known),
        )

    async def close(self) -> None:
        """End the process that reads."""
        await self._reader.close()

    def _learn(self, controllers: Sequence[NvmeController]) -> None:
        known = self._wanted(learn_controllers(self._known, controllers), controllers)
        if known != self._known:
            self._known = known
            self._store.save({"known_controllers": known})

    def _wanted(self, learnt: dict[str, str], controllers: Iterable[NvmeController]) -> dict[str, str]:
        """Return serial → name of those that have to be there: what was approved wins over what was learnt."""
        manifest = self._approved.section(Section.DISKS)
        if manifest is None:
            return learnt
        approved = {disk.serial: disk for disk in manifest.disks if disk.serial and disk.pci}
        seen = {each.serial: each.address for each in controllers if each.serial}
        there = unless_replaced({serial: disk.pci for serial, disk in approved.items()}, seen)
        return {serial: approved[serial].name for serial in there}


SOURCE: Final = Declaration(
    name=DisksSource.name,
    summary="NVMe controllers, disks and md arrays from sysfs.",
    reading=DisksReading,
    timing=Timing(interval_s=30.0, fast_interval_s=10.0, deadline_s=5.0),
    cost=Cost.LOW,
    privilege=Privilege.NONE,
    hangs_with="the disks' drivers",
    make=DisksSource,
)


def learn_controllers(known: Mapping[str, str], controllers: Iterable[NvmeController]) -> dict[str, str]:
    """Return serial → name with the controllers on the PCI bus that are live; one in another's place replaced it."""
    live = [each for each in controllers if each.transport == PCIE and each.state == LIVE and each.serial]
    seen = {each.serial: each.name for each in live}
    places = set(seen.values())
    return {serial: name for serial, name in known.items() if name not in places} | seen


def disk_files(sysfs: Path) -> list[Path]:
    """Return every file that is looked at."""
    return [
        *(folder / name for folder in _controllers(sysfs) for name in OF_CONTROLLER),
        *(folder / name for folder in _disks(sysfs) for name in OF_DISK),
        *(folder / "md" / name for folder in _arrays(sysfs) for name in OF_ARRAY),
    ]


def parse_stat(line: str) -> tuple[int | None, int | None, int | None]:
    """Return reads completed, writes completed and requests in flight of the file `stat`, `None` where it has none."""
    if not _STAT.fullmatch(line):
        return None, None, None
    numbers = line.split()
    return int(numbers[READS]), int(numbers[WRITES]), int(numbers[IN_FLIGHT])


def _controllers(sysfs: Path) -> Iterator[Path]:
    return _named(sysfs / "class/nvme", _CONTROLLER)


def _disks(sysfs: Path) -> Iterator[Path]:
    return _named(sysfs / "block", _DISK)


def _arrays(sysfs: Path) -> Iterator[Path]:
    return (folder for folder in _named(sysfs / "block", _ARRAY) if (folder / "md").is_dir())


def _named(folder: Path, pattern: re.Pattern[str]) -> Iterator[Path]:
    return (entry for entry in entries(folder) if pattern.fullmatch(entry.name))


def _controller(folder: Path, contents: Contents) -> NvmeController:
    transport, address = contents.line(folder / "transport"), contents.line(folder / "address")
    pci = _PCI.fullmatch(address.lower())
    return NvmeController(
        name=folder.name,
        state=contents.line(folder / "state"),
        transport=transport,
        address=pci[1] if pci else address,
        model=contents.line(folder / "model"),
        serial=contents.line(folder / "serial"),
        firmware=contents.line(folder / "firmware_rev"),
    )


def _disk(folder: Path, contents: Contents) -> Disk:
    reads, writes, in_flight = parse_stat(contents.line(folder / "stat"))
    sectors = contents.number(folder / "size")
    return Disk(
        name=folder.name,
        in_flight=in_flight,
        reads_completed=reads,
        writes_completed=writes,
        size_bytes=None if sectors is None else sectors * SECTOR_BYTES,
    )


def _array(folder: Path, contents: Contents) -> Array:
    return Array(
        name=folder.name,
        level=contents.line(folder / "md/level"),
        state=contents.line(folder / "md/array_state"),
        disks=contents.number(folder / "md/raid_disks"),
        missing=contents.number(folder / "md/degraded"),
        sync_action=contents.line(folder / "md/sync_action"),
    )
