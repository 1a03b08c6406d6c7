"""What RDMA ports count, as sysfs tells it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class PortCounters:
    """The counters of one port.

    Attributes:
        name: `<device>/<port>`, e.g. `mlx5_0/1`.
        rate_gbit_per_s: speed in Gb/s as the driver states it.
        counters: name of the file in `counters` or `hw_counters` → total; one that could not be read is not there.
        unread: how many files of the two folders were wanted and said nothing, or are being left alone since.
    """

    name: str
    link_layer: str = ""
    rate_gbit_per_s: float | None = None
    node_guid: str = ""
    pci: str = ""
    counters: dict[str, int] = field(default_factory=dict)
    unread: int = 0


@dataclass(frozen=True, slots=True)
class RdmaCountersReading:
    """The counters of all RDMA ports of the host at one moment."""

    SOURCE: ClassVar[str] = "rdma_counters"
    PARTS: ClassVar[str] = "ports"

    at_s: float
    ports: tuple[PortCounters, ...] = ()
