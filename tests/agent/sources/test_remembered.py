"""What a host is known to have."""

from __future__ import annotations

from agent.sources.remembered import learn_gpus, learn_ports, numbers, texts
from checks.readings import GpuReading, RdmaPort


def gpu(uuid: str, pci: str, *, lost: bool = False) -> GpuReading:
    return GpuReading(index=0, uuid=uuid, pci=pci, lost=lost)


def test_gpus_that_answer_are_learnt_and_those_that_vanish_are_kept() -> None:
    known = learn_gpus({"A": "a"}, [gpu("B", "b"), gpu("C", "c", lost=True), gpu("", "d"), gpu("E", "")])
    assert known == {"A": "a", "B": "b"}


def test_a_gpu_that_moved_is_known_at_its_new_place_only() -> None:
    assert learn_gpus({"A": "a"}, [gpu("A", "b")]) == {"A": "b"}


def test_two_gpus_that_swapped_places_are_both_known() -> None:
    assert learn_gpus({"A": "a", "B": "b"}, [gpu("A", "b"), gpu("B", "a")]) == {"A": "b", "B": "a"}


def test_a_replaced_gpu_is_forgotten() -> None:
    assert learn_gpus({"A": "a"}, [gpu("B", "a")]) == {"B": "a"}


def test_ports_are_known_by_their_best_rate_while_active() -> None:
    ports = [
        RdmaPort("p/1", state=4, rate_gbit_per_s=200.0),
        RdmaPort("p/2", state=4, rate_gbit_per_s=400.0),
        RdmaPort("p/3", state=1, rate_gbit_per_s=400.0),
        RdmaPort("p/4", state=4),
    ]
    assert learn_ports({"p/1": 400.0}, ports) == {"p/1": 400.0, "p/2": 400.0}


def test_what_was_saved_wrongly_is_left_out() -> None:
    assert texts({"a": "b", "c": 1, 2: "d"}) == {"a": "b"}
    assert texts(None) == {}
    assert numbers({"a": 1, "b": 2.5, "c": True, "d": "4", 5: 6}) == {"a": 1.0, "b": 2.5}
    assert numbers([1]) == {}
