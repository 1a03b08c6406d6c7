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
        lanes: how many the link is wide (4 of `4X NDR`).
        lid, sm_lid: local identifiers of the port and of its subnet manager (InfiniBand), 0 while none was given.
        link_downed: the 8-bit saturating IB counter `link_downed`.
        interface: the network interface behind the port, empty where there is none.
        operstate: of that interface (`up`, `down`, `lowerlayerdown`, `unknown`, ...).
        carrier_changes: of that interface, coming up and going down counted alike.
        carrier_downs: of that interface, going down alone.
    """

    name: str
    link_layer: str = ""
    state: int | None = None
    phys_state: int | None = None
    rate_gbit_per_s: float | None = None
    lanes: int | None = None
    lid: int | None = None
    sm_lid: int | None = None
    link_downed: int | None = None
    interface: str = ""
    operstate: str = ""
    carrier_changes: int | None = None
    carrier_downs: int | None = None
    node_guid: str = ""
    pci: str = ""
    firmware: str = ""


@dataclass(frozen=True, slots=True)
class RdmaReading:
    """All RDMA ports of the host at one moment.

    Attributes:
        known_ports: name → rate in Gb/s that was approved for it, else the highest ever seen on this host while ACTIVE,
            so that a port that vanished or came up slow is seen.
        known_pci: name → PCI address at which a known port was last seen, so that one that vanished can be told by its
            adapter, also after a reboot.
    """

    SOURCE: ClassVar[str] = "rdma"
    PARTS: ClassVar[str] = "ports"

    at_s: float
    ports: tuple[RdmaPort, ...] = ()
    known_ports: dict[str, float] = field(default_factory=dict)
    known_pci: dict[str, str] = field(default_factory=dict)
