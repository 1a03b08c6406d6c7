"""RDMA ports, read from sysfs alone: cheap enough for every few seconds, and no tool that could hang.

Any file may be missing, unreadable or full of anything: the field is `None` then, and the port is still reported.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from agent.sources.inventory import Store, learn_ports, numbers
from agent.sources.thread import Apart
from checks.readings import RdmaPort, RdmaReading

MAX_BYTES: Final = 4096
"""Source: kernel, Documentation/filesystems/sysfs.rst: a file is at most one page."""

_STATE = re.compile(r"(\d{1,3}): ", re.ASCII)
_RATE = re.compile(r"(\d{1,6}(?:\.\d{1,3})?) Gb/sec\b", re.ASCII)
_NUMBER = re.compile(r"\d{1,20}", re.ASCII)
_PCI = re.compile(r"([0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2})\.[0-7]", re.ASCII)


class RdmaSource:
    """All RDMA ports of the host."""

    name = "rdma"

    def __init__(
        self,
        store: Store,
        *,
        interval_s: float = 5.0,
        deadline_s: float = 3.0,
        sysfs: Path = Path("/sys"),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read nothing yet. `monotonic` gives seconds that never jump."""
        self.interval_s, self.deadline_s = interval_s, deadline_s
        self._store, self._monotonic = store, monotonic
        self._known = numbers(store.load().get("known_ports"))
        self._ports = Apart("RDMA ports", lambda: tuple(read_ports(sysfs)))

    async def read(self) -> RdmaReading:
        """Return one reading, without ports where there are none.

        Raises:
            CannotObserve: a driver does not let go of its files.
        """
        ports = await self._ports.result(deadline_s=self.deadline_s)
        known = learn_ports(self._known, ports)
        if known != self._known:
            self._known = known
            self._store.save({"known_ports": known})
        return RdmaReading(self._monotonic(), ports, dict(known))

    async def close(self) -> None:
        """Leave nothing running: between readings nothing does."""


def read_ports(sysfs: Path) -> Iterator[RdmaPort]:
    """Yield every port under `class/infiniband`, in the order of names.

    Source: kernel, Documentation/ABI/stable/sysfs-class-infiniband.
    """
    for device in _entries(sysfs / "class/infiniband"):
        for port in _entries(device / "ports"):
            yield _read_port(device, port)


def _read_port(device: Path, port: Path) -> RdmaPort:
    return RdmaPort(
        name=f"{device.name}/{port.name}",
        link_layer=read_text(port / "link_layer"),
        state=parse_state(read_text(port / "state")),
        phys_state=parse_state(read_text(port / "phys_state")),
        rate_gbit_per_s=parse_rate(read_text(port / "rate")),
        link_downed=parse_number(read_text(port / "counters/link_downed")),
        carrier_changes=_carrier_changes(device, port),
        node_guid=read_text(device / "node_guid"),
        pci=_pci(device),
        firmware=read_text(device / "fw_ver"),
    )


def parse_state(text: str) -> int | None:
    """Return the number of `4: ACTIVE`."""
    match = _STATE.match(text)
    return int(match[1]) if match else None


def parse_rate(text: str) -> float | None:
    """Return the Gb/s of `400 Gb/sec (4X NDR)`."""
    match = _RATE.match(text)
    return float(match[1]) if match else None


def parse_number(text: str) -> int | None:
    """Return the number; some drivers write `N/A (no PMA)` in place of one."""
    return int(text) if _NUMBER.fullmatch(text) else None


def read_text(path: Path) -> str:
    """Return what the file says on its first line, printable characters only; empty when it cannot be read."""
    try:
        with path.open("rb", buffering=0) as file:
            line = (file.read(MAX_BYTES) or b"").partition(b"\n")[0]
    except OSError:
        return ""
    return "".join(character for character in line.decode("utf-8", "replace") if character.isprintable()).strip()


def _carrier_changes(device: Path, port: Path) -> int | None:
    """Return the carrier changes of the network interface behind the port.

    A device with several ports has an interface for each, which says by `dev_port` (from 0) whose it is.
    """
    interfaces = _entries(device / "device/net")
    if len(interfaces) > 1:
        wanted = [each for each in interfaces if str(_dev_port(each) + 1) == port.name]
        interfaces = wanted if len(wanted) == 1 else []
    return parse_number(read_text(interfaces[0] / "carrier_changes")) if interfaces else None


def _dev_port(interface: Path) -> int:
    return parse_number(read_text(interface / "dev_port")) or 0


def _pci(device: Path) -> str:
    """Return the PCI address without function, empty for a device that is not on the PCI bus."""
    try:
        match = _PCI.fullmatch((device / "device").resolve().name.lower())
    except (OSError, RuntimeError):
        return ""
    return match[1] if match else ""


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
