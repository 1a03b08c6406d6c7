"""What the switches that a host is cabled to say of themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class LldpNeighbour:
    """One switch behind one port of the host.

    Attributes:
        interface: of the host.
        switch: the name it gives itself, its chassis id where it gives none.
        is_rdma: whether the interface belongs to an RDMA adapter.
    """

    interface: str
    switch: str
    is_rdma: bool = False


@dataclass(frozen=True, slots=True)
class LldpReading:
    """Every switch, those that were seen before and are silent now included."""

    SOURCE: ClassVar[str] = "lldp"
    PARTS: ClassVar[str] = "neighbours"

    at_s: float
    neighbours: tuple[LldpNeighbour, ...] = ()
