"""What benchmarks' numbers mean, and which limits are refused before they judge anything."""

from __future__ import annotations

import json
import math
from importlib.resources import files

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks import data
from checks.bench_baseline import Baseline, Fingerprint, FleetShift, fleet_shift, learnt
from checks.bench_judging import BenchJudgement, judge_group, judge_result
from checks.bench_limits import (
    BenchBound,
    BenchFloor,
    LimitsRefused,
    load_limits,
    shipped_limits,
    too_low,
    with_site,
)
from checks.bench_outcome import Outcome, worst

LIMITS = shipped_limits()
REDUCE = LIMITS.metric("node_all_reduce")
LATENCY = LIMITS.metric("rdma_write_latency")
H200 = LIMITS.floor("node_all_reduce", "H200")
PRINT = Fingerprint("node_all_reduce", "H200", "580.82", "2.28", "t1", 16 << 30)
PEERS = Baseline(PRINT, 480.0, 2.0, 20)
SHIFT = FleetShift(20, 0.5, -0.1)


# --- outcomes --------------------------------------------------------------------------------------------------------


def test_only_a_failure_feeds_remediation() -> None:
    assert [outcome for outcome in Outcome if outcome.feeds_remediation] == [Outcome.FAIL]
    assert {outcome for outcome in Outcome if not outcome.is_measured} == {Outcome.ERROR, Outcome.SKIP}


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([], Outcome.ERROR),
        ([Outcome.SKIP, Outcome.SKIP], Outcome.SKIP),
        ([Outcome.SKIP, Outcome.PASS], Outcome.PASS),
        ([Outcome.PASS, Outcome.WARN], Outcome.WARN),
        ([Outcome.WARN, Outcome.ERROR, Outcome.PASS], Outcome.ERROR),
        ([Outcome.ERROR, Outcome.FAIL], Outcome.FAIL),
    ],
)
def test_the_one_outcome_of_several_tests(outcomes: list[Outcome], expected: Outcome) -> None:
    """No test that could be parsed is an error, never a pass."""
    assert worst(outcomes) is expected


# --- a number --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "baseline", "expected"),
    [
        (482.0, None, Outcome.PASS),
        (460.0, None, Outcome.PASS),
        (459.9, None, Outcome.WARN),
        (430.0, None, Outcome.WARN),
        (429.9, None, Outcome.FAIL),
        (480.0, PEERS, Outcome.PASS),
        (463.3, PEERS, Outcome.WARN),
        (446.5, PEERS, Outcome.WARN),
        (446.3, PEERS, Outcome.FAIL),
        (520.0, PEERS, Outcome.PASS),
    ],
)
def test_floor_and_peers_judge_together(value: float, baseline: Baseline | None, expected: Outcome) -> None:
    assert judge_result(REDUCE, value, floor=H200, baseline=baseline).outcome is expected


def test_a_number_far_below_peers_that_vary_as_much_is_a_warning() -> None:
    """Seven percent below alone fails nobody: it must also stand out of the spread."""
    wide = Baseline(PRINT, 480.0, 30.0, 20)
    assert judge_result(REDUCE, 440.0, baseline=wide).outcome is Outcome.WARN
    assert judge_result(REDUCE, 440.0, baseline=PEERS).outcome is Outcome.FAIL


def test_without_limit_and_peers_nothing_passes() -> None:
    judged = judge_result(REDUCE, 900.0)
    assert judged.outcome is Outcome.WARN
    assert judged.because.endswith("without a limit or enough peers to judge it by.")


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -1.0, 0.0])
def test_no_number_is_an_error(value: float | None) -> None:
    assert judge_result(REDUCE, value, floor=H200, baseline=PEERS).outcome is Outcome.ERROR


def test_where_more_is_worse_the_limit_is_above() -> None:
    floor = BenchFloor("rdma_write_latency", "H200", "test", fail=9.0, warn=5.0)
    said = [judge_result(LATENCY, value, floor=floor).outcome for value in (4.0, 5.0, 5.1, 9.0, 9.1)]
    assert said == [Outcome.PASS, Outcome.PASS, Outcome.WARN, Outcome.WARN, Outcome.FAIL]
    peers = Baseline(PRINT, 4.0, 0.02, 8)
    assert judge_result(LATENCY, 4.5, baseline=peers).outcome is Outcome.FAIL
    assert judge_result(LATENCY, 3.0, baseline=peers).outcome is Outcome.PASS


def test_while_the_fleet_has_shifted_nothing_fails() -> None:
    judged = judge_result(REDUCE, 400.0, floor=H200, baseline=PEERS, shift=SHIFT)
    assert judged.outcome is Outcome.WARN
    assert "50% of 20 peers are slower at once" in judged.because
    assert judge_group({"all": 0.5}, shift=SHIFT) == (Outcome.WARN, {"all": Outcome.WARN})


def test_a_judgement_says_why_and_by_what() -> None:
    assert judge_result(REDUCE, 400.0, floor=H200, baseline=PEERS) == BenchJudgement(
        Outcome.FAIL,
        "The all-reduce over all GPUs of the node (bus bandwidth, 8 GiB or more) is 400 "
        "GB/s, the limit is 430 GB/s (azurehpc-health-checks 0e0a1ac (conf) 431 and oci-hpc b5285a68 440, with healthy "
        "machines at 482 (ml-engineering 744d01e)).",
        {"value": "400", "fail": "430", "warn": "460", "median": "480", "deviation": "2", "peers": "20"},
    )


@pytest.mark.parametrize(
    ("share", "expected"),
    [(1.1, "pass"), (0.93, "pass"), (0.92, "warn"), (0.85, "warn"), (0.84, "fail"), (0.0, "error"), (None, "error")],
)
def test_lanes_of_a_group_are_judged_beside_the_reference(share: float | None, expected: str) -> None:
    assert judge_group({"all": 1.0, "3": share}) == (Outcome(expected), {"all": "pass", "3": expected})


def test_a_group_without_a_lane_is_an_error() -> None:
    assert judge_group({}) == (Outcome.ERROR, {})


@given(st.one_of(st.none(), st.floats()), st.booleans(), st.booleans())
def test_any_number_has_one_outcome_and_a_sentence(value: float | None, floored: bool, peered: bool) -> None:
    judged = judge_result(REDUCE, value, floor=H200 if floored else None, baseline=PEERS if peered else None)
    assert judged.outcome in set(Outcome) - {Outcome.SKIP}
    assert judged.because.endswith(".")


# --- baselines -------------------------------------------------------------------------------------------------------


def nodes(*values: float) -> dict[str, float]:
    return {f"n{number}": value for number, value in enumerate(values)}


def test_a_baseline_is_learnt_of_each_peers_median() -> None:
    samples = {node: [value, value, 10.0] for node, value in nodes(*range(100, 108)).items()}
    assert learnt(PRINT, samples) == Baseline(PRINT, 103.5, 2.0, 8)


@pytest.mark.parametrize("lost", [[], [math.nan], [-1.0, 0.0]])
def test_fewer_than_eight_peers_make_none(lost: list[float]) -> None:
    samples = {node: [value] for node, value in nodes(*range(100, 107)).items()}
    assert learnt(PRINT, samples | {"n7": lost}) is None


def test_peers_that_are_all_the_same_leave_room_for_noise() -> None:
    same = learnt(PRINT, {node: [480.0] for node in nodes(*range(8))})
    assert same is not None
    assert same.deviation == 0.0
    assert same.deviations_of(479.0) == pytest.approx(-0.281, abs=0.001)
    assert judge_result(REDUCE, 479.0, baseline=same).outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([480.0] * 8 + [400.0] * 2, None),
        ([480.0] * 7 + [432.0] * 3, FleetShift(10, 0.3, -0.1)),
        ([480.0] * 5 + [528.0] * 3, FleetShift(8, 0.375, 0.1)),
        ([480.0] * 8 + [432.0, 528.0, math.nan], None),
        ([400.0] * 7, None),
    ],
)
def test_when_many_peers_move_the_same_way_the_fleet_has_shifted(
    values: list[float], expected: FleetShift | None
) -> None:
    found = fleet_shift(PEERS, nodes(*values))
    if expected is None:
        assert found is None
    else:
        assert found is not None
        assert (found.peers, found.share, found.by) == pytest.approx((expected.peers, expected.share, expected.by))


# --- limits ----------------------------------------------------------------------------------------------------------


def test_the_shipped_limits_are_within_physics_and_none_is_too_low() -> None:
    assert too_low(LIMITS) == []
    named = [(row.sku, row.source) for row in LIMITS.bounds] + [(row.sku, row.source) for row in LIMITS.floors]
    assert [sku for sku, source in named if not source] == []
    assert {sku for sku, _ in named} == {sku.name for sku in LIMITS.skus}


@pytest.mark.parametrize(("size_bytes", "has"), [(None, True), (8 << 30, True), (16 << 30, True), (1 << 30, False)])
def test_a_floor_holds_from_its_metrics_size_on(size_bytes: int | None, has: bool) -> None:
    assert (LIMITS.floor("node_all_reduce", "H100", size_bytes) is not None) is has


def test_a_metric_without_a_size_has_its_floor_always() -> None:
    assert LIMITS.floor("peer_copy", "H100", 1 << 20) == LIMITS.floor("peer_copy", "H100")


@pytest.mark.parametrize(
    ("model", "sku"),
    [("NVIDIA H100 80GB HBM3", "H100"), ("NVIDIA H100 PCIe", ""), ("NVIDIA H200 NVL", ""), ("NVIDIA B200", "B200")],
)
def test_a_model_with_other_links_is_another_kind(model: str, sku: str) -> None:
    assert LIMITS.sku_of(model) == sku


@pytest.mark.parametrize(
    ("floor", "problem"),
    [
        (
            BenchFloor("node_all_reduce", "H200", "site", fail=800.0),
            "floor of node_all_reduce on H200: 800 GB/s is above what is possible, 787.5 (NVLink 4 carries 450 GB/s",
        ),
        (
            BenchFloor("node_all_reduce", "B200", "site", fail=900.0),
            "floor of node_all_reduce on B200: 900 GB/s is above the best that is known, 846 (NVLink 5 carries",
        ),
        (
            BenchFloor("memory_read", "H200", "site", warn=6000.0),
            "floor of memory_read on H200: 6000 GB/s is above what is possible, 4800 (data sheet: 4.8 TB/s)",
        ),
        (
            BenchFloor("peer_copy", "B200", "site", fail=700.0),
            "floor of peer_copy on B200: nothing is known of what is possible there; add a bound",
        ),
        (
            BenchFloor("node_all_reduce", "H200", "site", fail=470.0, warn=440.0),
            "floor of node_all_reduce on H200: it fails at 470 before it warns at 440",
        ),
        (
            BenchFloor("rdma_write_latency", "H200", "site", fail=4.0, warn=5.0),
            "floor of rdma_write_latency on H200: it fails at 4 before it warns at 5",
        ),
        (
            BenchFloor("rdma_write_latency", "H200", "site", warn=1e-9),
            "floor of rdma_write_latency on H200: 1e-09 µs is below what is possible, 0.5 (two ConnectX-6",
        ),
        (
            BenchFloor("rdma_write_latency", "L40S", "site", fail=9.0),
            "floor of rdma_write_latency on L40S: nothing is known of what is possible there; add a bound",
        ),
        (
            BenchFloor("node_all_reduce", "H200", "site", fail=-1.0),
            "floor of node_all_reduce on H200: a limit is a number above 0",
        ),
        (BenchFloor("speed", "H200", "site", fail=1.0), "floor of speed on H200: there is no such metric"),
    ],
)
def test_a_limit_that_cannot_be_is_refused_when_it_is_loaded(floor: BenchFloor, problem: str) -> None:
    """Among them two that operators use: 800 GB/s on H200 and 900 GB/s on B200."""
    with pytest.raises(LimitsRefused) as refused:
        with_site(LIMITS, [floor])
    assert [text[: len(problem)] for text in refused.value.problems] == [problem]


def test_a_sites_own_floor_replaces_the_shipped_one_and_a_low_one_is_told() -> None:
    own = BenchFloor("node_all_reduce", "B200", "site", fail=440.0)
    limits = with_site(LIMITS, [own])
    assert limits.floor("node_all_reduce", "B200") == own
    assert limits.floor("node_all_reduce", "H200") == H200
    assert too_low(limits) == [
        "node_all_reduce on B200: a floor of 440 is less than 60% as good as 846, which healthy machines reach"
    ]


def test_a_floor_of_latency_is_low_when_it_lets_much_pass() -> None:
    bound = BenchBound("rdma_write_latency", "L40S", 0.5, "site", best=1.0)
    floors = [BenchFloor("rdma_write_latency", "L40S", "site", fail=2.0, warn=1.5)]
    assert too_low(with_site(LIMITS, floors, [bound])) == [
        "rdma_write_latency on L40S: a floor of 2 is less than 60% as good as 1, which healthy machines reach"
    ]
    with pytest.raises(LimitsRefused, match=r"0\.9 µs is below the best that is known, 1"):
        with_site(LIMITS, [BenchFloor("rdma_write_latency", "L40S", "site", warn=0.9)], [bound])


def test_a_site_bounds_what_is_not_bounded_and_nothing_else() -> None:
    bound = BenchBound("peer_copy", "B200", 900.0, "NVLink 5 carries 900 GB/s each way")
    floor = BenchFloor("peer_copy", "B200", "site", fail=700.0)
    assert with_site(LIMITS, [floor], [bound]).floor("peer_copy", "B200") == floor
    with pytest.raises(LimitsRefused, match="bound of peer_copy on H200: it is known and cannot be changed"):
        with_site(LIMITS, [], [BenchBound("peer_copy", "H200", 9_000.0, "site")])


def test_all_that_is_wrong_with_a_file_is_told_at_once() -> None:
    rows = json.loads(files(data).joinpath("bench_limits.json").read_bytes())
    rows["floors"] += [rows["floors"][0], {"metric": "memory_read", "sku": "H100", "source": "x", "fail": 9e9}]
    with pytest.raises(LimitsRefused) as refused:
        load_limits(json.dumps(rows).encode())
    assert len(refused.value.problems) == 3
    assert "floor of node_all_reduce on A100: it stands here twice" in refused.value.problems


@given(st.one_of(st.binary(max_size=60), st.just(b"{}"), st.just(b'{"metrics": [], "skus": [], "bounds": 1}')))
def test_any_other_file_is_refused(text: bytes) -> None:
    with pytest.raises(LimitsRefused):
        load_limits(text)


def test_a_baseline_can_be_stored() -> None:
    assert msgspec.json.decode(msgspec.json.encode(PEERS), type=Baseline) == PEERS
