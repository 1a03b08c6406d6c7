"""`fleetmend bench`: asked for, followed to its end with an exit code, shown as tables and pictures."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from typing import Any

import msgspec
import pytest

from checks.bench_result import BenchMachine, BenchNumber, BenchResult
from cli.exit_codes import ExitCode
from tests.cli.conftest import Run, ServedCell, environment
from tests.support import benching

ESCAPE = "\x1b[2J\x1b]0;owned\x07[red]bold[/red]"


def read(run: Run, *arguments: str) -> Any:
    """Return a command's JSON and insist that there is nothing else."""
    result = run("bench", *arguments, "--json")
    assert result.stderr == "", result.stderr
    return json.loads(result.stdout)


def run_of(served: ServedCell, limit_s: float = 20.0) -> str:
    """Wait until somebody has asked for a run, and return its id."""
    end = time.monotonic() + limit_s
    while not served.cell.cell.belief.bench.runs:
        assert time.monotonic() < end
        time.sleep(0.01)
    return next(iter(served.cell.cell.belief.bench.runs))


def begin(served: ServedCell, *arguments: str) -> subprocess.Popen[str]:
    """Begin a command that waits, on a cell that knows whether its nodes are idle."""
    served.do(served.cell.until_seen("n1", "n2"))
    return subprocess.Popen(
        [sys.executable, "-m", "cli.main", "bench", "run", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(FLEETMEND_URL=served.url),
    )


def followed(served: ServedCell, arguments: tuple[str, ...], *results: BenchResult) -> tuple[int, str, str]:
    """Return the code and the output of a run in which n1 comes back with these results."""
    process = begin(served, *arguments)
    run_of(served)
    for result in results:
        served.do(served.cell.nodes.come_back("n1", result))
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def rows_of(shown: str) -> list[list[str]]:
    """Return the first four words of each row about n1 or n2."""
    return [line.split()[:4] for line in shown.splitlines() if line.startswith((" n1 ", " n2 "))]


NCCL = ("--benchmark", "nccl_all_reduce")


@pytest.mark.parametrize(
    ("results", "code", "says"),
    [
        ([benching.measured()], ExitCode.DONE, ["n1 nccl_all_reduce: pass: The largest all-reduce reached 460.87"]),
        ([benching.measured(450.0)], ExitCode.DONE, ["n1 nccl_all_reduce: warn: The all-reduce over"]),
        (
            [benching.measured(300.0), benching.measured(300.0)],
            ExitCode.NO,
            ["n1 nccl_all_reduce: fail: The all-reduce over", "the limit is 430 GB/s"],
        ),
        ([benching.broke("libnccl is not there.")], ExitCode.UNREAD, ["error: libnccl is not there."]),
    ],
    ids=["pass", "warn", "fail", "error"],
)
def test_a_run_is_followed_and_its_outcome_is_the_exit_code(
    served: ServedCell, results: list[BenchResult], code: ExitCode, says: list[str]
) -> None:
    returned, out, err = followed(served, ("n1", *NCCL), *results)
    assert (returned, err) == (code, "")
    assert all(text in " ".join(out.split()) for text in says), out


def test_one_node_that_was_not_measured_is_not_passed_over(served: ServedCell) -> None:
    served.cell.scheduler.jobs["n2"] = ("17",)
    served.do(served.cell.until_busy("n2"))
    returned, out, _ = followed(served, ("n1", "n2", *NCCL), benching.measured())
    assert returned == ExitCode.REFUSED_NOW
    assert rows_of(out)[-2:] == [["n1", "nccl_all_reduce", "●", "pass"], ["n2", "nccl_all_reduce", "–", "skip"]]
    assert "n2 nccl_all_reduce: skip: n2: it has work: 17." in out


def test_a_run_that_somebody_stops_says_nothing_of_the_nodes(served: ServedCell, run: Run) -> None:
    process = begin(served, "n1", *NCCL)
    assert run("bench", "stop", run_of(served), "--because", "wrong node").returncode == ExitCode.DONE
    out, err = process.communicate(timeout=60)
    assert process.returncode == ExitCode.UNREAD
    assert "n1: the run was stopped: wrong node." in out and "– skip" in out
    assert err.startswith("fleetmend: run-") and err.endswith(" was stopped: wrong node\n")


def test_json_is_the_run_and_its_progress_is_beside_it(served: ServedCell) -> None:
    returned, out, err = followed(served, ("n1", *NCCL, "--json"), benching.broke("libnccl is not there."))
    assert (returned, json.loads(out)["turns"][0]["state"]) == (ExitCode.UNREAD, "error")
    assert "n1 nccl_all_reduce: error: libnccl is not there." in err


def test_a_terminal_has_a_bar_with_what_the_node_says(served: ServedCell) -> None:
    served.do(served.cell.until_seen("n1"))
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "bench", "run", "n1", *NCCL],
        stdout=follower,
        stderr=subprocess.DEVNULL,
        env=environment(FLEETMEND_URL=served.url, TERM="xterm", COLUMNS="100"),
    )
    os.close(follower)
    run_of(served)
    served.do(served.cell.nodes.progress("n1", 0.42, "1 GiB of 8"))
    shown = ""
    while "42 % n1 nccl_all_reduce 1 GiB of 8" not in shown:
        shown += os.read(leader, 65_536).decode()
    served.do(served.cell.nodes.come_back("n1", benching.measured()))
    with contextlib.suppress(OSError):
        while part := os.read(leader, 65_536).decode():
            shown += part
    assert process.wait(timeout=20) == ExitCode.DONE
    assert "n1 nccl_all_reduce: pass: " in shown


def test_a_run_that_is_not_waited_for_says_how_it_goes_on(served: ServedCell, run: Run) -> None:
    result = run("bench", "run", "n1", "n2", "--no-wait", "--tier", "2", "--patience", "10m", "--option", "ways=ring")
    run_id = run_of(served)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == (
        f"{run_id} is asked for. Results: fleetmend bench results NODE; end it: fleetmend bench stop {run_id}\n"
    )
    asked = served.cell.cell.belief.bench.runs[run_id]
    assert (asked.nodes, asked.tier, asked.wait_s, asked.options) == (("n1", "n2"), 2, 600.0, {"ways": "ring"})
    assert (asked.by, asked.benchmarks) == ("alice", ("gpu_bandwidth", "nccl_all_reduce"))


def test_a_run_that_takes_longer_than_waited_for_is_75(served: ServedCell, run: Run) -> None:
    served.do(served.cell.until_seen("n1"))
    result = run("bench", "run", "n1", "--timeout", "0s", "--benchmark", "gemm")
    assert result.returncode == ExitCode.REFUSED_NOW
    assert "is still under way; `fleetmend bench list` shows it" in result.stderr


def test_ctrl_c_leaves_the_run_and_says_how_to_end_it(served: ServedCell) -> None:
    process = begin(served, "n1", *NCCL)
    run_id = run_of(served)
    assert process.stdout is not None
    assert process.stdout.readline() == "n1 nccl_all_reduce begins\n"
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == ExitCode.INTERRUPTED
    assert out == f"{run_id} goes on; `fleetmend bench stop {run_id}` ends it.\n"
    assert not served.cell.cell.belief.bench.runs[run_id].stopped


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("run", "n11"), ExitCode.NO, "no node is called 'n11'; did you mean n1"),
        (
            ("run", "n1", "--benchmark", "nccl"),
            ExitCode.USAGE,
            "no benchmark is called 'nccl'; there are nccl_all_reduce,",
        ),
        (("run", "n1", "--tier", "4"), ExitCode.USAGE, "4 is not in the range 1<=x<=3"),
        (("run", "n1", "--option", "path"), ExitCode.USAGE, "'path' is not NAME=VALUE"),
        (("run", "n1", "--patience", "soon"), ExitCode.USAGE, "'soon' is no time; write 90s, 15m, 2h or 3d"),
        (("run",), ExitCode.USAGE, "Missing argument 'NODE...'"),
        (("results", "n11"), ExitCode.NO, "no node is called 'n11'"),
        (("results", "n1", "--benchmark", "nccl"), ExitCode.USAGE, "no benchmark is called 'nccl'"),
        (("stop", "run-1"), ExitCode.NO, "no run is called 'run-1'; `fleetmend bench list` (GET /api/v1/bench/runs)"),
        (("baseline", "forget"), ExitCode.USAGE, "name at least one of --metric, --sku and --driver, or give --all"),
        (("baseline", "learn", "--metric", "peer_copy"), ExitCode.NO, "no baseline and no result is so called"),
    ],
)
def test_what_is_wrong_is_one_sentence(run: Run, arguments: tuple[str, ...], code: int, says: str) -> None:
    result = run("bench", *arguments)
    assert (result.returncode, result.stdout) == (code, "")
    assert says in " ".join(result.stderr.split())


@pytest.mark.parametrize("arguments", [("list",), ("run", "n1"), ("results",), ("baseline", "list"), ("stop", "run-1")])
def test_without_a_controller_it_is_69(run: Run, arguments: tuple[str, ...]) -> None:
    result = run("bench", *arguments, "--url", "http://127.0.0.1:1")
    assert (result.returncode, result.stdout) == (ExitCode.UNREACHABLE, "")
    assert result.stderr.startswith("fleetmend: no controller answers at http://127.0.0.1:1 (")


def test_the_list_says_what_there_is_and_what_runs(served: ServedCell, run: Run) -> None:
    assert "No benchmark has been run yet." in run("bench", "list").stdout
    run_id = served.do(served.cell.ask_bench("n1", "n2", "n3", "n4", "n5"))
    shown = run("bench", "list").stdout
    assert "30 s at tier 1, 5 min at tier 2, 2 h 30 min at tier 3 at most" in " ".join(shown.split())
    assert "n1, n2, n3 and 2 more" in shown and "alice asked for it." in shown
    listed = read(run, "list")
    assert (len(listed["benchmarks"]), [row["run_id"] for row in listed["runs"]]) == (6, [run_id])


def test_a_run_is_stopped(served: ServedCell, run: Run) -> None:
    run_id = served.do(served.cell.ask_bench("n1"))
    stopped = run("bench", "stop", run_id, "--because", "wrong node")
    assert stopped.stdout == f"{run_id} is being stopped; nothing more of it begins.\n"
    assert served.cell.cell.belief.bench.runs[run_id].stopped == "wrong node"


def measure(served: ServedCell, *results: BenchResult, node: str = "n1") -> None:
    """Have a node measured that comes back with these results, beside peers that are known."""
    for size in (8 * benching.GIB, 16 * benching.GIB):
        served.do(served.cell.tell(benching.learnt(size)))
    served.do(served.cell.ask_bench(node))
    for result in results:
        served.do(served.cell.nodes.come_back(node, result))


def test_results_of_a_node_are_numbers_and_a_picture(served: ServedCell, run: Run) -> None:
    assert run("bench", "results", "n1").stdout == "n1 has never been measured. fleetmend bench run n1 does that.\n"
    measure(served, benching.measured(notes=("One GPU tests no link.",)))
    shown = run("bench", "results", "n1").stdout
    lines = shown.splitlines()
    assert "▲ warn" in shown and "8 × NVIDIA H100 80GB HBM3, driver 580.65.06, NCCL 2.27.3" in shown
    assert "One GPU tests no link." in shown
    first = next(line for line in lines if line.startswith(" node_all_reduce "))
    assert first.split()[:5] == ["node_all_reduce", "16", "GiB", "460.9", "GB/s"] and "474.8 (8)" in first
    assert "n1: all-reduce over all GPUs of the node" in shown
    assert "  ▬ NCCL's choice, fails below 430 GB/s from 8 GiB on" in shown
    assert shown.count("•") > 20 and shown.count("▪") > 20
    detail = read(run, "results", "n1")
    assert (len(detail), len(detail[0]["numbers"])) == (1, 30)
    assert "before" not in shown
    measure(served, benching.measured(480.0))
    assert re.search(r"^before +warn \d{4}-\d\d-\d\d", run("bench", "results", "n1").stdout, re.MULTILINE)


def test_of_many_devices_the_slowest_stands_for_those_that_are_well(served: ServedCell, run: Run) -> None:
    def copy(number: int, value: float) -> BenchNumber:
        return BenchNumber("host_to_device", value, f"GPU-{number}", samples=9)

    copies = (copy(0, 54.0), copy(1, 31.0), copy(2, 53.5), copy(3, 55.0))
    slow = msgspec.structs.replace(benching.measured(), numbers=copies)
    measure(served, slow, slow)
    rows = [line.split() for line in run("bench", "results", "n1").stdout.splitlines() if " host_to_device " in line]
    assert [row[1:] for row in rows] == [
        ["GPU-1", "31", "GB/s", "0.0%", "48", "■", "fail"],
        ["slowest", "of", "3", "53.5", "GB/s", "0.0%", "48", "●", "pass"],
    ]


def test_results_of_all_nodes_are_failures_first(served: ServedCell, run: Run) -> None:
    assert run("bench", "results").stdout.startswith("No node has been measured yet.")
    measure(served, benching.measured())
    measure(served, benching.measured(300.0), benching.measured(300.0), node="n2")
    rows = rows_of(run("bench", "results").stdout)
    assert rows == [["n2", "nccl_all_reduce", "■", "fail"], ["n1", "nccl_all_reduce", "▲", "warn"]]
    assert run("bench", "results", "--check").returncode == ExitCode.NO
    assert run("bench", "results", "n1", "--check").returncode == ExitCode.DONE


def test_baselines_are_listed_with_their_peers_and_forgotten(served: ServedCell, run: Run) -> None:
    assert run("bench", "baseline", "list").stdout == "No baseline is known: eight healthy peers make one.\n"
    served.do(served.cell.tell(benching.learnt(8 * benching.GIB)))
    shown = " ".join(run("bench", "baseline", "list").stdout.split())
    assert "node_all_reduce" in shown and "8 GiB" in shown and "473.7 GB/s" in shown
    assert "8 peers: n1, n2, n3, n4, n5, n6, n7, n8" in shown
    forgotten = run("bench", "baseline", "forget", "--driver", "580.65.06", "--because", "new driver")
    assert forgotten.stdout == "1 baseline is forgotten.\n"
    assert read(run, "baseline", "list") == []


@pytest.mark.parametrize("arguments", [("list",), ("results",), ("results", "n1")])
def test_what_a_node_says_cannot_steer_the_terminal(served: ServedCell, run: Run, arguments: tuple[str, ...]) -> None:
    odd = BenchNumber(ESCAPE, 3.0, device=ESCAPE, size_bytes=8, way=ESCAPE)
    hostile = msgspec.structs.replace(
        benching.measured(notes=(ESCAPE,)), because=ESCAPE, numbers=(odd,), machine=BenchMachine(ESCAPE, ESCAPE)
    )
    measure(served, hostile)
    result = run("bench", *arguments)
    assert (result.returncode, result.stderr) == (0, "")
    assert "\x1b" not in result.stdout and "\x07" not in result.stdout
    assert arguments[0] == "list" or "[red]bold[/red]" in result.stdout
