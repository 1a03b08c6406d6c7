"""RDMA writes on each adapter: which are measured, against which GPU's memory, and what reports say."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.bench.child import Broken, NotHere
from agent.bench.children.rdma import run
from agent.bench.pci_affinity import nearest_gpus, steps_of
from agent.bench.perftest import is_listening, parse_report
from agent.bench.rdma_ports import ports_at_hand
from checks.bench_limits import shipped_limits
from checks.bench_outcome import Outcome
from checks.bench_result import Benchmark, BenchResult
from tests.support.bench_child import BenchProcess, Said, has_life, wish_for
from tests.support.eventually import eventually
from tests.support.perftest import NEW, OLD, asked, install_perftest
from tests.support.rdma_host import add_gpu, add_port

SWITCH_A, SWITCH_B = "pci0000:3a/0000:3a:01.0/0000:3b:00.0", "pci0000:7a/0000:7a:01.0/0000:7b:00.0"
FIRST, SECOND = f"{SWITCH_A}/0000:3c:00.0/0000:3d:00.0", f"{SWITCH_B}/0000:7c:00.0/0000:7d:00.0"
MAPPED = "0000:0000:0000:0000:0000:ffff:0a00:0102"
EMPTY = "0000:0000:0000:0000:0000:0000:0000:0000"
LINK_LOCAL = "fe80:0000:0000:0000:a288:c2ff:feab:cdef"


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the only folder on the PATH beside the system's own, still empty."""
    folder = tmp_path / "programs"
    monkeypatch.setenv("PATH", f"{folder}:/bin")
    return folder


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """Return a host with two adapters and two GPUs, which count in opposite orders."""
    root = tmp_path / "host"
    add_port(root, "mlx5_0", SECOND)
    add_port(root, "mlx5_1", FIRST)
    add_gpu(root, f"{SWITCH_A}/0000:3c:01.0/0000:3e:00.0")
    add_gpu(root, f"{SWITCH_B}/0000:7c:01.0/0000:7e:00.0")
    return root


def measure(host: Path, options: dict[str, str] | None = None, *, tier: int = 1, limit_s: float = 60.0) -> BenchResult:
    return run(wish_for(Benchmark.RDMA, options, tier=tier, limit_s=limit_s), Said(), root=host)


def shares(result: BenchResult) -> dict[str, float | None]:
    return {number.device: number.value for number in result.numbers if number.metric == "rdma_write"}


# --- what is measured ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("release", [OLD, NEW])
def test_each_adapter_is_measured_as_a_share_of_its_line_rate(host: Path, programs: Path, release: str) -> None:
    """Reports of 4.5 are no JSON."""
    install_perftest(programs, release=release, rates={"mlx5_1": 200.0})
    result = measure(host)
    assert result.outcome is Outcome.PASS
    assert shares(result) == {"mlx5_0": pytest.approx(98.0), "mlx5_1": pytest.approx(50.0)}
    latency = next(number for number in result.numbers if number.metric == "rdma_write_latency")
    assert (latency.value, latency.device) == (1.1, "mlx5_0")
    assert [latency.p50_s, latency.p99_s] == pytest.approx([1.1e-6, 1.4e-6])
    assert (result.machine.sku, result.machine.driver, result.machine.gpus) == ("H100", "580.82.07", 2)
    assert {number.metric for number in result.numbers} <= {metric.name for metric in shipped_limits().metrics}
    assert result.notes[0].startswith("each adapter wrote to itself")


def test_several_timed_runs_decide_where_there_is_time(host: Path, programs: Path) -> None:
    install_perftest(programs)
    result = measure(host, {"adapters": "mlx5_0"}, tier=2)
    assert [number.samples for number in result.numbers] == [3, 5000]
    assert all(" -D 3 -f 1 " in line for line in asked(programs) if line.startswith("ib_write_bw"))


def test_one_short_run_decides_in_the_first_tier(host: Path, programs: Path) -> None:
    """Eight adapters and their starts have 30 s."""
    install_perftest(programs)
    assert [number.samples for number in measure(host, {"adapters": "mlx5_0"}).numbers] == [1, 5000]
    assert all(" -n 20000 " in line for line in asked(programs) if line.startswith("ib_write_bw"))


def test_pairs_go_out_of_one_adapter_and_into_the_next(host: Path, programs: Path) -> None:
    install_perftest(programs)
    result = measure(host, {"mode": "pairs"})
    assert set(shares(result)) == {"mlx5_0>mlx5_1", "mlx5_1>mlx5_0"}
    server, client = asked(programs)[:2]
    assert "-d mlx5_1 " in server and "-d mlx5_0 " in client and client.endswith(" 127.0.0.1")


def test_a_pair_is_held_against_the_slower_of_its_ports(host: Path, programs: Path) -> None:
    add_port(host, "mlx5_2", "pci0000:9a/0000:9a:01.0", rate="200 Gb/sec (4X HDR)", board="MT_other")
    install_perftest(programs, rates={"mlx5_1": 196.0})
    assert shares(measure(host, {"mode": "pairs"}))["mlx5_1>mlx5_2"] == pytest.approx(98.0)


def test_ports_of_different_fabrics_are_no_pair(tmp_path: Path, programs: Path) -> None:
    add_port(tmp_path, "mlx5_0", FIRST)
    add_port(tmp_path, "mlx5_1", SECOND, subnet="fec0:0000:0000:0001")
    install_perftest(programs)
    with pytest.raises(NotHere, match="no pair"):
        measure(tmp_path, {"mode": "pairs"})


def test_a_port_that_runs_at_half_rate_stands_out_beside_its_siblings(host: Path, programs: Path) -> None:
    """Measured against itself it looks well."""
    add_port(host, "mlx5_2", "pci0000:9a/0000:9a:01.0", rate="200 Gb/sec (2X NDR)")
    install_perftest(programs, rates={"mlx5_2": 196.0})
    result = measure(host)
    assert shares(result)["mlx5_2"] == pytest.approx(98.0)
    (fault,) = result.faults
    assert (fault.code, fault.device, fault.severity) == ("rate_below_siblings", "mlx5_2", Outcome.WARN)
    assert shares(measure(host, {"line_rate_gbits": "400"}))["mlx5_2"] == pytest.approx(49.0)


# --- memory ----------------------------------------------------------------------------------------------------------


def test_the_memory_is_that_of_the_gpu_below_the_same_switch_whatever_the_numbers(host: Path, programs: Path) -> None:
    install_perftest(programs, gpu=True)
    result = measure(host)
    assert {number.way for number in result.numbers if number.metric == "rdma_write"} == {"gpu"}
    of_bandwidth = [line for line in asked(programs) if line.startswith("ib_write_bw")]
    assert all(("-d mlx5_0 " in line) == ("--use_cuda_bus_id=0000:7e:00.0" in line) for line in of_bandwidth)
    assert all(("-d mlx5_1 " in line) == ("--use_cuda_bus_id=0000:3e:00.0" in line) for line in of_bandwidth)
    assert not any("use_cuda" in line for line in asked(programs) if line.startswith("ib_write_lat"))


def test_memory_of_gpus_that_cannot_be_used_is_said_and_not_replaced(host: Path, programs: Path) -> None:
    install_perftest(programs)
    with pytest.raises(Broken, match="not built for GPUs"):
        measure(host, {"memory": "gpu"})
    assert any("the way from the adapter to its GPU was not tested" in note for note in measure(host).notes)


@pytest.mark.parametrize(
    ("adapters", "gpus", "expected"),
    [
        ({"a": "R/S/1"}, {"x": "R/S/2", "y": "R/T/3"}, {"a": "x"}),
        ({"a": "R/S/1", "b": "R/S/2"}, {"x": "R/S/3", "y": "R/S/4"}, {"a": "x", "b": "y"}),
        ({"a": "R/S/1", "b": "R/S/2", "c": "R/S/5"}, {"x": "R/S/3", "y": "R/S/4"}, {"a": "x", "b": "y", "c": "x"}),
        ({"a": "R/1"}, {"x": "R/2"}, {"a": "x"}),
        ({"a": "R/1"}, {"x": "R/2", "y": "R/3"}, {}),
        ({"a": "R/1"}, {"x": "Q/2"}, {}),
        ({"a": "R/1"}, {}, {}),
        ({"a": ""}, {"x": ""}, {}),
    ],
)
def test_the_nearest_gpu_is_found_by_the_bridges_that_are_shared(
    adapters: dict[str, str], gpus: dict[str, str], expected: dict[str, str]
) -> None:
    def steps(paths: dict[str, str]) -> dict[str, list[str]]:
        return {name: [step for step in path.split("/") if step] for name, path in paths.items()}

    assert nearest_gpus(steps(adapters), steps(gpus)) == expected


def test_only_steps_of_the_pci_bus_count() -> None:
    path = Path("/sys/devices/pci0000:3a/0000:3a:01.0/0000:3b:00.0/infiniband/mlx5_0")
    assert steps_of(path.parts) == ("pci0000:3a", "0000:3a:01.0", "0000:3b:00.0")


# --- ports -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gids", "expected"),
    [
        ({0: ("IB/RoCE v1", LINK_LOCAL), 1: ("RoCE v2", LINK_LOCAL), 3: ("RoCE v2", MAPPED)}, 3),
        ({0: ("IB/RoCE v1", LINK_LOCAL), 1: ("RoCE v2", LINK_LOCAL), 2: ("RoCE v2", EMPTY)}, 1),
        ({0: ("IB/RoCE v1", LINK_LOCAL)}, None),
    ],
)
def test_roce_uses_the_address_that_nccl_would(
    tmp_path: Path, gids: dict[int, tuple[str, str]], expected: int | None
) -> None:
    add_port(tmp_path, "mlx5_0", FIRST, roce_gids=gids)
    ((port,), idle) = ports_at_hand(tmp_path, [])
    assert (port.gid, idle) == (expected, ())


def test_a_port_that_is_down_is_named_and_not_measured(host: Path, programs: Path) -> None:
    add_port(host, "mlx5_2", "pci0000:9a/0000:9a:01.0", state="1: DOWN")
    install_perftest(programs)
    result = measure(host)
    assert set(shares(result)) == {"mlx5_0", "mlx5_1"}
    assert "no active port: mlx5_2" in result.notes


def test_a_host_whose_ports_are_all_down_did_not_pass(tmp_path: Path, programs: Path) -> None:
    add_port(tmp_path, "mlx5_0", FIRST, state="1: DOWN")
    install_perftest(programs)
    with pytest.raises(Broken, match="none of the adapters mlx5_0 has an active port"):
        measure(tmp_path)


def test_an_adapter_that_was_asked_for_must_be_there(host: Path, programs: Path) -> None:
    install_perftest(programs)
    with pytest.raises(Broken, match="mlx5_9 has no active port"):
        measure(host, {"adapters": "mlx5_0, mlx5_9"})


def test_a_host_without_adapters_is_skipped(tmp_path: Path) -> None:
    with pytest.raises(NotHere, match="no RDMA adapter"):
        measure(tmp_path)


# --- programs --------------------------------------------------------------------------------------------------------


def test_a_host_without_perftest_is_skipped(host: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotHere, match="ib_write_bw is not installed"):
        measure(host)


def test_a_perftest_without_reports_is_an_error(host: Path, programs: Path) -> None:
    install_perftest(programs, reports=False)
    with pytest.raises(Broken, match=r"4\.5 or a newer one"):
        measure(host)


def test_one_adapter_that_fails_leaves_the_others_measured(host: Path, programs: Path) -> None:
    """Its numbers have no value, which is judged as an error and never as a pass."""
    install_perftest(programs, broken=("mlx5_1",))
    result = measure(host)
    assert shares(result) == {"mlx5_0": pytest.approx(98.0), "mlx5_1": None}
    assert any("Failed to modify QP to RTR" in note for note in result.notes)


def test_a_host_where_nothing_could_be_measured_is_an_error(host: Path, programs: Path) -> None:
    install_perftest(programs, broken=("mlx5_0", "mlx5_1"))
    with pytest.raises(Broken, match="ended before it listened"):
        measure(host)


def test_what_there_is_no_time_for_has_no_number(host: Path, programs: Path) -> None:
    install_perftest(programs)
    seconds = itertools.count(step=0.6)
    wish = wish_for(Benchmark.RDMA, {"seconds": "3"}, tier=1, limit_s=5.0)
    result = run(wish, Said(), root=host, monotonic=lambda: next(seconds))
    assert shares(result)["mlx5_0"] is not None
    assert shares(result)["mlx5_1"] is None
    assert any("no time was left to measure mlx5_1" in note for note in result.notes)


def test_a_client_that_hangs_is_ended_with_its_server(host: Path, programs: Path) -> None:
    install_perftest(programs, hangs=True)
    with pytest.raises(Broken, match="did not end within"):
        measure(host, {"adapters": "mlx5_0"}, limit_s=5.0)
    assert perftests(os.getpgrp()) == []


async def test_a_jobs_arrival_ends_both_ends(host: Path, programs: Path) -> None:
    install_perftest(programs, hangs=True)
    code = (
        "from functools import partial; from pathlib import Path; from agent.bench.child import carry_out; "
        "from agent.bench.children.rdma import run; from agent.bench.programs import end_with_term; "
        f"end_with_term(); carry_out(partial(run, root=Path({str(host)!r})))"
    )
    with BenchProcess(wish_for(Benchmark.RDMA, limit_s=600.0), code=code) as process:
        await eventually("a client runs", lambda: len(perftests(process.pid)) == 2)
        assert process.end_group(signal.SIGTERM) == 128 + signal.SIGTERM
        assert perftests(process.pid) == []


def perftests(group: int) -> list[int]:
    """Return the processes of a group that run the double."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line, number = (folder / "cmdline").read_bytes(), int(folder.name)
            if b"doubles/perftest/program.py" in line and os.getpgid(number) == group and has_life(number):
                found.append(number)
        except OSError:
            continue
    return found


@pytest.mark.skipif(shutil.which("ib_write_bw") is None, reason="perftest is not installed")
@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        ("ib_write_bw", "--report_gbits -s 1048576 -q 4 -D 3 -f 1"),
        ("ib_write_bw", "--report_gbits -s 1048576 -q 4 -n 20000"),
        ("ib_write_lat", "-n 5000"),
    ],
)
def test_the_installed_perftest_knows_every_option(tmp_path: Path, program: str, arguments: str) -> None:
    """Without an adapter it gets no further than its options, and that is as far as it is asked here."""
    common = f"-d none -i 1 -F -x 3 -p 18515 --out_json --out_json_file={tmp_path}/report"
    command = [program, *common.split(), *arguments.split()]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    said = (ended.stdout + ended.stderr).lower()
    assert "unrecognized" not in said and "invalid" not in said
    assert "device" in said


# --- parsers ---------------------------------------------------------------------------------------------------------

LISTENER = (
    "   0: 0100007F:4853 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12345 1 0 100 0 0 10 0"
)


def test_a_listener_is_told_from_a_connection() -> None:
    """Source: /proc/net/tcp of a Linux 6.1."""
    assert is_listening(LISTENER, 0x4853)
    assert not is_listening(LISTENER, 0x4854)
    assert not is_listening(LISTENER.replace(" 0A ", " 01 "), 0x4853)


def test_only_results_are_read_and_not_what_was_tested() -> None:
    assert parse_report('{"test_info": {"MsgSize": 7,}, "results": {"MsgSize": 65536, "BW_average": 97.5,}}') == {
        "MsgSize": 65536.0,
        "BW_average": 97.5,
    }


@pytest.mark.parametrize("number", ["nan", "-nan", "inf", "-1.0", "1e5", "", "0x10"])
def test_what_is_no_number_is_left_out(number: str) -> None:
    assert parse_report(f"results: {{\nBW_average: {number},\n}}") == {}


@given(st.text())
def test_any_report_is_read(text: str) -> None:
    assert isinstance(parse_report("results: {" + text), dict)
    assert isinstance(is_listening(text, 18515), bool)
