"""Places out of the labels of a Kubernetes node: those that clouds, NVIDIA's operators and Topograph set. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from controller.policy.places import LEAF, NVLINK_DOMAIN, POOL, RACK, claimed

LabelTable = Mapping[str, tuple[str, ...]]

LABELS: Final[LabelTable] = {
    NVLINK_DOMAIN: ("nvidia.com/gpu.clique", "network.topology.nvidia.com/accelerator"),
    LEAF: (
        "network.topology.nvidia.com/leaf",
        "network.topology.nvidia.com/block",
        "topology.kubernetes.io/network-level-1",
    ),
    "spine": ("network.topology.nvidia.com/spine", "topology.kubernetes.io/network-level-2"),
    "core": ("network.topology.nvidia.com/core", "topology.kubernetes.io/network-level-3"),
    RACK: ("topology.kubernetes.io/rack",),
    "zone": ("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"),
    "region": ("topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region"),
    POOL: (
        "karpenter.sh/nodepool",
        "cloud.google.com/gke-nodepool",
        "eks.amazonaws.com/nodegroup",
        "alpha.eksctl.io/nodegroup-name",
        "kubernetes.azure.com/agentpool",
        "doks.digitalocean.com/node-pool",
        "k8s.scaleway.com/pool-name",
    ),
}
"""Kind → labels, the best first: of several on one node the first wins.

Source: Kubernetes, "Well-Known Labels, Annotations and Taints"; NVIDIA GPU feature discovery; NVIDIA Topograph, docs of
its Kubernetes engine, old names included; each cloud's documentation of its node pools. `topology.kubernetes.io/rack`
is a habit, not a standard.
"""

_AWS_LAYER = re.compile(r"topology\.k8s\.aws/network-node-layer-(\d)")
"""The highest number is the switch that the instance hangs on. Source: Amazon EKS, "Instance topology"."""


def places_of(labels: Mapping[str, str], table: LabelTable = LABELS) -> dict[str, tuple[str, ...]]:
    """Return where a node stands by its labels, kind → names.

    Args:
        table: as LABELS, for a site that has labels of its own.
    """
    found = {kind: [_first(labels, names)] for kind, names in table.items()}
    layers = sorted(label for label in labels if _AWS_LAYER.fullmatch(label))
    if layers and table.get(LEAF) == LABELS[LEAF] and found[LEAF] == [""]:
        found[LEAF] = [labels[layers[-1]]]
    return claimed(found)


def _first(labels: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((labels[name] for name in names if labels.get(name)), "")
