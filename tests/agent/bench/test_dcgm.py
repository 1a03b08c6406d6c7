"""NVIDIA's diagnosis: what its documents mean, and that nothing of it goes on when it is ended."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.bench.child import Broken, NotHere
from agent.bench.children.dcgm import discover, result_of, run
from agent.bench.dcgm_document import DiagError, DiagResult, parse_diagnosis
from agent.bench.dcgm_faults import Severity, faults_of, outcome_of, severity_of
from checks.bench_outcome import Outcome
from checks.bench_result import Benchmark, BenchResult
from tests.support.bench_child import BenchProcess, Said, has_life, wish_for
from tests.support.eventually import eventually
from tests.support.surroundings import write_program

CAPTURED = Path(__file__).parent / "captured"
A100S = discover((CAPTURED / "dcgmi-discovery-a100.txt").read_text())


def meaning_of(name: str, level: int = 2) -> BenchResult:
    return result_of(parse_diagnosis((CAPTURED / name).read_text()), level, A100S)


def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, diagnosis: str, discovery: str = ":") -> None:
    """Put a dcgmi on the PATH that answers both of its commands by a line of shell."""
    log = tmp_path / "asked"
    write_program(
        tmp_path / "bin",
        "dcgmi",
        f'echo "$*" >> {log}\ncase "$1" in\ndiscovery) {discovery} ;;\ndiag) {diagnosis} ;;\nesac',
    )
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")


# --- documents -------------------------------------------------------------------------------------------------------


def test_a_healthy_gpu_passes_and_what_was_skipped_is_named() -> None:
    result = meaning_of("dcgmi-diag-3-r3-t4.json", level=3)
    assert (result.outcome, result.faults) == (Outcome.PASS, ())
    assert result.because == "15 results of DCGM's tests of level 3 came back, and none is a fault."
    assert result.notes == ("DCGM skipped EUD Test",)


def test_a_setting_is_no_fault_of_the_hardware() -> None:
    result = meaning_of("dcgmi-diag-4-r1-gb10.json", level=1)
    assert result.outcome is Outcome.WARN
    (fault,) = result.faults
    assert (fault.code, fault.severity, fault.device) == ("persistence_mode", Outcome.WARN, A100S["0"][0])
    assert result.machine.driver == "580.82.09"
    assert "DCGM 4.2.3" in result.notes


def test_faulty_memory_fails_the_gpu_that_has_it_and_no_other() -> None:
    gpus = {str(number): (f"GPU-{number}", "NVIDIA H100 80GB HBM3") for number in range(8)}
    document = (CAPTURED / "dcgmi-diag-4-r2-faulty-memory.json").read_text()
    result = result_of(parse_diagnosis(document), 2, gpus)
    assert result.outcome is Outcome.FAIL
    assert [(fault.code, fault.device, fault.severity) for fault in result.faults] == [
        ("faulty_memory", "GPU-3", Outcome.FAIL)
    ]
    assert result.because == (
        "DCGM's test memory ended with fail on GPU 3 of DCGM, not fit for work: Detected faulty memory on GPU 3."
    )
    assert (result.machine.sku, result.machine.gpus) == ("H100", 8)


def test_both_severities_of_the_older_form_are_read() -> None:
    result = meaning_of("dcgmi-diag-3-r2-row-remap.json")
    assert result.outcome is Outcome.FAIL
    assert [(fault.code, fault.device) for fault in result.faults] == [
        ("pending_row_remap", ""),
        ("low_bandwidth", A100S["1"][0]),
    ]
    assert "to be drained and reset" in result.faults[0].because
    assert "to be tested more deeply" in result.faults[1].because


def test_a_diagnosis_that_did_not_run_is_an_error_in_the_words_of_dcgm() -> None:
    with pytest.raises(Broken, match="homogeneous group"):
        meaning_of("dcgmi-diag-3-not-run.json")


@pytest.mark.parametrize(
    "printed",
    [
        "",
        "Error: unable to establish a connection to the specified host: localhost",
        "{}",
        '{"DCGM Diagnostic": {}}',
        '{"DCGM Diagnostic": {"test_categories": []}}',
        '{"DCGM Diagnostic": {"test_categories": [{"category": "Hardware", "tests": []}]}}',
        '{"DCGM Diagnostic": {"test_categories": [{"tests": [{"name": "memory", "results": []}]}]}}',
        '{"DCGM Diagnostic": {"test_categories": [{"tests": [{"name": "memory", "results": [{"status": 1}]}]}]}}',
        '{"Some Diagnostic": {"test_categories": [{"tests": [{"name": "m", "results": [{"status": "Pass"}]}]}]}}',
    ],
)
def test_a_document_without_one_test_never_passes(printed: str) -> None:
    with pytest.raises(Broken):
        parse_diagnosis(printed)


def test_words_before_the_document_do_not_hide_it() -> None:
    printed = "Successfully ran diagnostic for group.\n" + (CAPTURED / "dcgmi-diag-3-r3-t4.json").read_text()
    assert len(parse_diagnosis(printed).results) == 16


def test_a_summary_stands_in_where_no_result_does() -> None:
    test = {"name": "nvbandwidth", "results": [], "test_summary": {"status": "Fail", "warnings": [{"error_id": 30}]}}
    document = {"DCGM Diagnostic": {"test_categories": [{"category": "Hardware", "tests": [test]}]}}
    (result,) = parse_diagnosis(json.dumps(document)).results
    assert outcome_of(result) is Outcome.FAIL


def test_a_summary_that_failed_is_not_hidden_by_results_that_passed() -> None:
    test = {"name": "pcie", "results": [{"status": "Pass"}], "test_summary": {"status": "Fail", "warnings": "slow"}}
    document = {"DCGM Diagnostic": {"test_categories": [{"tests": [test]}]}}
    result = result_of(parse_diagnosis(json.dumps(document)), 2, {})
    assert result.outcome is Outcome.WARN


# --- severities ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (DiagError("", 10, 1, 9), Outcome.WARN),  # MONITOR
        (DiagError("", 4, 2, 10), Outcome.FAIL),  # ISOLATE
        (DiagError("", 85, 6, 10), Outcome.FAIL),  # RESET, whose number is 6 and not 3
        (DiagError("", 101, 4, 5), Outcome.FAIL),  # TRIAGE: an Xid
        (DiagError("", 55, 5, 10), Outcome.WARN),  # CONFIG: ECC is off
        (DiagError("", 4, 3, 10), Outcome.FAIL),  # 3 is "unknown": DCGM's own table answers
        (DiagError("", 999, 3, 10), Outcome.WARN),
        (DiagError("", 999, 2, 10), Outcome.FAIL),
        (DiagError("", 22, 4, 4), Outcome.ERROR),  # a library cannot be opened
        (DiagError("", 91), Outcome.ERROR),  # the field diagnostic did not start
        (DiagError("", 95), Outcome.FAIL),  # the field diagnostic failed
        (DiagError("", 80), Outcome.FAIL),  # a row remapping that failed
        (DiagError("it says nothing but this"), Outcome.WARN),
    ],
)
def test_what_each_severity_means(error: DiagError, expected: Outcome) -> None:
    assert outcome_of(DiagResult("memory", "Hardware", "fail", ("0",), (error,))) is expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("pass", Outcome.PASS),
        ("skip", Outcome.SKIP),
        ("not run", Outcome.SKIP),
        ("warn", Outcome.WARN),
        ("fail", Outcome.WARN),
        ("inconclusive", Outcome.ERROR),
        ("", Outcome.ERROR),
    ],
)
def test_a_status_that_nobody_knows_is_no_pass(status: str, expected: Outcome) -> None:
    assert outcome_of(DiagResult("memory", "Hardware", status)) is expected


def test_a_test_that_only_warns_condemns_nothing() -> None:
    (fault,) = faults_of(DiagResult("memory", "Hardware", "warn", ("1",), (DiagError("", 52, 2, 10),)), {"1": "GPU-1"})
    assert (fault.code, fault.device, fault.severity) == ("faulty_memory", "GPU-1", Outcome.WARN)


def test_the_table_agrees_with_the_severities_of_documents() -> None:
    assert severity_of(DiagError("", 29)) is Severity.CONFIG
    assert severity_of(DiagError("", 6)) is Severity.RESET
    assert severity_of(DiagError("", 14)) is Severity.TRIAGE


def test_a_diagnosis_that_skipped_everything_measured_nothing() -> None:
    document = {
        "DCGM Diagnostic": {"test_categories": [{"tests": [{"name": "pcie", "results": [{"status": "Skip"}]}]}]}
    }
    with pytest.raises(NotHere, match="skipped every test of level 2: pcie"):
        result_of(parse_diagnosis(json.dumps(document)), 2, {})


# --- any bytes -------------------------------------------------------------------------------------------------------

KEYS = [
    "category",
    "tests",
    "name",
    "results",
    "status",
    "warnings",
    "warning",
    "error_id",
    "error_severity",
    "error_category",
    "entity_id",
    "entity_group",
    "gpu_ids",
    "test_summary",
    "version",
    "runtime_error",
]
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
VALUES = st.recursive(
    LEAVES | st.sampled_from(["Pass", "Fail", "Skip"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=25,
)


@given(VALUES)
def test_a_document_of_any_values_is_read_or_refused(value: Any) -> None:
    document = json.dumps(
        {
            "DCGM Diagnostic": {
                "test_categories": [{"category": value, "tests": [value, {"name": "t", "results": value}]}]
            }
        }
    )
    try:
        result = result_of(parse_diagnosis(document), 2, {"0": ("GPU-0", "H100")})
    except (Broken, NotHere):
        return
    assert result.outcome is not Outcome.PASS or "Pass" in document


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    assert isinstance(discover(text), dict)
    with pytest.raises(Broken):
        parse_diagnosis(text)


# --- the program -----------------------------------------------------------------------------------------------------


def test_the_program_is_asked_for_the_level_of_the_tier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document, discovery = CAPTURED / "dcgmi-diag-3-r2-row-remap.json", CAPTURED / "dcgmi-discovery-a100.txt"
    install(tmp_path, monkeypatch, f"cat {document}; exit 226", f"cat {discovery}")
    result = run(wish_for(Benchmark.DCGM, tier=2), Said())
    assert (tmp_path / "asked").read_text() == "discovery -l\ndiag -r 2 -j\n"
    assert (result.outcome, result.faults[1].device) == (Outcome.FAIL, A100S["1"][0])
    assert (result.machine.sku, result.machine.gpus) == ("A100", 2)


def test_a_level_that_takes_longer_than_the_tier_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, "exit 1")
    with pytest.raises(Broken, match="option level: 3 takes longer than tier 2"):
        run(wish_for(Benchmark.DCGM, {"level": "3"}, tier=2), Said())
    assert not (tmp_path / "asked").exists()


def test_a_host_without_dcgm_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotHere, match="dcgmi is not installed"):
        run(wish_for(Benchmark.DCGM), Said())


def test_a_host_engine_that_is_not_there_is_an_error_in_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "Error: unable to establish a connection to the specified host: localhost"
    install(tmp_path, monkeypatch, f"echo {words!r}; exit 1", "exit 1")
    with pytest.raises(Broken, match=words):
        run(wish_for(Benchmark.DCGM), Said())


async def test_a_diagnosis_that_hangs_is_ended_with_what_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tests run in the host engine, in a session of their own; their process outlives dcgmi when dcgmi hangs."""
    write_program(tmp_path / "bin", "nvvs", "while :; do sleep 1; done")
    pid = tmp_path / "pid"
    install(tmp_path, monkeypatch, f"setsid nvvs & echo $! > {pid}; trap '' TERM; while :; do sleep 1; done")
    with pytest.raises(Broken, match="did not end within"):
        run(wish_for(Benchmark.DCGM, limit_s=2.0), Said())
    await eventually("the tester is gone", lambda: not has_life(int(pid.read_text())))


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
async def test_whatever_ends_the_group_dcgmi_stops_its_tests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: signal.Signals
) -> None:
    """A job's arrival ends it by TERM, the agent's own death by KILL. dcgmi takes a moment to tell the host engine."""
    stopped, ready = tmp_path / "stopped", tmp_path / "ready"
    stop = f"sleep 0.3; touch {stopped}; exit 1"
    install(tmp_path, monkeypatch, f"trap '{stop}' TERM; touch {ready}; while :; do sleep 0.1; done")
    with BenchProcess(wish_for(Benchmark.DCGM, limit_s=600.0)) as process:
        await eventually("the diagnosis runs", ready.exists)
        assert process.end_group(ending) == (128 + ending if ending is signal.SIGTERM else -ending)
        assert stopped.exists() or ending is signal.SIGKILL
        await eventually("the tests are stopped", stopped.exists)
