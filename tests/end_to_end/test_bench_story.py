"""Active benchmarks as people meet them: real processes, a real Mosquitto, simulated machines.

A drill that no counter shows is found by a sweep. A job that arrives ends whatever runs. Whoever is killed in the
middle, nothing is left: no process, no lease, no lock.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.broker import require_mosquitto
from tests.support.embedded import EmbeddedCell, until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(240)]

GONE_S = 3.0
"""From a job's arrival until nothing of the benchmark is left."""


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedCell]:
    """Eight nodes on two leaves, with time that flies: for stories from a fault to its end."""
    require_mosquitto()
    state = tmp_path_factory.mktemp("fast")
    settings = state / "more.toml"
    settings.write_text("[bench]\nat_once = { rack = 8, leaf = 8 }\n")
    with EmbeddedCell(state, simulate=8, arguments=("--speed", "3600", "--settings", str(settings))) as cell:
        yield cell


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedCell]:
    """Two nodes whose benchmarks take seconds: for what happens in their middle."""
    require_mosquitto()
    with EmbeddedCell(tmp_path_factory.mktemp("slow"), simulate=2, arguments=("--speed", "20")) as cell:
        yield cell


def begun(cell: EmbeddedCell, node: str, *arguments: str) -> str:
    """Begin a run on a node, wait until its process runs, and return the run's id."""
    asked = cell.cli("bench", "run", node, *arguments, "--no-wait", "--json")
    assert asked.returncode == 0, asked.stdout + asked.stderr
    run_id: str = json.loads(asked.stdout)["run_id"]
    until(f"a benchmark runs on {node}", lambda: benchmarks_on(cell, node), limit_s=30.0)
    return run_id


def ended(cell: EmbeddedCell, run_id: str, *, limit_s: float = 30.0) -> dict[str, Any]:
    """Wait until a run is over and return it."""

    def over() -> dict[str, Any] | None:
        run: dict[str, Any] = cell.get(f"/bench/runs/{run_id}")
        return run if run["outcome"] else None

    return until(f"{run_id} is over", over, limit_s=limit_s)


def benchmarks_on(cell: EmbeddedCell, node: str = "") -> list[psutil.Process]:
    """Return the processes of benchmarks on a machine of the cell, or on all of them."""
    machines = str(cell.state / "machines" / node)
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if "agent.simulation.bench" in (command := process.info["cmdline"] or ())
        and any(word.startswith(machines) for word in command)
    ]


def process_of(cell: EmbeddedCell, word: str) -> psutil.Process | None:
    """Return the cell's process whose command line has an argument that ends so."""
    assert cell.process is not None
    children = psutil.Process(cell.process.pid).children()
    return next((child for child in children if any(each.endswith(word) for each in child.cmdline())), None)


def is_unlocked(cell: EmbeddedCell, node: str) -> bool:
    """Return whether a benchmark could begin on the node."""
    locks: list[Path] = list((cell.state / "agents" / node).glob("*.lock"))
    assert locks
    for lock in locks:
        with lock.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
    return True


def assert_nothing_is_left(cell: EmbeddedCell, node: str) -> None:
    """No process, no lock, and no lease: the next benchmark on the node is measured."""
    assert benchmarks_on(cell) == []
    assert is_unlocked(cell, node)
    after = cell.cli("bench", "run", node, "--benchmark", "storage", "--json")
    states = [turn["state"] for turn in json.loads(after.stdout)["turns"]]
    assert states in (["pass"], ["warn"]), after.stdout


def test_a_slow_nvlink_is_found_mended_and_its_node_returned_by_the_benchmark_alone(fast: EmbeddedCell) -> None:
    fast.drill("slow-nvlink", "n2")
    failed = fast.cli("bench", "run", "n2", "--benchmark", "nccl_all_reduce", "--tier", "2")
    assert failed.returncode == 1, failed.stdout + failed.stderr
    incident = fast.incident_ended("n2")
    assert (incident["outcome"], incident["node"]) == ("returned", "n2"), fast.story("n2")
    texts = [entry["text"] for entry in fast.get(f"/incidents/{incident['id']}")["timeline"]]
    ends = [text for text in texts if " done" in text and text.split()[0] in {"Cordon", "Drain", "Verify", "Uncordon"}]
    assert [text.split()[0] for text in ends] == ["Cordon", "Drain", "Verify", "Uncordon"], texts
    results = fast.get("/bench/results/n2")
    newest = next(result for result in results if result["benchmark"] == "nccl_all_reduce")
    assert newest["outcome"] == "pass"
    verify = [run for run in fast.get("/bench/runs") if run["purpose"] == "verify" and run["nodes"] == ["n2"]]
    assert verify[0]["outcome"] == "pass"
    assert verify[0]["incident_id"] == incident["id"]
    until("n2 takes work again", lambda: fast.node("n2")["schedulable"])


def test_a_sweep_finds_the_adapter_at_half_rate(fast: EmbeddedCell) -> None:
    nodes = [f"n{number}" for number in range(1, 9)]
    fast.drill("slow-nic", "n6", device="mlx5_3/1")
    begun_sweep = fast.post("/bench/sweeps", nodes=nodes, because="story")

    def over() -> dict[str, Any] | None:
        sweep: dict[str, Any] = fast.get(f"/bench/sweeps/{begun_sweep['sweep_id']}")
        return sweep if sweep["sweep"]["state"] != "running" else None

    sweep = until("the sweep is over", over, limit_s=90.0)
    (fault,) = sweep["sweep"]["faults"]
    assert (sweep["sweep"]["state"], fault["kind"], fault["nodes"], fault["rails"]) == ("done", "link", ["n6"], ["3"])
    assert sorted(sweep["cleared"]) == [node for node in nodes if node != "n6"]


def test_a_job_that_arrives_ends_the_benchmark_at_once_and_nothing_is_held_against_the_node(slow: EmbeddedCell) -> None:
    run_id = begun(slow, "n1", "--benchmark", "dcgm", "--tier", "2")
    slow.drill("job-arrives", "n1")
    arrived = time.monotonic()
    until("nothing of it runs any more", lambda: not benchmarks_on(slow, "n1"), limit_s=GONE_S + 1.0)
    took_s = time.monotonic() - arrived
    assert took_s <= GONE_S
    run = ended(slow, run_id)
    assert (run["outcome"], [turn["state"] for turn in run["turns"]]) == ("skip", ["skip"])
    refused = slow.cli("bench", "run", "n1", "--benchmark", "rdma")
    assert refused.returncode == 75, refused.stdout + refused.stderr
    assert slow.incidents("n1") == []


def test_an_agent_that_is_killed_in_the_middle_leaves_nothing(slow: EmbeddedCell) -> None:
    run_id = begun(slow, "n2", "--benchmark", "dcgm", "--tier", "2")
    agent = process_of(slow, "agents/n2/agent.toml")
    assert agent is not None
    agent.send_signal(signal.SIGKILL)
    until("its processes died with it", lambda: not benchmarks_on(slow, "n2"), limit_s=GONE_S)
    run = ended(slow, run_id, limit_s=60.0)
    assert [turn["state"] for turn in run["turns"]] == ["error"], run
    assert_nothing_is_left(slow, "n2")
    assert slow.incidents("n2") == []


def test_a_controller_that_is_killed_in_the_middle_still_hears_the_result(slow: EmbeddedCell) -> None:
    run_id = begun(slow, "n2", "--benchmark", "dcgm", "--tier", "2")
    controller = process_of(slow, "controller.toml")
    assert controller is not None
    os.kill(controller.pid, signal.SIGKILL)
    until("another controller answers", lambda: slow.answers() and process_of(slow, "controller.toml"), limit_s=40.0)
    run = ended(slow, run_id, limit_s=60.0)
    assert [turn["state"] for turn in run["turns"]] == ["pass"], run
    assert_nothing_is_left(slow, "n2")
