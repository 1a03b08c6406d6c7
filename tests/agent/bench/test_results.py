"""What happens beside a run makes its result worse, and never better."""

from __future__ import annotations

import pytest

from agent.bench.counters import MOST_FAULTS, Counted, grown
from agent.bench.course import stuck_fault, with_faults
from checks.bench_bounds import MOST_FAULTS as MOST_SAID
from checks.bench_outcome import Outcome
from checks.bench_result import BenchFault, Benchmark, BenchResult
from checks.readings import GpuReading, NvlinkCounters, NvlinkReading

FAIL, WARN, ERROR, PASS, SKIP = Outcome.FAIL, Outcome.WARN, Outcome.ERROR, Outcome.PASS, Outcome.SKIP


@pytest.mark.parametrize(
    ("measured", "severities", "expected", "because"),
    [
        (PASS, (), PASS, "measured"),
        (PASS, (WARN,), WARN, "WARN"),
        (PASS, (WARN, FAIL), FAIL, "FAIL"),
        (PASS, (ERROR, WARN), ERROR, "ERROR"),
        (ERROR, (WARN,), ERROR, "measured"),
        (ERROR, (FAIL,), FAIL, "FAIL"),
        (FAIL, (ERROR,), FAIL, "measured"),
        (SKIP, (ERROR,), ERROR, "ERROR"),
    ],
)
def test_the_worst_counts(measured: Outcome, severities: tuple[Outcome, ...], expected: Outcome, because: str) -> None:
    before = BenchFault("wrong_result", "a sum was wrong")
    result = BenchResult(Benchmark.GEMM, measured, "measured", faults=(before,))
    faults = tuple(BenchFault("counter", severity.name, severity=severity) for severity in severities)
    after = with_faults(result, faults)
    assert (after.outcome, after.because, after.faults) == (expected, because, (before, *faults))


def test_of_hundreds_of_links_the_worst_are_told() -> None:
    def gpu(index: int, count: int) -> GpuReading:
        counters = NvlinkCounters(replays=(count,) * 18, recoveries=(count if index == 7 else 0,) * 18)
        return GpuReading(index, f"GPU-{index}", "0000:3b:00", nvlink=NvlinkReading(counters=counters))

    before, after = (Counted(tuple(gpu(index, count) for index in range(8))) for count in (0, 1))
    found = grown(before, after)
    assert len(found) == MOST_FAULTS
    assert [fault.severity for fault in found[:18]] == [FAIL] * 18


@pytest.mark.parametrize(
    ("benchmark", "where", "severity"),
    [
        (Benchmark.GEMM, "is in state D in nvidia_ioctl", FAIL),
        (Benchmark.GEMM, "is in state T", ERROR),
        (Benchmark.STORAGE, "is in state D in ll_file_read", ERROR),
    ],
)
def test_a_process_that_hangs_in_the_kernel_blames_the_node_unless_it_may_wait_for_a_file_server(
    benchmark: Benchmark, where: str, severity: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.bench.course.whereabouts", lambda _: where)
    fault = stuck_fault(7, benchmark)
    assert (fault.code, fault.severity) == ("hung", severity)
    assert fault.because.endswith(where)


def test_of_too_many_faults_those_that_the_agent_saw_are_kept() -> None:
    said = tuple(BenchFault(f"code-{number}", "so") for number in range(MOST_SAID))
    beside = BenchFault("xid", "Xid 79", severity=FAIL)
    after = with_faults(BenchResult(Benchmark.DCGM, FAIL, "measured", faults=said), (beside,))
    assert after.faults == (*said[:-1], beside)
