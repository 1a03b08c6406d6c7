"""Where a node says that it stands, from what its sources read and what it was told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agent.settings import SettingsError, load_settings
from agent.simulation.neighbours import leaf_of, rack_of
from agent.status import learn_gpus, learn_ports, learn_switches, place
from checks.readings import FabricReading, GpuReading, LldpNeighbour, LldpReading, NvmlReading, RdmaPort, RdmaReading
from wire.messages import NodeFacts

LEAF = LldpNeighbour("ens1np0", "leaf-3", is_rdma=True)
BRIDGE = LldpNeighbour("eno1", "mgmt-sw-1")
FABRIC = FabricReading(3, 0, "b9f412d0a1c04e5d8a7b1c2d3e4f5061", 4)


def test_rdma_ports_say_what_the_leaf_is_and_other_ports_only_where_they_do_not() -> None:
    both = learn_switches(NodeFacts(), LldpReading(1.0, (BRIDGE, LEAF)))
    assert both.places == {"leaf": ["leaf-3"], "uplink": ["mgmt-sw-1"]}
    assert learn_switches(NodeFacts(), LldpReading(1.0, (BRIDGE,))).places == {"leaf": ["mgmt-sw-1"]}
    assert both == learn_switches(both, LldpReading(2.0))


def test_what_the_node_was_told_wins_over_what_it_finds() -> None:
    told = {"leaf": ["leaf-9"], "rack": ["r1"]}
    facts = place(learn_switches(NodeFacts(places=told), LldpReading(1.0, (LEAF,))), told)
    assert told == facts.places
    assert place(facts, told) is facts


def gpus(*fabrics: FabricReading | None) -> NvmlReading:
    """Return a reading of GPUs that say this of their fabric."""
    found = (GpuReading(index, f"GPU-{index}", "", fabric=fabric) for index, fabric in enumerate(fabrics))
    return NvmlReading(1.0, driver_version="580.65.06", gpus=tuple(found))


def test_an_nvlink_domain_is_called_as_its_kubernetes_label_calls_it() -> None:
    facts = learn_gpus(NodeFacts(), gpus(FABRIC, FABRIC))
    assert facts.places == {"nvlink_domain": ["b9f412d0-a1c0-4e5d-8a7b-1c2d3e4f5061.4"]}


@pytest.mark.parametrize(
    "fabric",
    [
        None,
        replace(FABRIC, cluster_uuid="0" * 32),
        replace(FABRIC, state=2),
        replace(FABRIC, status=9),
        replace(FABRIC, cluster_uuid=""),
    ],
)
def test_a_gpu_that_shares_no_memory_or_is_not_taken_in_names_no_domain(fabric: FabricReading | None) -> None:
    assert learn_gpus(NodeFacts(), gpus(fabric)).places == {}
    known = learn_gpus(NodeFacts(), gpus(FABRIC))
    assert known.places == learn_gpus(known, gpus(fabric)).places


def test_guids_are_those_of_the_adapters_once_each() -> None:
    ports = tuple(
        RdmaPort(name, node_guid=guid)
        for name, guid in (
            ("mlx5_1/1", "A088:c203:0000:0110"),
            ("mlx5_0/1", "a088:c203:0000:0100"),
            ("mlx5_0/2", "a088:c203:0000:0100"),
            ("mlx5_2/1", "0000:0000:0000:0000"),
            ("mlx5_3/1", ""),
        )
    )
    facts = learn_ports(NodeFacts(), RdmaReading(1.0, ports, {}))
    assert facts.guids == ["a088c20300000100", "a088c20300000110"]
    assert facts.guids == learn_ports(facts, RdmaReading(2.0, (), {})).guids


def test_simulated_nodes_stand_four_to_a_leaf_and_rack() -> None:
    assert [leaf_of(f"n{number}") for number in (1, 4, 5, 8)] == ["leaf-1", "leaf-1", "leaf-2", "leaf-2"]
    assert (rack_of("gpu-005"), rack_of("node"), rack_of("n0")) == ("rack-2", "rack-1", "rack-1")


def test_a_place_that_cannot_be_is_refused_with_its_key(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text('broker = { url = "mqtt://127.0.0.1" }\n[places]\nrack = "r1"\npool = ["a", "b"]\n')
    assert load_settings(path).places == {"rack": "r1", "pool": ["a", "b"]}
    path.write_text('broker = { url = "mqtt://127.0.0.1" }\n[places]\nJob = "7"\nsku = "H100"\nrack = " "\n')
    with pytest.raises(SettingsError) as refused:
        load_settings(path)
    assert f"{path}: places: 'Job' is not a kind of place" in str(refused.value)
    assert "'sku' cannot be set" in str(refused.value) and "' ' is not a name" in str(refused.value)
