"""Places out of labels of Kubernetes nodes.

GKE and TOPOGRAPH are labels as their vendors' documentation shows them.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from controller.sections.topology import TopologySection
from controller.topology.kubernetes import LABELS, places_of
from wire.places import why_no_kind

GKE = {
    "topology.kubernetes.io/zone": "us-central1-a",
    "topology.kubernetes.io/region": "us-central1",
    "cloud.google.com/gke-nodepool": "a3-ultra",
    "kubernetes.io/hostname": "gke-a3-1",
}
TOPOGRAPH = {
    "nvidia.com/gpu.clique": "b9f412d0-a1c0-4e5d-8a7b-1c2d3e4f5061.4",
    "network.topology.nvidia.com/accelerator": "nvl1",
    "network.topology.nvidia.com/leaf": "s1",
    "network.topology.nvidia.com/spine": "s2",
    "network.topology.nvidia.com/core": "s3",
}


def test_well_known_labels_become_places() -> None:
    assert places_of(GKE) == {"pool": ("a3-ultra",), "region": ("us-central1",), "zone": ("us-central1-a",)}


def test_topograph_names_the_switches_and_the_clique_outranks_its_accelerator() -> None:
    assert places_of(TOPOGRAPH) == {
        "core": ("s3",),
        "leaf": ("s1",),
        "nvlink_domain": ("b9f412d0-a1c0-4e5d-8a7b-1c2d3e4f5061.4",),
        "spine": ("s2",),
    }


def test_the_lowest_layer_of_aws_is_the_leaf_unless_something_better_says() -> None:
    layers = {f"topology.k8s.aws/network-node-layer-{layer}": f"nn-{layer}" for layer in (1, 2, 3)}
    assert places_of(layers)["leaf"] == ("nn-3",)
    assert places_of(layers | TOPOGRAPH)["leaf"] == ("s1",)


@given(st.dictionaries(st.sampled_from([name for names in LABELS.values() for name in names]) | st.text(), st.text()))
def test_any_labels_give_places_of_known_kinds(labels: dict[str, str]) -> None:
    places = places_of(labels)
    assert places.keys() <= LABELS.keys() and not any(map(why_no_kind, places))
    assert all(name in labels.values() for names in places.values() for name in names)


def test_labels_of_a_site_take_the_place_of_the_usual_ones_kind_by_kind() -> None:
    own = {"rack": ("example.com/rack",), "zone": (), "pdu": ("example.com/pdu",)}
    section = TopologySection(kubernetes_labels=own)
    labels = {**GKE, "example.com/pdu": "p7", "example.com/rack": "r2", "topology.kubernetes.io/rack": "other"}
    assert places_of(labels, section.label_table()) == {
        "pool": ("a3-ultra",),
        "region": ("us-central1",),
        "pdu": ("p7",),
        "rack": ("r2",),
    }


def test_a_site_that_names_its_leaves_is_not_told_those_of_aws() -> None:
    labels = {"topology.k8s.aws/network-node-layer-3": "nn-3"}
    assert places_of(labels) == {"leaf": ("nn-3",)}
    assert places_of(labels, TopologySection(kubernetes_labels={"leaf": ()}).label_table()) == {}
