"""RDMA ports, read from sysfs alone: cheap enough for every few seconds, and no vendor's tool needed.

Any file may be missing, unreadable or full of anything: the field is `None` then, and the port is still reported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from agent.sources.files import Contents, FileReader, entries
from agent.sources.inventory import learn_ports, numbers
from agent.sources.source import Cost, Declaration, Privilege, Surroundings, Timing
from checks.readings import RdmaPort, RdmaReading

OF_DEVICE: Final = ("node_guid", "fw_ver")
OF_PORT: Final = ("link_layer", "state", "phys_state", "rate", "counters/link_downed")
OF_INTERFACE: Final = ("carrier_changes", "dev_port")
"""Files that are read. Source: kernel, Documentation/ABI/stable/sysfs-class-infiniband and testing/sysfs-class-net."""

_STATE = re.compile(r"(\d{1,3}): ", re.ASCII)
_RATE = re.compile(r"(\d{1,6}(?:\.\d{1,3})?) Gb/sec\b", re.ASCII)
_PCI = re.compile(r"([0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2})\.[0-7]", re.ASCII)


class RdmaSource:
    """All RDMA ports of the host."""

    name = "rdma"

    def __init__(self, surroundings: Surroundings, timing: Timing) -> None:
        """Read nothing yet."""
        self.timing = timing
        self._sysfs, self._monotonic = surroundings.sysfs, surroundings.monotonic
        self._store = surroundings.store(self.name)
        self._known = numbers(self._store.load().get("known_ports"))
        self._reader = FileReader(surroundings.find("grep"))

    async def read(self) -> RdmaReading:
        """Return one reading, without ports where there are none.

        Raises:
            CannotObserve: a driver does not let go of its files.
        """
        contents = await self._reader.read(port_files(self._sysfs), deadline_s=self.timing.deadline_s)
        ports = tuple(read_ports(self._sysfs, contents))
        known = learn_ports(self._known, ports)
        if known != self._known:
            self._known = known
            self._store.save({"known_ports": known})
        return RdmaReading(self._monotonic(), ports, dict(known))

    async def close(self) -> None:
        """End the process that reads."""
        await self._reader.close()


SOURCE: Final = Declaration(
    name=RdmaSource.name,
    summary="RDMA ports (InfiniBand and RoCE) from sysfs.",
    reading=RdmaReading,
    timing=Timing(interval_s=5.0, fast_interval_s=2.0, deadline_s=3.0),
    cost=Cost.LOW,
    privilege=Privilege.NONE,
    hangs_with="the network adapters' drivers",
    make=RdmaSource,
)


def port_files(sysfs: Path) -> list[Path]:
    """Return every file of an RDMA port that is looked at."""
    return [path for device in _devices(sysfs) for path in _files_of(device)]


def read_ports(sysfs: Path, contents: Contents) -> Iterator[RdmaPort]:
    """Yield every port under `class/infiniband`, in the order of names."""
    for device in _devices(sysfs):
        for port in entries(device / "ports"):
            yield _read_port(device, port, contents)


def _devices(sysfs: Path) -> list[Path]:
    return entries(sysfs / "class/infiniband")


def _files_of(device: Path) -> Iterator[Path]:
    yield from (device / name for name in OF_DEVICE)
    yield from (port / name for port in entries(device / "ports") for name in OF_PORT)
    yield from (interface / name for interface in entries(device / "device/net") for name in OF_INTERFACE)


def _read_port(device: Path, port: Path, contents: Contents) -> RdmaPort:
    return RdmaPort(
        name=f"{device.name}/{port.name}",
        link_layer=contents.line(port / "link_layer"),
        state=parse_state(contents.line(port / "state")),
        phys_state=parse_state(contents.line(port / "phys_state")),
        rate_gbit_per_s=parse_rate(contents.line(port / "rate")),
        link_downed=contents.number(port / "counters/link_downed"),
        carrier_changes=_carrier_changes(device, port, contents),
        node_guid=contents.line(device / "node_guid"),
        pci=_pci(device),
        firmware=contents.line(device / "fw_ver"),
    )


def parse_state(text: str) -> int | None:
    """Return the number of `4: ACTIVE`."""
    match = _STATE.match(text)
    return int(match[1]) if match else None


def parse_rate(text: str) -> float | None:
    """Return the Gb/s of `400 Gb/sec (4X NDR)`."""
    match = _RATE.match(text)
    return float(match[1]) if match else None


def _carrier_changes(device: Path, port: Path, contents: Contents) -> int | None:
    """Return the carrier changes of the network interface behind the port.

    A device with several ports has an interface for each, which says by `dev_port` (from 0) whose it is.
    """
    interfaces = entries(device / "device/net")
    if len(interfaces) > 1:
        wanted = [each for each in interfaces if str((contents.number(each / "dev_port") or 0) + 1) == port.name]
        interfaces = wanted if len(wanted) == 1 else []
    return contents.number(interfaces[0] / "carrier_changes") if interfaces else None


def _pci(device: Path) -> str:
    """Return the PCI address without function, empty for a device that is not on the PCI bus."""
    try:
        match = _PCI.fullmatch((device / "device").resolve().name.lower())
    except (OSError, RuntimeError):
        return ""
    return match[1] if match else ""
