"""The back end of nccl-tests: a program on the path that writes the report which the real one would."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.bench.child import Broken, NotHere
from agent.bench.children.nccl_all_reduce import run as run_benchmark
from agent.bench.nccl_tests import NcclTests, find_nccl_tests, forget_old_reports, parse_report
from agent.bench.nccl_ways import AUTO, RING
from agent.bench.watch import watch_of
from checks.bench_outcome import Outcome
from checks.bench_result import Benchmark, BenchResult
from tests.support.bench_child import Said, wish_for

GIB = 1 << 30


def report(*rows: dict[str, Any], **rest: object) -> bytes:
    """Return what all_reduce_perf writes with -J. Source: nccl-tests 2.19.6, src/util.cu."""
    devices = [{"rank": 0, "group": 0, "pid": 7, "hostname": "n", "device": 0, "device_info": "NVIDIA H100 80GB HBM3"}]
    whole = {
        "version": 2,
        "start_time": "2026-09-15 00:00:00",
        "args": ["all_reduce_perf"],
        "env": ["SECRET=of the host"],
        "nccl_version": 22803,
        "config": {"nthreads": 1, "ngpus": 8, "validation": 1, "parallel_init": "false", "devices": devices},
        "results": list(rows),
        "out_of_bounds": {"count": 0, "okay": "true"},
        "average_bus_bandwidth": {"bandwidth": 470.0, "okay": "unchecked"},
        "errors": [],
        "end_time": "2026-09-15 00:01:00",
    }
    return json.dumps({**whole, **rest}).encode()


def row(
    size: int = 8 * GIB, bus: float | str = 478.2, wrong: float | None = 0.0, *, each: bool = True
) -> dict[str, Any]:
    half = {"time": 31_450.0, "alg_bw": 273.1, "bus_bw": bus, "nwrong": wrong}
    line = {"size": size, "count": size // 4, "type": "int32", "redop": "sum", "root": "    -1", "out_of_place": half}
    times = {"p50_us": 31_400.0, "p99_us": 33_000.0, "cv_pct": 1.5, "times_us": [31_400.0]}
    more = {"out_of_place_per_iter": times} if each else {}
    return {**line, "in_place": half, **more, "actual_iterations": 20, "experiment_name": "AllReduce"}


def test_a_report_is_read() -> None:
    result = parse_report(report(row(GIB, 430.0), row()), RING)

    assert (result.outcome, result.faults) == (Outcome.PASS, ())
    assert [n.size_bytes for n in result.numbers] == [GIB, 8 * GIB]
    number = result.numbers[1]
    assert (number.metric, number.way, number.value) == ("node_all_reduce_ring", "ring", 478.2)
    assert (number.p50_s, number.p99_s) == pytest.approx((0.0314, 0.033))
    assert number.variation == pytest.approx(0.015)
    assert number.samples == 20
    assert (result.machine.sku, result.machine.nccl, result.machine.gpus) == ("H100", "2.28.3", 8)


def test_a_report_of_a_version_without_single_times_has_the_mean() -> None:
    (number,) = parse_report(report(row(each=False)), AUTO).numbers

    assert number.p50_s == pytest.approx(0.03145)
    assert (number.p99_s, number.variation) == (0.0, 0.0)


def test_wrong_sums_fail() -> None:
    result = parse_report(report(row(wrong=3.0)), AUTO)

    assert (result.outcome, result.faults[0].code) == (Outcome.FAIL, "wrong_result")
    assert result.because == "An all-reduce of 8192 MiB summed 3 words wrongly."


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b"[]",
        report(),
        report(row(bus="nan")),
        report(row(bus=0.0)),
        report({"size": 8}),
        report({**row(), "size": "8"}),
        report(errors=["CUDA error"]),
    ],
)
def test_no_result_is_an_error_and_never_a_pass(text: bytes) -> None:
    with pytest.raises(Broken, match="the report of all_reduce_perf"):
        parse_report(text, AUTO)


def test_what_the_program_says_of_its_error_is_passed_on() -> None:
    with pytest.raises(Broken, match="has no result: unhandled cuda error"):
        parse_report(report(errors=["unhandled cuda error"]), AUTO)


@given(st.binary(max_size=400))
def test_any_bytes_are_an_error(text: bytes) -> None:
    with pytest.raises(Broken):
        parse_report(text, AUTO)


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5) | st.just("nan"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_fields = ("size", "out_of_place", "in_place", "out_of_place_per_iter", "actual_iterations")
_halves = st.fixed_dictionaries({}, optional=dict.fromkeys(("bus_bw", "time", "nwrong", "p50_us", "cv_pct"), _json))


@given(
    st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(_fields, _json | _halves)), max_size=3),
    st.dictionaries(st.sampled_from(("nccl_version", "config", "errors", "results")), _json, max_size=2),
)
def test_any_report_is_a_measurement_or_an_error(rows: list[dict[str, Any]], rest: dict[str, Any]) -> None:
    text = json.dumps({"results": rows, **rest}, allow_nan=False, default=str) if _is_plain((rows, rest)) else "NaN"
    try:
        result = parse_report(text.encode(), AUTO)
    except Broken:
        return
    assert result.numbers
    assert all(number.value is not None and number.value > 0.0 for number in result.numbers)
    assert (result.outcome is Outcome.FAIL) == bool(result.faults)


def _is_plain(value: object) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


class Host:
    """A host on which nccl-tests is installed: a program that writes a report, and notes what it was given."""

    def __init__(self, root: Path) -> None:
        self.root, self.log = root, root / "asked"
        (root / "bin").mkdir(parents=True)
        information = root / "proc/driver/nvidia/gpus/0000:1b:00.0/information"
        information.parent.mkdir(parents=True)
        information.write_text("Model: \t\t NVIDIA H100 80GB HBM3\n")
        (root / "sys/module/nvidia").mkdir(parents=True)
        (root / "sys/module/nvidia/version").write_text("550.127.05\n")

    def answer(self, text: bytes, *, before: str = "") -> None:
        """Let the program write this report."""
        (self.root / "report").write_bytes(text)
        program = self.root / "bin" / "all_reduce_perf"
        program.write_text(
            f'#!/bin/sh\necho "$@" >> {self.log}\nenv >> {self.root}/env\n{before}\n'
            f'for last; do :; done\ncat {self.root}/report > "$last"\n'
        )
        program.chmod(0o755)

    @property
    def environment(self) -> dict[str, str]:
        path = f"{self.root / 'bin'}:{os.environ['PATH']}"
        return {"PATH": path, "SECRET": "of the host", "NCCL_ALGO": "Tree", "NCCL_IB_HCA": "mlx5_0"}

    def measure(self, *, tier: int = 1, limit_s: float = 20.0) -> BenchResult:
        program = find_nccl_tests(self.environment)
        assert program is not None
        wish = wish_for(Benchmark.NCCL_ALL_REDUCE, tier=tier, limit_s=limit_s)
        back_end = NcclTests(program, self.environment, root=self.root, scratch=self.root.parent)
        return back_end.measured(RING, wish, say=Said(), watch=watch_of(limit_s))


@pytest.fixture
def installed(tmp_path: Path) -> Host:
    made = Host(tmp_path / "host")
    made.answer(report(row()))
    return made


def test_the_program_is_asked_for_checked_int32_sums_of_all_gpus(installed: Host) -> None:
    result = installed.measure()

    assert (result.outcome, result.machine.driver) == (Outcome.PASS, "550.127.05")
    asked = installed.log.read_text().split()
    assert asked[:-1] == [
        *(
            "-b",
            "8589934592",
            "-e",
            "8589934592",
            "-f",
            "2",
            "-g",
            "1",
            "-d",
            "int32",
            "-n",
            "20",
            "-w",
            "2",
            "-c",
            "1",
        ),
        *("-I", "1", "-J"),
    ]


def test_the_program_gets_little_of_the_environment(installed: Host) -> None:
    installed.measure()

    given = dict(line.split("=", 1) for line in (installed.root / "env").read_text().splitlines())
    assert given["NCCL_NVLS_ENABLE"] == "0"
    assert given["NCCL_IB_HCA"] == "mlx5_0"
    assert not given.keys() & {"SECRET", "NCCL_ALGO"}


def test_nothing_of_the_report_is_left_behind(installed: Host, tmp_path: Path) -> None:
    (tmp_path / "fleetmend-nccl-tests-999999999-old").mkdir()
    kept = tmp_path / f"fleetmend-nccl-tests-{os.getpid()}-new"
    kept.mkdir()

    installed.measure()

    assert [path.name for path in tmp_path.glob("fleetmend-*")] == [kept.name]
    forget_old_reports(tmp_path)
    assert kept.exists()


def test_an_old_version_is_asked_without_single_times(installed: Host) -> None:
    installed.answer(report(row(each=False)), before='case "$*" in *-I*) exit 1;; esac')

    assert installed.measure().outcome is Outcome.PASS
    assert len(installed.log.read_text().splitlines()) == 2


def test_a_program_that_fails_is_an_error_with_its_words(installed: Host) -> None:
    installed.answer(b"", before="echo no CUDA-capable device >&2; exit 3")

    with pytest.raises(Broken, match="all_reduce_perf ended with code 3 without a report: no CUDA-capable device"):
        installed.measure()


def test_a_program_that_hangs_is_ended(installed: Host) -> None:
    installed.answer(b"", before="exec sleep 60")

    with pytest.raises(Broken, match="all_reduce_perf did not end within"):
        installed.measure(limit_s=1.0)


def test_a_host_without_gpus_is_skipped(tmp_path: Path) -> None:
    back_end = NcclTests("all_reduce_perf", {}, root=tmp_path)

    with pytest.raises(NotHere, match="the driver lists no GPU"):
        back_end.measured(AUTO, wish_for(Benchmark.NCCL_ALL_REDUCE), say=Said(), watch=watch_of(5.0))


def test_the_benchmark_without_a_driver_does_not_fall_back_on_the_program(installed: Host) -> None:
    environment = {**os.environ, **installed.environment}

    result = run_benchmark(wish_for(Benchmark.NCCL_ALL_REDUCE), Said(), environment=environment)

    assert result.outcome is Outcome.SKIP
    assert not installed.log.exists()
