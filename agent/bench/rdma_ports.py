"""The RDMA ports of this host that can carry traffic, read in the benchmark's own process, which may hang."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.bench.pci_affinity import nearest_gpus, steps_of
from agent.sources.files import entries
from agent.sources.infiniband import adapters, is_virtual, parse_rate, parse_state

ACTIVE: Final = 4
"""Source: kernel, Documentation/ABI/stable/sysfs-class-infiniband, `state`."""

INFINIBAND, ETHERNET = "InfiniBand", "Ethernet"
ROCE_2: Final = "RoCE v2"
MAPPED: Final = "0000:0000:0000:0000:0000:ffff:"
LINK_LOCAL: Final = "fe80:"
UNUSED: Final = "0000:0000:0000:0000:0000:0000:0000:0000"
"""How gids are written, and those that hold an IPv4 address. Source: kernel, sysfs-class-infiniband, `gids`."""


@dataclass(frozen=True, slots=True)
class RdmaPortAtHand:
    """One port.

    Attributes:
        adapter: e.g. `mlx5_0`; `port`: its number on it.
        rate_gbits: of the link as it is now.
        fabric: ports with the same may reach each other: link layer, and of InfiniBand the subnet.
        gid: index for RoCE, `None` where the program is left to choose.
        board: identity of the card's kind and firmware settings, empty where it does not say.
        gpu: PCI address of the nearest GPU, empty where none is.
    """

    adapter: str
    port: int
    rate_gbits: float
    fabric: str
    gid: int | None = None
    board: str = ""
    gpu: str = ""

    @property
    def name(self) -> str:
        """The adapter's name, with the port where it is not the first."""
        return self.adapter if self.port == 1 else f"{self.adapter}:{self.port}"


def ports_at_hand(root: Path, gpus: Iterable[str]) -> tuple[tuple[RdmaPortAtHand, ...], tuple[str, ...]]:
    """Return the ports that are active, and the names of adapters that have none.

    Virtual functions are left out: the cable is their physical function's.

    Args:
        root: where `sys` is.
        gpus: PCI addresses with function.
    """
    sysfs = root / "sys"
    folders = [folder for folder in adapters(sysfs) if not is_virtual(folder)]
    near = nearest_gpus(
        {folder.name: _steps(folder / "device") for folder in folders},
        {gpu: _steps(sysfs / "bus/pci/devices" / gpu) for gpu in gpus},
    )
    found = [port for folder in folders for port in _ports(folder, near.get(folder.name, ""))]
    idle = {folder.name for folder in folders} - {port.adapter for port in found}
    return tuple(found), tuple(sorted(idle))


def slower_than_siblings(ports: Iterable[RdmaPortAtHand]) -> list[tuple[RdmaPortAtHand, float]]:
    """Return each port that runs slower than another of the same board, with that other's rate in Gb/s."""
    listed = [port for port in ports if port.board]
    best: dict[str, float] = {}
    for port in listed:
        best[port.board] = max(best.get(port.board, 0.0), port.rate_gbits)
    return [(port, best[port.board]) for port in listed if port.rate_gbits < best[port.board]]


def _steps(device: Path) -> tuple[str, ...]:
    try:
        return steps_of(device.resolve().parts)
    except (OSError, RuntimeError):
        return ()


def _ports(folder: Path, gpu: str) -> list[RdmaPortAtHand]:
    board = _line(folder / "board_id")
    read = (_port(each, folder.name, board, gpu) for each in entries(folder / "ports") if each.name.isdecimal())
    return [port for port in read if port is not None]


def _port(folder: Path, adapter: str, board: str, gpu: str) -> RdmaPortAtHand | None:
    rate, layer = parse_rate(_line(folder / "rate")), _line(folder / "link_layer")
    if parse_state(_line(folder / "state")) != ACTIVE or not rate or layer not in (INFINIBAND, ETHERNET):
        return None
    is_infiniband = layer == INFINIBAND
    fabric = f"{layer} {_line(folder / 'gids/0')[:19]}" if is_infiniband else layer
    gid = None if is_infiniband else _roce_gid(folder)
    return RdmaPortAtHand(adapter, int(folder.name), rate, fabric, gid, board, gpu)


def _roce_gid(folder: Path) -> int | None:
    """Return the index of the gid that NCCL would take too: RoCE v2, with an IPv4 address before others."""
    kinds = {int(file.name): _line(file) for file in entries(folder / "gid_attrs/types") if file.name.isdecimal()}
    gids = {index: _line(folder / "gids" / str(index)) for index, kind in kinds.items() if kind == ROCE_2}
    usable = [(_preference(gid), index) for index, gid in gids.items() if gid not in ("", UNUSED)]
    return min(usable)[1] if usable else None


def _preference(gid: str) -> int:
    if gid.startswith(MAPPED):
        return 0
    return 2 if gid.startswith(LINK_LOCAL) else 1


def _line(path: Path) -> str:
    """Return the first line; the kernel answers for an empty slot of the table of gids with an error."""
    try:
        return path.read_text(errors="replace").partition("\n")[0].strip()
    except OSError:
        return ""
