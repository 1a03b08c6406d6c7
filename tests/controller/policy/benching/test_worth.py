"""What a benchmark is worth grows with what it may find, falls with what it costs, and is little once it passed."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.bench_result import Benchmark
from controller.policy.benching.worth import DAY_S, EARLY_S, HIDDEN, LATENT, Pick, Record, Symptom, finds, picks

NOW = 400 * DAY_S
OLD = Record(8, 0.0, passed=dict.fromkeys(Benchmark, NOW - 10 * DAY_S))
GPU = (Benchmark.GPU_BANDWIDTH, Benchmark.NCCL_ALL_REDUCE, Benchmark.GEMM)


def best(record: Record, *, least: float = 0.0, loss: float = 3_000.0) -> list[Pick]:
    return list(picks(record, GPU, NOW, limit_s=30.0, loss=loss, least=least))


def test_a_node_that_passed_all_ten_days_ago() -> None:
    """Of 1,000 nodes 0.15 a day get a bad NVLink and 0.17 a bad PCIe link, of which gpu_bandwidth finds 0.6 and 0.9."""
    first, *others = best(OLD)
    assert (first.benchmark, first.gpu_minutes) == (Benchmark.GPU_BANDWIDTH, 4.0)
    assert first.value == pytest.approx(10 * (0.15e-3 * 0.6 + 0.17e-3 * 0.9) * 3_000.0 / 4.0, rel=0.01)
    assert [each.value for each in others] == sorted((each.value for each in others), reverse=True)


def test_what_just_passed_is_worth_nothing() -> None:
    """What it missed it misses again: were its misses chance, a node would be measured for ever."""
    assert best(replace(OLD, passed=dict.fromkeys(Benchmark, NOW))) == []
    never = Record(8, 0.0, passed={Benchmark.GPU_BANDWIDTH: NOW})
    assert Benchmark.GPU_BANDWIDTH not in {each.benchmark for each in best(never)}


def test_a_node_that_never_passed_is_worth_most() -> None:
    """One new node in ten brings a fault along that no counter shows."""
    new = Record(8, NOW)
    every = sum(each.finds for each in picks(new, list(Benchmark), NOW, limit_s=30.0, loss=1.0, least=0.0))
    assert 0.07 < every < LATENT
    assert best(new)[0].value > 20.0


def test_early_days_count_four_times() -> None:
    passed = dict.fromkeys(Benchmark, NOW - 10 * DAY_S)
    young, half, old = (Record(8, NOW - days * DAY_S, passed=passed) for days in (11.0, 19.0, 30.0))
    values = [best(each)[0].value for each in (young, half, old)]
    assert values == pytest.approx([4.0 * values[2], 2.5 * values[2], values[2]], rel=0.01)
    assert best(Record(8, NOW - 10 * DAY_S - EARLY_S, passed=passed))[0].value == pytest.approx(values[2])


def test_a_symptom_is_worth_more_until_something_passes_after_it() -> None:
    suspected = replace(OLD, symptoms=(Symptom("fabric", NOW - 60.0),))
    assert best(suspected)[0].benchmark is Benchmark.NCCL_ALL_REDUCE
    assert best(suspected)[0].value > 50.0
    looked_at = replace(suspected, passed={**OLD.passed, Benchmark.NCCL_ALL_REDUCE: NOW})
    assert {each.benchmark: each.value for each in best(looked_at)}[Benchmark.GPU_BANDWIDTH] < 12.0
    assert best(replace(OLD, symptoms=(Symptom("site", NOW - 60.0),))) == best(OLD)


def test_each_further_benchmark_is_valued_as_if_those_before_had_passed() -> None:
    alone = {each: finds(each, OLD, NOW) for each in GPU}
    found = {each.benchmark: each.finds for each in best(OLD)}
    assert found[Benchmark.GPU_BANDWIDTH] == alone[Benchmark.GPU_BANDWIDTH]
    assert found[Benchmark.NCCL_ALL_REDUCE] == pytest.approx(alone[Benchmark.NCCL_ALL_REDUCE] * (1.0 - 0.6), rel=1e-3)
    assert found[Benchmark.GEMM] == pytest.approx(alone[Benchmark.GEMM], rel=1e-3)


def test_a_node_without_gpus_costs_and_is_worth_nothing() -> None:
    assert best(replace(OLD, gpus=0)) == []


records = st.builds(
    Record,
    gpus=st.integers(1, 16),
    known_since=st.floats(0.0, NOW),
    ratio=st.floats(0.0, 1_000.0),
    passed=st.dictionaries(st.sampled_from(list(Benchmark)), st.floats(-NOW, 2 * NOW)),
    symptoms=st.lists(
        st.builds(Symptom, st.sampled_from(["gpu", "fabric", "peer", "else"]), st.floats(0.0, NOW)), max_size=3
    ).map(tuple),
)


@given(record=records)
def test_probabilities_stay_probabilities(record: Record) -> None:
    """Also for passes before the node was known, and for clocks that went back."""
    found = list(picks(record, list(Benchmark), NOW, limit_s=30.0, loss=1.0, least=0.0))
    assert all(0.0 < each.finds <= 1.0 and math.isfinite(each.value) for each in found)
    assert len({each.benchmark for each in found}) == len(found)
    assert [each.value for each in found] == sorted((each.value for each in found), reverse=True)


@given(
    record=records,
    passed=st.sampled_from(list(Benchmark)),
    benchmark=st.sampled_from(list(Benchmark)),
    at=st.floats(0.0, NOW),
)
def test_a_pass_never_makes_a_find_likelier(record: Record, passed: Benchmark, benchmark: Benchmark, at: float) -> None:
    later = max(at, record.passed.get(passed, 0.0))
    after = replace(record, passed={**record.passed, passed: later})
    assert finds(benchmark, after, NOW) <= finds(benchmark, record, NOW) + 1e-12


@given(record=records, times=st.floats(1.0, 10.0), benchmark=st.sampled_from(list(Benchmark)))
def test_a_node_that_fails_more_often_is_worth_more(record: Record, times: float, benchmark: Benchmark) -> None:
    more = replace(record, ratio=record.ratio * times)
    assert finds(benchmark, more, NOW) >= finds(benchmark, record, NOW) - 1e-12


@given(record=records, benchmark=st.sampled_from(list(Benchmark)), later_s=st.floats(0.0, NOW))
def test_waiting_never_makes_a_find_less_likely(record: Record, benchmark: Benchmark, later_s: float) -> None:
    past = replace(record, passed={name: min(at, NOW) for name, at in record.passed.items()})
    assert finds(benchmark, past, NOW + later_s) >= finds(benchmark, past, NOW) - 1e-12


def test_every_benchmark_finds_something_and_every_class_is_found() -> None:
    assert {each for kind in HIDDEN for each in kind.recall} == set(Benchmark)
    assert all(kind.recall and 0.0 < kind.per_day < 0.004 for kind in HIDDEN)
    assert all(0.0 < recall < 1.0 for kind in HIDDEN for recall in kind.recall.values())
