"""The ways that an all-reduce is led, each by the environment of a process of its own: NCCL reads it once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

WAY: Final = "way"
"""The option that names one of them to the process that measures it."""


WHOLE_NODE: Final = 8
"""GPUs of the nodes for which limits of all-reduces are known. Source: ml-engineering 744d01e, network/README.md: H200
reaches 363, 414, 436, 460 and 482 GB/s with 4 to 8 GPUs, so a limit of one number fits no other."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way.

    Attributes:
        name: as a number's `way` says it; empty for NCCL's own choice.
        metric: of its numbers on a node with eight GPUs.
        other_metric: on nodes with any other number of GPUs.
        environment: what leads it.
    """

    name: str
    metric: str
    other_metric: str
    environment: Mapping[str, str] = field(default_factory=dict)

    def metric_of(self, gpus: int) -> str:
        """Return the metric of a node with so many GPUs."""
        return self.metric if gpus == WHOLE_NODE else self.other_metric


AUTO: Final = Way("", "node_all_reduce", "small_node_all_reduce")
RING: Final = Way("ring", "node_all_reduce_ring", "small_node_all_reduce_ring", {"NCCL_NVLS_ENABLE": "0"})
LOOPBACK: Final = Way(
    "loopback",
    "adapter_loopback",
    "adapter_loopback",
    {
        "NCCL_NVLS_ENABLE": "0",
        "NCCL_P2P_DISABLE": "1",
        "NCCL_SHM_DISABLE": "1",
        "NCCL_NET_GDR_LEVEL": "5",
        "NCCL_IB_PCI_RELAXED_ORDERING": "1",
    },
)
"""Source: azurehpc-health-checks 0e0a1ac, check_nccl_allreduce_ib_loopback; NVLS off for the sake of older NCCL."""

WAYS: Final = {"auto": AUTO, "ring": RING, "loopback": LOOPBACK}

OF_THE_SITE: Final = (
    "NCCL_SOCKET_IFNAME",
    "NCCL_SOCKET_FAMILY",
    "NCCL_OOB_NET_IFNAME",
    "NCCL_IB_HCA",
    "NCCL_IB_GID_INDEX",
    "NCCL_IB_ADDR_FAMILY",
    "NCCL_IB_ADDR_RANGE",
    "NCCL_IB_ROCE_VERSION_NUM",
    "NCCL_IB_SL",
    "NCCL_IB_TC",
    "NCCL_IB_PKEY",
    "NCCL_CROSS_NIC",
    "NCCL_NET",
    "NCCL_NET_PLUGIN",
    "NCCL_COLLNET_ENABLE",
    "NCCL_TOPO_FILE",
    "NCCL_TUNER_PLUGIN",
    "NCCL_TUNER_CONFIG_PATH",
    "NCCL_CONF_FILE",
)
"""What tells NCCL how the site's network is made. Everything else of NCCL's would change what is measured, and results
of two nodes could not be compared. Source: NCCL's user guide, environment variables."""

_WOULD_HIDE_GPUS: Final = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER")
_PREFIXES: Final = ("NCCL_", "CUDA_LAUNCH_", "CUDA_MODULE_", "CUDA_DEVICE_MAX_")


def environment_of(way: Way, inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the process that measures this way."""
    kept = {name: value for name, value in inherited.items() if name in OF_THE_SITE or not _changes_results(name)}
    return {**kept, "CUDA_DEVICE_ORDER": "PCI_BUS_ID", "NCCL_DEBUG": "WARN", **way.environment}


def _changes_results(name: str) -> bool:
    return name in _WOULD_HIDE_GPUS or name.startswith(_PREFIXES)
