"""RDMA ports, read from sysfs alone: cheap enough for every few seconds, and no vendor's tool needed.

Any file may be missing, unreadable or full of anything: the field is `None` then, and the port is still reported. What
need not be known within seconds has sources of its own: agent/sources/rdma_counters.py and rdma_adapters.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from agent.sources.files import Contents, FileReader, entries
from agent.sources.infiniband import (
    adapters,
    interface_of,
    interfaces,
    parse_hexadecimal,
    parse_lanes,
    parse_rate,
    parse_state,
    pci_of,
)
from agent.sources.remembered import learn_ports, numbers, texts
from agent.sources.source import Cost, Declaration, Privilege, Surroundings, Timing
from agent.sources.sparing import SparingReader
from checks.manifest import Section
from checks.readings import RdmaPort, RdmaReading

OF_DEVICE: Final = ("node_guid", "fw_ver")
OF_PORT: Final = ("link_layer", "state", "phys_state", "rate", "lid", "sm_lid")
OF_INTERFACE: Final = ("carrier_changes", "carrier_down_count", "operstate", "dev_port")
"""Files that are read. Source: kernel, Documentation/ABI/stable/sysfs-class-infiniband and testing/sysfs-class-net."""

LINK_DOWNED: Final = "counters/link_downed"
"""Read as often, but left alone where it cannot be read: to fail costs a line of the kernel log."""


class RdmaSource:
    """All RDMA ports of the host."""

    name = "rdma"

    def __init__(self, surroundings: Surroundings, timing: Timing) -> None:
        """Read nothing yet."""
        self.timing = timing
        self._sysfs, self._monotonic = surroundings.sysfs, surroundings.monotonic
        self._store, self._approved = surroundings.store(self.name), surroundings.approved
        remembered = self._store.load()
        self._known, self._pci = numbers(remembered.get("known_ports")), texts(remembered.get("known_pci"))
        self._before: tuple[RdmaPort, ...] = ()
        self._reader = SparingReader(FileReader(surroundings.find("grep")), surroundings.monotonic)

    async def read(self) -> RdmaReading:
        """Return one reading, without ports where there are none.

        Raises:
            CannotObserve: a driver does not let go of its files.
        """
        always, spared = port_files(self._sysfs), downed_files(self._sysfs)
        contents = await self._reader.read(always, spared, deadline_s=self.timing.deadline_s)
        self._before = ports = shared(self._before, tuple(read_ports(self._sysfs, contents)))
        self._remember(ports)
        return RdmaReading(self._monotonic(), ports, self._known, self._pci)

    async def close(self) -> None:
        """End the process that reads."""
        await self._reader.close()

    def _remember(self, ports: tuple[RdmaPort, ...]) -> None:
        known = self._wanted(learn_ports(self._known, ports))
        seen = self._pci | {port.name: port.pci for port in ports if port.pci}
        pci = {name: address for name, address in seen.items() if name in known}
        if (known, pci) != (self._known, self._pci):
            self._known, self._pci = known, pci
            self._store.save({"known_ports": known, "known_pci": pci})

    def _wanted(self, learnt: dict[str, float]) -> dict[str, float]:
        """Return port → rate of those that have to be up: what was approved wins over what was learnt."""
        approved = self._approved.section(Section.PORTS)
        if approved is None:
            return learnt
        return {port.name: port.rate_gbit_per_s for port in approved.ports if port.rate_gbit_per_s is not None}


SOURCE: Final = Declaration(
    name=RdmaSource.name,
    summary="RDMA ports (InfiniBand and RoCE) from sysfs.",
    reading=RdmaReading,
    timing=Timing(interval_s=5.0, fast_interval_s=2.0, deadline_s=3.0),
    cost=Cost.MEDIUM,
    privilege=Privilege.NONE,
    hangs_with="the network adapters' drivers",
    make=RdmaSource,
)


def port_files(sysfs: Path) -> list[Path]:
    """Return every file of an RDMA port that is always looked at."""
    return [path for adapter in adapters(sysfs) for path in _files_of(adapter)]


def downed_files(sysfs: Path) -> list[Path]:
    """Return the counter of lost links of every port."""
    return [port / LINK_DOWNED for adapter in adapters(sysfs) for port in entries(adapter / "ports")]


def read_ports(sysfs: Path, contents: Contents) -> Iterator[RdmaPort]:
    """Yield every port under `class/infiniband`, in the order of names."""
    for adapter in adapters(sysfs):
        found = interfaces(adapter)
        for port in entries(adapter / "ports"):
            yield _read_port(adapter, port, interface_of(port, found, contents), contents)


def shared(before: tuple[RdmaPort, ...], now: tuple[RdmaPort, ...]) -> tuple[RdmaPort, ...]:
    """Return the ports, as the very objects of the reading before where nothing changed.

    Hundreds of readings are kept, and nearly all are alike: so they take the memory of one.
    """
    if before == now:
        return before
    known: Mapping[str, RdmaPort] = {port.name: port for port in before}
    return tuple(known[port.name] if known.get(port.name) == port else port for port in now)


def _files_of(adapter: Path) -> Iterator[Path]:
    yield from (adapter / name for name in OF_DEVICE)
    yield from (port / name for port in entries(adapter / "ports") for name in OF_PORT)
    yield from (interface / name for interface in interfaces(adapter) for name in OF_INTERFACE)


def _read_port(adapter: Path, port: Path, interface: Path | None, contents: Contents) -> RdmaPort:
    rate = contents.line(port / "rate")
    return RdmaPort(
        name=f"{adapter.name}/{port.name}",
        link_layer=contents.line(port / "link_layer"),
        state=parse_state(contents.line(port / "state")),
        phys_state=parse_state(contents.line(port / "phys_state")),
        rate_gbit_per_s=parse_rate(rate),
        lanes=parse_lanes(rate),
        lid=parse_hexadecimal(contents.line(port / "lid")),
        sm_lid=parse_hexadecimal(contents.line(port / "sm_lid")),
        link_downed=contents.number(port / LINK_DOWNED),
        interface=interface.name if interface else "",
        operstate=contents.line(interface / "operstate") if interface else "",
        carrier_changes=contents.number(interface / "carrier_changes") if interface else None,
        carrier_downs=contents.number(interface / "carrier_down_count") if interface else None,
        node_guid=contents.line(adapter / "node_guid"),
        pci=pci_of(adapter),
        firmware=contents.line(adapter / "fw_ver"),
    )
