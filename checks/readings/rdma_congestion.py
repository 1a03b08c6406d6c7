"""What the network interfaces behind RDMA ports count of pauses, drops and their PCI Express link."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class PortCongestion:
    """One port.

    Attributes:
        name: `<device>/<port>`, e.g. `mlx5_0/1`.
        interface: its network interface, which counts all this.
        counters: name as `ethtool -S` prints it → value: totals; `*_pause_duration` and `*_duration_us` in
            microseconds; `outbound_pci_stalled_rd` and `outbound_pci_stalled_wr` are percentages of the last second.
        unreadable: why they could not be asked for.
    """

    name: str
    interface: str
    node_guid: str = ""
    pci: str = ""
    counters: dict[str, int] = field(default_factory=dict)
    unreadable: str = ""


@dataclass(frozen=True, slots=True)
class RdmaCongestionReading:
    """All RDMA ports of the host that have a network interface.

    Attributes:
        missing_tools: programs that are not installed and would be asked: no port is listed then.
    """

    SOURCE: ClassVar[str] = "rdma_congestion"
    PARTS: ClassVar[str] = "ports"

    at_s: float
    ports: tuple[PortCongestion, ...] = ()
    missing_tools: tuple[str, ...] = ()
