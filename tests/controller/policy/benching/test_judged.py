"""What results mean: limits, peers, two of three, and a fleet that moved as a whole."""

from __future__ import annotations

import pytest

from checks.bench_baseline import Baseline
from checks.bench_outcome import Outcome
from checks.bench_result import BenchFault, BenchMachine, Benchmark, BenchNumber, BenchResult
from controller import events
from controller.api.plan import next_of, why_not_approve
from controller.bench_events import BaselineLearnt, FleetSettled, FleetShifted, GoldenAgreed
from controller.notices.text import notice_for
from controller.policy.playbook import BENCH_SHIFT_CLASS, Verb
from controller.store.snapshot import belief_of, pieces
from tests.support.bench_policy import GPU, H100, BenchRun, memory_read, result_of
from tests.support.policy import playbook

PEERS = [f"n{number}" for number in range(1, 25)]
OTHER = BenchMachine("NVIDIA Unheard-of", "550.90.07", "", "1 GPU", 1)


def fleet(count: int = 12) -> BenchRun:
    return BenchRun().nodes(*PEERS[:count])


def with_baseline(count: int = 12) -> BenchRun:
    """Return a cell in which nine healthy peers gave a baseline of memory_read of about 2,600 GB/s."""
    cell = fleet(count)
    for number, node in enumerate(PEERS[:9]):
        cell.measure(node, result_of(memory_read(2_600.0 + number)))
    assert len(cell.run.belief.bench.baselines) == 1
    return cell


def scratch(value: float, *, place: str = "nfs4 at /scratch") -> BenchResult:
    number, machine = BenchNumber("storage_read", value, "/scratch"), BenchMachine("NVIDIA H100", topology=place)
    return result_of(number, benchmark=Benchmark.STORAGE, machine=machine)


def said(cell: BenchRun, kind: type) -> list[object]:
    return [entry.event for entry in cell.run.log if isinstance(entry.event, kind)]


def test_a_number_above_its_limit_passes() -> None:
    cell = fleet(1)
    judged = cell.measure("n1", result_of(memory_read(2_600.0)))
    assert (judged.outcome, judged.numbers[0].outcome, judged.failing) == ("pass", "pass", [])
    assert judged.numbers[0].inputs == {"value": "2600", "fail": "1900"}
    assert cell.run.belief.bench.runs[judged.run_id].outcome == "pass"


def test_one_number_that_is_too_low_condemns_nobody() -> None:
    cell = fleet(1)
    judged = cell.measure("n1", result_of(memory_read(1_000.0)))
    assert judged.outcome == "fail" and judged.again_at == cell.run.now + 60.0
    assert cell.findings("n1") == {}
    assert cell.run.belief.bench.runs[judged.run_id].ended_at == 0.0


def test_twice_in_a_row_condemns_the_gpu() -> None:
    cell = fleet(1)
    cell.measure("n1", result_of(memory_read(1_000.0)))
    judged = cell.again("n1", result_of(memory_read(1_010.0)))
    assert judged.again_at == 0.0
    assert cell.findings("n1") == {(GPU, "memory_read"): "bench.gpu_bandwidth"}
    raised = said(cell, events.FindingRaised)[0]
    assert isinstance(raised, events.FindingRaised)
    assert (raised.origin, raised.finding.verdict, raised.finding.action) == ("bench", "failed", "reset_gpu")
    assert raised.finding.because == judged.numbers[0].because
    assert raised.finding.evidence["tier"] == "1" and raised.finding.evidence["value"] == "1010"


@pytest.mark.parametrize(("third", "condemned"), [(1_000.0, True), (2_600.0, False)])
def test_two_of_three_decide(third: float, condemned: bool) -> None:
    cell = fleet(1)
    cell.measure("n1", result_of(memory_read(1_000.0)))
    second = cell.again("n1", result_of(memory_read(2_600.0)))
    assert second.outcome == "pass" and second.again_at > 0.0
    last = cell.again("n1", result_of(memory_read(third)))
    assert last.again_at == 0.0
    assert bool(cell.findings("n1")) is condemned
    assert cell.run.belief.bench.runs[last.run_id].ended_at > 0.0


@pytest.mark.parametrize("outcome", [Outcome.ERROR, Outcome.SKIP])
def test_what_broke_is_no_second_try_and_is_not_tried_for_ever(outcome: Outcome) -> None:
    cell = fleet(1)
    cell.measure("n1", result_of(memory_read(1_000.0)))
    last = cell.again("n1", result_of(outcome=outcome))
    assert (last.again_at, cell.findings("n1")) == (0.0, {})
    assert cell.run.belief.bench.runs[last.run_id].ended_at > 0.0


def test_a_wrong_sum_condemns_at_once() -> None:
    cell = fleet(1)
    fault = BenchFault("wrong_result", "GPU 0 summed 1 + 1 to 3.", GPU)
    judged = cell.measure("n1", result_of(memory_read(2_600.0), faults=(fault,), outcome=Outcome.FAIL))
    assert judged.outcome == "fail" and judged.again_at == 0.0
    assert cell.findings("n1") == {(GPU, "wrong_result"): "bench.gpu_bandwidth"}


def test_a_small_message_is_held_against_no_limit() -> None:
    cell = fleet(1)
    slow, small = (
        BenchNumber("node_all_reduce", 300.0, size_bytes=8 << 30),
        BenchNumber("node_all_reduce", 20.0, size_bytes=1 << 20),
    )

    judged = cell.measure("n1", result_of(small, slow, benchmark=Benchmark.NCCL_ALL_REDUCE))

    assert [number.outcome for number in judged.numbers] == ["", "fail"]


def test_what_two_ways_of_an_all_reduce_say_stands_beside_the_number_that_fails() -> None:
    cell = fleet(1)
    slow = BenchNumber("node_all_reduce", 366.0, size_bytes=8 << 30)
    why = BenchFault("nvls_off", "The all-reduce is no faster with multicast.", severity=Outcome.WARN)
    for measure in (cell.measure, cell.again):
        measure("n1", result_of(slow, faults=(why,), benchmark=Benchmark.NCCL_ALL_REDUCE))

    assert cell.findings("n1") == {("node", "node_all_reduce"): "bench.nccl_all_reduce"}
    raised = said(cell, events.FindingRaised)[0]
    assert isinstance(raised, events.FindingRaised)
    assert raised.finding.evidence["nvls_off"] == why.because


def test_i6_a_pass_of_the_same_benchmark_clears_what_it_measured_alone() -> None:
    cell = fleet(1)
    cell.measure("n1", result_of(memory_read(1_000.0)))
    cell.again("n1", result_of(memory_read(1_000.0)))
    cell.measure("n1", result_of(BenchNumber("gemm_bf16", 700.0, GPU), benchmark=Benchmark.GEMM))
    assert cell.findings("n1")
    cell.measure("n1", result_of(memory_read(2_600.0)))
    assert cell.findings("n1") == {}


def test_i6_a_shallower_look_clears_nothing() -> None:
    cell = fleet(1)
    fault = BenchFault("faulty_memory", "Memory of GPU 0 is faulty.", GPU)
    cell.ask("n1", benchmarks=("dcgm",), tier=2)
    cell.come_back("n1", result_of(benchmark=Benchmark.DCGM, faults=(fault,), outcome=Outcome.FAIL))
    assert cell.findings("n1") == {(GPU, "faulty_memory"): "bench.dcgm"}
    cell.measure("n1", result_of(benchmark=Benchmark.DCGM))
    assert cell.findings("n1") == {(GPU, "faulty_memory"): "bench.dcgm"}
    cell.ask("n1", run_id="deep", benchmarks=("dcgm",), tier=2)
    cell.come_back("n1", result_of(benchmark=Benchmark.DCGM))
    assert cell.findings("n1") == {}


@pytest.mark.parametrize(("purpose", "stands"), [("idle", True), ("suspicion", True), ("operator", False)])
def test_i6_no_screening_takes_wrong_results_back(purpose: str, stands: bool) -> None:
    cell = fleet(1)
    fault = BenchFault("wrong_result", "GPU 0 summed 1 + 1 to 3.", GPU)
    cell.measure("n1", result_of(memory_read(2_600.0), faults=(fault,), outcome=Outcome.FAIL))
    cell.measure("n1", result_of(memory_read(2_600.0)), purpose=purpose)
    assert bool(cell.findings("n1")) is stands


@pytest.mark.parametrize("outcome", [Outcome.ERROR, Outcome.SKIP])
def test_a_test_that_broke_or_was_not_run_says_nothing_of_the_hardware(outcome: Outcome) -> None:
    cell = fleet(1)
    cell.measure("n1", result_of(memory_read(1_000.0)))
    cell.again("n1", result_of(memory_read(1_000.0)))
    judged = cell.measure("n1", result_of(outcome=outcome))
    assert judged.outcome == outcome
    assert cell.findings("n1") == {(GPU, "memory_read"): "bench.gpu_bandwidth"}


def test_a_pass_without_a_number_is_an_error() -> None:
    judged = fleet(1).measure("n1", result_of())
    assert (judged.outcome, judged.because) == ("error", "gpu_bandwidth says that it ran, and gave no number.")


def test_without_limit_and_peers_nothing_passes_and_nothing_fails() -> None:
    judged = fleet(1).measure("n1", result_of(memory_read(1.0), machine=OTHER))
    assert (judged.outcome, judged.numbers[0].outcome) == ("warn", "")


def test_what_nothing_judges_is_one_sentence_for_all_devices() -> None:
    numbers = [memory_read(2_600.0 + number, device=f"GPU-{number}") for number in range(8)]
    because = fleet(1).measure("n1", result_of(*numbers, machine=OTHER)).because
    assert because == "memory_read: 8 numbers from 2600 to 2607, without a limit or enough peers to judge them by."


def test_a_metric_that_nobody_knows_is_kept_and_not_judged() -> None:
    judged = fleet(1).measure("n1", result_of(memory_read(2_600.0), BenchNumber("moon_phase", 3.0)))
    assert [each.outcome for each in judged.numbers] == ["pass", ""]
    assert judged.outcome == "pass"


def test_a_baseline_stands_after_the_eighth_healthy_peer_and_never_moves() -> None:
    cell = fleet()
    for number, node in enumerate(PEERS[:7]):
        cell.measure(node, result_of(memory_read(2_600.0 + number)))
    assert said(cell, BaselineLearnt) == []
    cell.measure("n8", result_of(memory_read(2_607.0)))
    learnt = said(cell, BaselineLearnt)
    assert len(learnt) == 1
    before = dict(cell.run.belief.bench.baselines)
    for node in PEERS[:12]:
        cell.measure(node, result_of(memory_read(2_700.0)))
    assert cell.run.belief.bench.baselines == before


def test_a_file_system_needs_no_driver_to_have_peers_of_its_kind_and_place() -> None:
    cell = fleet(9)
    for number, node in enumerate(PEERS[:8]):
        cell.measure(node, scratch(12.5 + number / 100))
    assert len(said(cell, BaselineLearnt)) == 1
    assert cell.measure("n9", scratch(2.5, place="ext4 at /")).outcome == "warn", "it is another file system"
    assert cell.measure("n9", scratch(2.5)).outcome == "fail"


def test_no_baseline_is_learnt_from_nodes_that_something_speaks_against() -> None:
    cell = fleet()
    cell.run.say(events.ScheduleObserved("n1", False, "", "someone else's", [], cell.run.now))
    for number, node in enumerate(PEERS[1:8]):
        cell.measure(node, result_of(memory_read(2_600.0 + number)))
    cell.measure("n9", result_of(memory_read(1_000.0)))
    assert said(cell, BaselineLearnt) == []


def test_far_below_its_peers_fails_above_the_limit_too() -> None:
    cell = with_baseline()
    judged = cell.measure("n10", result_of(memory_read(2_300.0)))
    assert judged.outcome == "fail"
    assert "robust deviations" in judged.because


def test_a_fleet_that_moved_is_one_event_and_one_page_and_no_bad_node() -> None:
    """I11: a driver that makes all of them slower condemns none, and takes back whom it was blamed on before."""
    cell = with_baseline(12)
    for node in PEERS[:4]:
        cell.measure(node, result_of(memory_read(2_300.0)))
        if cell.run.belief.bench.runs[list(cell.run.belief.bench.runs)[-1]].left:
            cell.again(node, result_of(memory_read(2_300.0)))
    assert len(said(cell, FleetShifted)) == 1
    for node in PEERS[:12]:
        judged = cell.measure(node, result_of(memory_read(2_300.0)))
        assert judged.outcome == "warn"
        assert cell.findings(node) == {}
    assert len(said(cell, FleetShifted)) == 1
    opened = [e for e in said(cell, events.IncidentOpened) if isinstance(e, events.IncidentOpened)]
    assert [(e.node, e.fault_class) for e in opened] == [("", BENCH_SHIFT_CLASS)]
    (page,) = cell.run.under_way()
    notice = notice_for(cell.run.incident(), page, at=cell.run.now, page_url="http://test")
    assert "memory_read" in notice.body and "no node fails by these numbers" in notice.body
    assert "ends by itself as soon as the fleet is back" in why_not_approve(cell.run.incident())
    cell.run.end(page)
    assert next_of(cell.run.incident(), cell.run.now).startswith("No node fails by these numbers")


def test_a_node_that_was_mended_since_does_not_move_the_fleet() -> None:
    """Two slow ones of nine would be a change of the fleet, and the second one would stay in service."""
    cell = with_baseline(9)
    slow, why = result_of(memory_read(2_300.0)), events.Reason("so")
    for measure in (cell.measure, cell.again):
        measure("n1", slow)
    cell.run.believe(events.IncidentOpened("inc-1", "n1", GPU, "slow", playbook("slow", Verb.REBOOT), [], why))
    cell.run.believe(events.IncidentClosed("inc-1", "returned", why))

    assert cell.measure("n2", slow).outcome == "fail"
    assert said(cell, FleetShifted) == []


def test_a_fleet_that_is_back_ends_the_incident() -> None:
    cell = with_baseline(12)
    for node in PEERS[:6]:
        cell.measure(node, result_of(memory_read(2_300.0)))
    cell.run.end(cell.run.under_way()[0])
    for node in PEERS[:12]:
        cell.measure(node, result_of(memory_read(2_600.0)))
    assert len(said(cell, FleetSettled)) == 1
    assert cell.run.incident().outcome == "recovered"


def test_a_baseline_that_a_person_has_learnt_anew_ends_it_too() -> None:
    cell = with_baseline(12)
    for node in PEERS:
        if node in cell.run.belief.nodes:
            cell.measure(node, result_of(memory_read(2_300.0)))
    (page,) = cell.run.under_way()
    (fingerprint,) = cell.run.belief.bench.shifts
    cell.run.say(BaselineLearnt(Baseline(fingerprint, 2_300.0, 1.0, 12), "kim", "the new driver"))
    assert cell.run.incident().outcome == ""
    cell.run.end(page)
    assert cell.run.incident().outcome == "recovered"
    assert cell.measure("n1", result_of(memory_read(2_300.0))).outcome == "pass"


def test_a_fleet_that_became_faster_excuses_no_slow_node() -> None:
    cell = with_baseline(12)
    for node in PEERS[:6]:
        cell.measure(node, result_of(memory_read(2_900.0)))
    assert said(cell, FleetShifted)
    assert cell.measure("n12", result_of(memory_read(2_300.0))).outcome == "fail"


def test_peers_agree_on_what_a_product_gives() -> None:
    cell = fleet()
    number = BenchNumber("gemm_bf16", 700.0, GPU)
    for node in PEERS[:7]:
        cell.measure(node, result_of(number, benchmark=Benchmark.GEMM, digest="12.4.5:abc"))
    cell.measure("n8", result_of(number, benchmark=Benchmark.GEMM, digest="12.4.5:bad"))
    assert said(cell, GoldenAgreed) == []
    cell.measure("n9", result_of(number, benchmark=Benchmark.GEMM, digest="12.4.5:abc"))
    agreed = said(cell, GoldenAgreed)
    assert len(agreed) == 1
    assert cell.run.belief.bench.golden == {f"{H100.sku} {H100.driver} 12.4.5": "12.4.5:abc"}


def test_i7_a_snapshot_holds_all_that_is_believed_of_benchmarks() -> None:
    cell = with_baseline(24)
    for node in PEERS[:5]:
        cell.measure(node, result_of(memory_read(2_300.0)))
    cell.measure("n12", result_of(memory_read(1_000.0)))
    cell.ask(*PEERS[12:], run_id="open", benchmarks=("gemm", "gpu_bandwidth"))
    cell.ask("n20", "n21", run_id="late", together=True)
    cell.come_back("n13", result_of(BenchNumber("gemm_bf16", 700.0, GPU), benchmark=Benchmark.GEMM, digest="12:abc"))
    cell.run.wait(100.0)
    book = cell.run.belief.bench
    assert all((book.runs, book.late, book.newest, book.passed, book.history, book.samples, book.peers))
    assert all((book.baselines, book.shifts, book.votes, book.open_runs, book.leases))
    assert belief_of(pieces(cell.run.belief)) == cell.run.belief
