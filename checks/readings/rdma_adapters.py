"""RDMA adapters beyond their ports' state, as sysfs tells them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Gid:
    """One global identifier of a port.

    Attributes:
        index: in the port's table.
        address: eight groups of four hexadecimal digits; all zero where the slot is empty.
        type: `IB/RoCE v1` or `RoCE v2`, empty when it could not be read.
        interface: whose address it is, empty for InfiniBand.
    """

    index: int
    address: str
    type: str = ""
    interface: str = ""

    @property
    def is_used(self) -> bool:
        """Whether anything is in the slot."""
        return bool(self.address.strip("0:"))


@dataclass(frozen=True, slots=True)
class AdapterPort:
    """One port of an adapter.

    Attributes:
        name: `<device>/<port>`, e.g. `mlx5_0/1`.
        state: number of the file `state` (4 = ACTIVE), `None` when unreadable.
        management: the character device for management datagrams that the kernel made (`umad0`), empty for none.
        has_management_node: whether that device is in /dev/infiniband.
        interface: the network interface behind the port as this network namespace sees it, empty for none.
        member_of: the bond or bridge which that interface is part of.
        gids: those that were read, without empty slots except slot 0; `None` when the table could not be read.
        is_cut: the table goes on beyond what was read, and no empty slot was met.
    """

    name: str
    link_layer: str = ""
    state: int | None = None
    rate_gbit_per_s: float | None = None
    management: str = ""
    has_management_node: bool = False
    interface: str = ""
    member_of: str = ""
    gids: tuple[Gid, ...] | None = None
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class PcieLink:
    """One end of a PCIe link: what it runs at, and the most that it can. `None` where it is not known."""

    gt_per_s: float | None = None
    lanes: int | None = None
    max_gt_per_s: float | None = None
    max_lanes: int | None = None


@dataclass(frozen=True, slots=True)
class RdmaAdapter:
    """One device under /sys/class/infiniband.

    Attributes:
        node_type: number of the file `node_type` (1 = channel adapter, 4 = iWARP).
        pci: address `dddd:bb:dd` without function, empty for a device that is not on the PCI bus.
        function: what it is made on: the PCI function `0000:3b:00.0`, or a part of one, `mlx5_core.sf.4`.
        is_virtual: a virtual function or a subfunction, beside its physical function on this host.
        firmware: empty when it could not be read, or when the driver tells none.
        board: the vendor's name of the board (PSID).
        chip: what the driver calls the model (`MT4129`).
        verbs: the character device for verbs that the kernel made (`uverbs0`), empty for none.
        has_verbs_node: whether that device is in /dev/infiniband.
        link: the adapter's end of its PCIe link.
        slot: the end of the port above it.
    """

    name: str
    node_type: int | None = None
    node_guid: str = ""
    pci: str = ""
    function: str = ""
    is_virtual: bool = False
    firmware: str = ""
    board: str = ""
    chip: str = ""
    verbs: str = ""
    has_verbs_node: bool = False
    link: PcieLink = PcieLink()
    slot: PcieLink = PcieLink()
    ports: tuple[AdapterPort, ...] = ()


@dataclass(frozen=True, slots=True)
class RdmaAdaptersReading:
    """All RDMA adapters of the host, and what stands between them and its GPUs.

    Attributes:
        has_device_folder: there is a /dev/infiniband.
        has_connection_manager: there is a /dev/infiniband/rdma_cm.
        nvidia_gpus: how many the PCI bus has.
        has_nvidia_driver: the module `nvidia` is loaded.
        nvidia_taint: letters by which that module taints the kernel (`POE`), empty when unreadable.
        peer_memory: the loaded module that hands GPU memory to RDMA adapters (`nvidia_peermem`), empty for none.
        kernel: release of the kernel, `6.8.0-60-generic`.
    """

    SOURCE: ClassVar[str] = "rdma_adapters"
    PARTS: ClassVar[str] = "adapters"

    at_s: float
    adapters: tuple[RdmaAdapter, ...] = ()
    has_device_folder: bool = False
    has_connection_manager: bool = False
    nvidia_gpus: int = 0
    has_nvidia_driver: bool = False
    nvidia_taint: str = ""
    peer_memory: str = ""
    kernel: str = ""
