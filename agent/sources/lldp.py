"""The switches that this host is cabled to, from the LLDP daemon that runs here: lldpd, or systemd-networkd.

They place the host: what hangs on one leaf fails together. A switch that has been seen is remembered until another is
seen in its place, for the moment when it falls silent is the moment when its hosts have to be known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from agent.plain_text import plain
from agent.sources.infiniband import adapters, interfaces
from agent.sources.printed_json import first_object
from agent.sources.source import Cost, Declaration, Privilege, Surroundings, Timing
from agent.sources.tool import Time, Tool
from checks.readings import LldpNeighbour, LldpReading
from wire.places import why_no_place

LLDPCLI: Final = "lldpcli"
NETWORKCTL: Final = "networkctl"
FOLDERS: Final = ("usr/sbin", "sbin", "usr/bin", "bin")
"""Where distributions put them; a service's PATH may lack them."""

ASK_LLDPCLI: Final = ("-f", "json0", "show", "neighbors")
"""Every neighbour of LLDP and its kin, in the form of JSON that never changes its shape. Source: lldpcli(8)."""

ASK_NETWORKCTL: Final = ("--json=short", "--no-pager", "lldp")
"""JSON since systemd 257; an older one prints a table, which is left alone. Source: networkctl(1)."""

SWITCHING: Final = frozenset({"Bridge", "Router"})
SWITCHING_BITS: Final = 1 << 2 | 1 << 4
"""Bridge and router among the system capabilities. Source: IEEE 802.1AB-2016, table 8-4."""

MAX_NEIGHBOURS: Final = 256
_INTERFACE = re.compile(r"[^\s/:]{1,15}", re.ASCII)
"""Source: kernel, net/core/dev.c, `dev_valid_name`."""

Seen = dict[str, list[str]]
"""Interface → switches behind it."""


class LldpSource:
    """All ports of the host."""

    name = "lldp"

    def __init__(self, surroundings: Surroundings, timing: Timing) -> None:
        """Ask nothing yet."""
        self.timing = timing
        self._sysfs, self._monotonic = surroundings.sysfs, surroundings.monotonic
        self._store = surroundings.store(self.name)
        self._known = _remembered(self._store.load().get("neighbours"))
        self._lldpcli = Tool(surroundings.find(LLDPCLI, *FOLDERS))
        self._networkctl = Tool(surroundings.find(NETWORKCTL, *FOLDERS))

    async def read(self) -> LldpReading:
        """Return one reading, empty on a host where no daemon tells of neighbours.

        Raises:
            CannotObserve: a program does not end.
        """
        seen = await self._ask()
        known = {name: kept for name, kept in {**self._known, **seen}.items() if self._is_here(name)}
        if known != self._known:
            self._known = known
            self._store.save({"neighbours": known})
        return LldpReading(self._monotonic(), tuple(self._neighbours()))

    async def close(self) -> None:
        """End what still runs."""
        await self._lldpcli.close()
        await self._networkctl.close()

    async def _ask(self) -> Seen:
        """Return what both daemons tell. One that does not run tells nothing, which is nobody's fault."""
        time = Time(self.timing.deadline_s, self.timing.deadline_s, monotonic=self._monotonic)
        seen: Seen = {}
        if self._networkctl.is_installed:
            ended = await self._networkctl.run(*ASK_NETWORKCTL, deadline_s=time.left_s(), errors_apart=True)
            seen |= parse_networkctl(ended.text)
        if self._lldpcli.is_installed:
            ended = await self._lldpcli.run(*ASK_LLDPCLI, deadline_s=time.left_s(), errors_apart=True)
            seen |= parse_lldpcli(ended.text)
        return seen

    def _is_here(self, interface: str) -> bool:
        return (self._sysfs / "class/net" / interface).exists()

    def _neighbours(self) -> Iterator[LldpNeighbour]:
        of_rdma = {each.name for adapter in adapters(self._sysfs) for each in interfaces(adapter)}
        for interface in sorted(self._known):
            for switch in self._known[interface]:
                yield LldpNeighbour(interface, switch, interface in of_rdma)


SOURCE: Final = Declaration(
    name=LldpSource.name,
    summary="The switches that the host is cabled to, from `lldpcli` or `networkctl`, whichever knows any.",
    reading=LldpReading,
    timing=Timing(interval_s=600.0, fast_interval_s=600.0, deadline_s=10.0),
    cost=Cost.MEDIUM,
    privilege=Privilege.NONE,
    hangs_with="the LLDP daemon",
    make=LldpSource,
)


def parse_lldpcli(printed: str) -> Seen:
    """Return the switches in what `lldpcli -f json0 show neighbors` printed, none where it printed no such thing."""
    seen: Seen = {}
    for part in _tables(first_object(printed).get("lldp")):
        for row in _tables(part.get("interface"))[:MAX_NEIGHBOURS]:
            for chassis in _tables(row.get("chassis"))[:1]:
                enabled = {each.get("type") for each in _tables(chassis.get("capability")) if each.get("enabled")}
                if not chassis.get("capability") or enabled & SWITCHING:
                    _note(seen, row.get("name"), _value(chassis, "name") or _value(chassis, "id"))
    return seen


def parse_networkctl(printed: str) -> Seen:
    """Return the switches in what `networkctl --json=short lldp` printed, none where it printed no such thing."""
    seen: Seen = {}
    for row in _tables(first_object(printed).get("Neighbors"))[:MAX_NEIGHBOURS]:
        for each in _tables(row.get("Neighbors"))[:MAX_NEIGHBOURS]:
            bits = each.get("EnabledCapabilities")
            if not isinstance(bits, int) or not bits or bits & SWITCHING_BITS:
                _note(seen, row.get("InterfaceName"), each.get("SystemName") or each.get("ChassisID"))
    return seen


def _note(seen: Seen, interface: object, switch: object) -> None:
    if not isinstance(interface, str) or not _INTERFACE.fullmatch(interface) or interface in {".", ".."}:
        return
    if isinstance(switch, str) and not why_no_place(name := plain(switch.strip())):
        seen[interface] = sorted({*seen.get(interface, ()), name})


def _value(chassis: Mapping[str, Any], key: str) -> object:
    return next((each.get("value") for each in _tables(chassis.get(key))), None)


def _tables(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _remembered(value: object) -> Seen:
    pairs: Iterable[tuple[object, object]] = value.items() if isinstance(value, dict) else ()
    seen: Seen = {}
    for interface, switches in pairs:
        for switch in switches if isinstance(switches, list) else ():
            _note(seen, interface, switch)
    return seen
