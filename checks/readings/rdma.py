"""RDMA ports as sysfs tells them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class RdmaPort:
    """One port under /sys/class/infiniband, as its files say.

    Attributes:
        name: `<device>/<port>`, e.g. `mlx5_0/1`.
        state: number of the file `state` (4 = ACTIVE), `None` when unreadable.
        phys_state: number of the file `phys_state` (5 = LinkUp).
        rate_gbit_per_s: speed in Gb/s as the driver states it.
        link_downed: the 8-bit saturating IB counter `link_downed`.
        carrier_changes: of the netdev behind the port, where there is one.
    """

    name: str
    link_layer: str = ""
    state: int | None = None
    phys_state: int | None = None
    rate_gbit_per_s: float | None = None
    link_downed: int | None = None
    carrier_changes: int | None = None
    node_guid: str = ""
    pci: str = ""
    firmware: str = ""


@dataclass(frozen=True, slots=True)
class RdmaReading:
    """All RDMA ports of the host at one moment.

    Attributes:
        known_ports: name → highest rate in Gb/s ever seen on this host while ACTIVE (from the agent's recorded
            inventory), so that a port that vanished or came up slow is seen.
    """

    SOURCE: ClassVar[str] = "rdma"
    PARTS: ClassVar[str] = "ports"

    at_s: float
    ports: tuple[RdmaPort, ...] = ()
    known_ports: dict[str, float] = field(default_factory=dict)
