"""What cables say of themselves: light, heat and faults of their modules, asked by `mlxlink`, one port after the other.

Each question makes the adapter's firmware read the module over a slow bus and takes a second or two, so it is asked
seldom, and never two at a time. The tool is optional (`mlxlink` of NVIDIA's firmware tools, or mstflint's `mstlink`),
needs root, and knows NVIDIA's adapters alone; a host without it is nobody's fault, and blind here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from agent.sources.files import Contents, FileReader, entries
from agent.sources.infiniband import adapters, is_virtual, parse_state, pci_of
from agent.sources.module_info import lacks_rights, parse_module
from agent.sources.rdma import RdmaSource
from agent.sources.remembered import numbers
from agent.sources.source import Cost, Declaration, Privilege, Surroundings, Timing
from agent.sources.tool import Time, Tool
from checks.errors import CannotObserve
from checks.readings import CableModule, CableReading

PROGRAMS: Final = ("mlxlink", "mstlink")
FOLDERS: Final = ("usr/bin", "usr/sbin", "usr/local/bin", "usr/local/sbin")
ASK: Final = ("-m", "-c", "--json")
"""Module, counters. Source: NVIDIA, mlxlink manual; both only read."""

NVIDIA: Final = "0x15b3"
VIRTUAL_FUNCTIONS: Final = frozenset({"0x1014", "0x1016", "0x1018", "0x101a", "0x101c", "0x101e"})
"""Of ConnectX-4 and newer, as a virtual machine sees them: the cable is the host's. Source: pci.ids."""

OF_DEVICE: Final = ("node_guid", "device/vendor", "device/device")
OF_PORT: Final = ("state", "phys_state")

ACTIVE: Final = 4
"""Source: kernel, Documentation/ABI/stable/sysfs-class-infiniband, `state`."""

ASK_S: Final = 20.0
"""For one port. Source: our choice; it answers within some two seconds."""


class CableSource:
    """The modules in all ports of NVIDIA adapters."""

    name = "cable"

    def __init__(self, surroundings: Surroundings, timing: Timing) -> None:
        """Ask nothing yet."""
        self.timing = timing
        self._surroundings = surroundings
        self._ports_store = surroundings.store(RdmaSource.name)
        self._reader = FileReader(surroundings.find("grep"))
        self._tools: dict[str, Tool] = {}
        self._late: set[str] = set()

    async def read(self) -> CableReading:
        """Return one reading, empty on a host without such adapters.

        Raises:
            CannotObserve: a driver does not let go of the files that name its adapters.
        """
        surroundings = self._surroundings
        time = Time(self.timing.deadline_s, ASK_S, monotonic=surroundings.monotonic)
        listed = await self._listed(time.left_s())
        program = next((path for name in PROGRAMS if (path := surroundings.find(name, *FOLDERS))), "")
        if not program:
            return CableReading(surroundings.monotonic(), missing_tools=PROGRAMS[:1] if listed else ())
        asked = [await self._ask(*listed[name], program, time) for name in sorted(listed, key=self._is_late)]
        denied = {module.name for module in asked if lacks_rights(module.unreadable)}
        self._late = {module.name for module in asked if module.unreadable}
        shown = sorted((module for module in asked if module.name not in denied), key=lambda module: module.name)
        return CableReading(surroundings.monotonic(), tuple(shown), denied=tuple(sorted(denied)))

    async def close(self) -> None:
        """End what still runs."""
        await self._reader.close()
        for tool in self._tools.values():
            await tool.close()

    def _is_late(self, name: str) -> bool:
        return name in self._late

    async def _listed(self, deadline_s: float) -> dict[str, tuple[CableModule, str]]:
        """Return port → its module with nothing known of it yet, and the address by which to ask."""
        found = [adapter for adapter in adapters(self._surroundings.sysfs) if not is_virtual(adapter)]
        contents = await self._reader.read((path for each in found for path in _files(each)), deadline_s=deadline_s)
        known = numbers(self._ports_store.load().get("known_ports"))
        listed: dict[str, tuple[CableModule, str]] = {}
        for adapter in found:
            for module in list_modules(adapter, contents):
                was_up = module.state == ACTIVE or module.name in known
                listed[module.name] = (replace(module, was_up=was_up), (adapter / "device").resolve().name)
        return listed

    async def _ask(self, module: CableModule, address: str, program: str, time: Time) -> CableModule:
        """Return the module with what it says of itself, or with why it could not be asked."""
        tool = self._tools.setdefault(module.name, Tool(program))
        try:
            ended = await tool.run("-d", address, *ASK, deadline_s=time.left_s())
            return parse_module(module, ended.text)
        except CannotObserve as error:
            return replace(module, unreadable=str(error))


SOURCE: Final = Declaration(
    name=CableSource.name,
    summary="Light, heat and faults of cable modules, from `mlxlink` or `mstlink` where one is installed.",
    reading=CableReading,
    timing=Timing(interval_s=900.0, fast_interval_s=600.0, deadline_s=120.0),
    cost=Cost.HIGH,
    privilege=Privilege.ROOT,
    hangs_with="the network adapters' firmware, each by itself",
    make=CableSource,
)


def list_modules(adapter: Path, contents: Contents) -> Iterator[CableModule]:
    """Yield the module of each port of an adapter that the tool knows."""
    vendor, device = (contents.line(adapter / name) for name in OF_DEVICE[1:])
    if vendor != NVIDIA or device in VIRTUAL_FUNCTIONS or not pci_of(adapter):
        return
    for port in entries(adapter / "ports"):
        yield CableModule(
            name=f"{adapter.name}/{port.name}",
            node_guid=contents.line(adapter / "node_guid"),
            pci=pci_of(adapter),
            state=parse_state(contents.line(port / "state")),
            phys_state=parse_state(contents.line(port / "phys_state")),
        )


def _files(adapter: Path) -> Iterator[Path]:
    yield from (adapter / name for name in OF_DEVICE)
    yield from (port / name for port in entries(adapter / "ports") for name in OF_PORT)
