"""What network interfaces behind RDMA ports count, asked by `ethtool -S`: one short process an interface and minute.

Pauses, drops and the adapter's own view of its PCI Express link are nowhere in sysfs. `ethtool` is optional: a host
without it is nobody's fault, and blind here.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from agent.sources.files import Contents, FileReader, entries
from agent.sources.infiniband import adapters, interface_of, interfaces, is_virtual, pci_of
from agent.sources.numerals import whole
from agent.sources.source import Cost, Declaration, Privilege, Surroundings, Timing
from agent.sources.tool import Time, Tool
from checks.errors import CannotObserve
from checks.kernel_log import excerpt
from checks.readings import PortCongestion, RdmaCongestionReading

ETHTOOL: Final = "ethtool"
FOLDERS: Final = ("usr/sbin", "sbin", "usr/local/sbin")
"""Where distributions put it; a service's PATH may lack them."""

ASK_S: Final = 5.0
"""For one interface. Source: our choice; it answers within some 5 ms while its firmware is well."""

HEADING: Final = "NIC statistics:"
NO_COUNTERS: Final = "no stats available"
"""Source: ethtool, ethtool.c, `do_gstats`."""

WANTED: Final = re.compile(
    r"tx_pause_storm_(?:warning|error)_events|[rt]x_(?:prio[0-7]|global)_pause(?:_duration)?"
    r"|rx_prio[0-7]_(?:discards|buf_discard|cong_discard)|pfc_pri[0-7]_[rt]x_duration_us"
    r"|rx_out_of_buffer|[rt]x_discards_phy|link_down_events_phy|[rt]x_pci_signal_integrity"
    r"|outbound_pci_(?:stalled_(?:rd|wr)(?:_events)?|buffer_overflow)",
    re.ASCII,
)
"""Source: kernel, Documentation/networking/device_drivers/ethernet/mellanox/mlx5/counters.rst; bnxt_ethtool.c for
`pfc_pri*`."""

_COUNTER = re.compile(r"\s{1,16}(\w{1,64}) ?: (\d{1,20})\s*", re.ASCII)
_INTERFACE = re.compile(r"\w[\w.@-]{0,14}", re.ASCII)
"""No option for ethtool. Source: kernel, net/core/dev.c, `dev_valid_name`; at most 15 characters."""


class RdmaCongestionSource:
    """The interfaces of all RDMA ports of the host."""

    name = "rdma_congestion"

    def __init__(self, surroundings: Surroundings, timing: Timing) -> None:
        """Ask nothing yet."""
        self.timing = timing
        self._surroundings = surroundings
        self._reader = FileReader(surroundings.find("grep"))
        self._tools: dict[str, Tool] = {}

    async def read(self) -> RdmaCongestionReading:
        """Return one reading, without ports where there are none or no `ethtool`.

        Raises:
            CannotObserve: a driver does not let go of the files that name its interfaces.
        """
        surroundings = self._surroundings
        found = [adapter for adapter in adapters(surroundings.sysfs) if not is_virtual(adapter)]
        program = surroundings.find(ETHTOOL, *FOLDERS) if found else ""
        if not program:
            return RdmaCongestionReading(surroundings.monotonic(), missing_tools=(ETHTOOL,) if found else ())
        time = Time(self.timing.deadline_s, ASK_S, monotonic=surroundings.monotonic)
        contents = await self._reader.read(_files(found), deadline_s=time.left_s())
        listed = [port for adapter in found for port in list_ports(adapter, contents)]
        asked = [await self._ask(port, program, time) for port in listed]
        return RdmaCongestionReading(surroundings.monotonic(), tuple(asked))

    async def close(self) -> None:
        """End what still runs."""
        await self._reader.close()
        for tool in self._tools.values():
            await tool.close()

    async def _ask(self, port: PortCongestion, program: str, time: Time) -> PortCongestion:
        """Return the port with what its interface counts, or with why that could not be asked for."""
        tool = self._tools.setdefault(port.interface, Tool(program))
        try:
            ended = await tool.run("-S", port.interface, deadline_s=time.left_s())
            counters, unreadable = parse_counters(ended.text), ""
        except CannotObserve as error:
            counters, unreadable = {}, str(error)
        return PortCongestion(port.name, port.interface, port.node_guid, port.pci, counters, unreadable)


SOURCE: Final = Declaration(
    name=RdmaCongestionSource.name,
    summary="Pauses, drops and PCI Express trouble of the interfaces behind RDMA ports, from `ethtool -S` where it is "
    "installed.",
    reading=RdmaCongestionReading,
    timing=Timing(interval_s=60.0, fast_interval_s=20.0, deadline_s=15.0),
    cost=Cost.MEDIUM,
    privilege=Privilege.NONE,
    hangs_with="the network adapters' drivers and firmware, each by itself",
    make=RdmaCongestionSource,
)


def list_ports(adapter: Path, contents: Contents) -> Iterator[PortCongestion]:
    """Yield each port of an adapter that has a network interface, with nothing counted yet."""
    found = interfaces(adapter)
    for port in entries(adapter / "ports"):
        interface = interface_of(port, found, contents)
        if interface is not None and _INTERFACE.fullmatch(interface.name):
            guid = contents.line(adapter / "node_guid")
            yield PortCongestion(f"{adapter.name}/{port.name}", interface.name, guid, pci_of(adapter))


def parse_counters(printed: str) -> dict[str, int]:
    """Return the wanted counters of what `ethtool -S` printed, nothing of an interface that has none.

    Raises:
        CannotObserve: it printed something else.
    """
    if HEADING not in printed and NO_COUNTERS not in printed:
        raise CannotObserve(f"ethtool tells no counters: {excerpt(printed) or 'it said nothing'}")
    lines = (_COUNTER.fullmatch(line) for line in printed.split("\n"))
    found = {sys.intern(line[1]): whole(line[2]) for line in lines if line is not None and WANTED.fullmatch(line[1])}
    return {name: value for name, value in found.items() if value is not None}


def _files(found: list[Path]) -> Iterator[Path]:
    for adapter in found:
        yield adapter / "node_guid"
        yield from (interface / "dev_port" for interface in interfaces(adapter))
