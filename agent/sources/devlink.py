"""What drivers say of the health of RDMA adapters, asked by one `devlink health show` a minute.

mlx5 watches its firmware, its queues and more, counts their errors and what it mended itself. `devlink` is optional: a
host without it is nobody's fault, and blind here. A kernel without devlink has no driver that tells anything by it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from agent.sources.files import Contents, FileReader
from agent.sources.infiniband import adapters, is_virtual, pci_of
from agent.sources.numerals import whole
from agent.sources.printed_json import first_object
from agent.sources.source import Cost, Declaration, Privilege, Surroundings, Timing
from agent.sources.tool import Time, Tool
from checks.errors import CannotObserve
from checks.kernel_log import excerpt
from checks.readings import AdapterHealth, DevlinkReading, HealthReporter

DEVLINK: Final = "devlink"
FOLDERS: Final = ("usr/sbin", "sbin", "usr/local/sbin")
"""Where distributions put it; a service's PATH may lack them."""

ASK: Final = ("-j", "health", "show")
"""Source: devlink-health(8)."""

NO_DEVLINK: Final = "Failed to connect to devlink Netlink"
"""The kernel has none. Source: iproute2, devlink/devlink.c, `dl_init`."""

NVIDIA: Final = "0x15b3"
"""Vendor whose driver does not do without. Source: kernel, mlx5/core/Kconfig, `select NET_DEVLINK`."""

MAX_TEXT: Final = 32
MAX_REPORTERS: Final = 64

_HANDLE = re.compile(r"pci/([0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])(?:/\d{1,10})?", re.ASCII)
_NAME = re.compile(r"\w{1,32}", re.ASCII)


class DevlinkSource:
    """The RDMA adapters of the host."""

    name = "devlink"

    def __init__(self, surroundings: Surroundings, timing: Timing) -> None:
        """Ask nothing yet."""
        self.timing = timing
        self._surroundings = surroundings
        self._reader = FileReader(surroundings.find("grep"))
        self._tool = Tool(surroundings.find(DEVLINK, *FOLDERS))

    async def read(self) -> DevlinkReading:
        """Return one reading, empty on a host without RDMA adapters or without `devlink`.

        Raises:
            CannotObserve: a driver does not let go of its files, or `devlink` does not tell what it should.
        """
        monotonic = self._surroundings.monotonic
        found = [adapter for adapter in adapters(self._surroundings.sysfs) if not is_virtual(adapter)]
        if not found or not self._tool.is_installed:
            return DevlinkReading(monotonic(), missing_tools=(DEVLINK,) if found else ())
        time = Time(self.timing.deadline_s, self.timing.deadline_s, monotonic=monotonic)
        contents = await self._reader.read(_files(found), deadline_s=time.left_s())
        ended = await self._tool.run(*ASK, deadline_s=time.left_s())
        if NO_DEVLINK in ended.text and not _is_expected(found, contents):
            return DevlinkReading(monotonic())
        told = parse_health(ended.text)
        listed = [_adapter(adapter, contents) for adapter in found]
        known = [replace(each, reporters=tuple(told[each.address])) for each in listed if told.get(each.address)]
        return DevlinkReading(monotonic(), tuple(known))

    async def close(self) -> None:
        """End what still runs."""
        await self._reader.close()
        await self._tool.close()


SOURCE: Final = Declaration(
    name=DevlinkSource.name,
    summary="Health of RDMA adapters as their drivers report it, from `devlink` where it is installed.",
    reading=DevlinkReading,
    timing=Timing(interval_s=60.0, fast_interval_s=20.0, deadline_s=10.0),
    cost=Cost.MEDIUM,
    privilege=Privilege.NONE,
    hangs_with="the network adapters' drivers",
    make=DevlinkSource,
)


def parse_health(printed: str) -> dict[str, list[HealthReporter]]:
    """Return PCI address with function → its reporters, of what `devlink -j health show` printed.

    Raises:
        CannotObserve: it printed no list of reporters.
    """
    health = first_object(printed).get("health")
    if not isinstance(health, dict):
        raise CannotObserve(f"devlink tells no health: {excerpt(printed) or 'it said nothing'}")
    told: dict[str, list[HealthReporter]] = {}
    for handle, rows in health.items():
        match = _HANDLE.fullmatch(handle.lower())
        if match is not None and isinstance(rows, list):
            told.setdefault(match[1], []).extend(_reporters(rows[:MAX_REPORTERS]))
    return told


def _reporters(rows: Sequence[object]) -> Iterator[HealthReporter]:
    for row in rows:
        if not isinstance(row, dict):
            continue
        name = _text(row, "reporter") or _text(row, "name")
        if _NAME.fullmatch(name):
            dumped = f"{_text(row, 'last_dump_date')} {_text(row, 'last_dump_time')}".strip()
            errors, recoveries = whole(row.get("error")), whole(row.get("recover"))
            yield HealthReporter(name, _text(row, "state"), errors, recoveries, dumped)


def _text(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    return value if isinstance(value, str) and len(value) <= MAX_TEXT and value.isprintable() else ""


def _adapter(adapter: Path, contents: Contents) -> AdapterHealth:
    address = (adapter / "device").resolve().name.lower()
    return AdapterHealth(adapter.name, address, contents.line(adapter / "node_guid"), pci_of(adapter))


def _is_expected(found: Sequence[Path], contents: Contents) -> bool:
    return any(contents.line(adapter / "device/vendor") == NVIDIA for adapter in found)


def _files(found: Sequence[Path]) -> Iterator[Path]:
    yield from (adapter / name for adapter in found for name in ("node_guid", "device/vendor"))
