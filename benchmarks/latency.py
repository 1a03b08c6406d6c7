"""From a kernel-log record to a node drained in Slurm, beside the bare `scontrol update` of the same run.

Real Slurm, real Mosquitto, real agent and controller processes on a quiet machine; the record is written at the
simulated machine's kernel-log seam. Each fault is another (GPU, code) of one of four nodes, one after the other. The
playbook cordons and waits for a person: a repair would go on after the node was given back, and the next fault would
find a node that reboots.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from datetime import datetime
from pathlib import Path

from agent.simulation.machine import SimulatedMachine
from benchmarks.report import Row, publish, spread
from tests.support.embedded import EmbeddedCell, until
from tests.support.slurm import SlurmCluster

NODES = 4
PLAYBOOK = """
playbook: cordon_and_ask
summary: A GPU has a fault.
fault_class: gpu
severity: warning
precedence: 1
mode: act
runbook: docs/how-to/respond/gpu_lost.md
answers:
  - {check: gpu.xid, verdicts: [degraded, failed]}
guards: {drain: not_needed, reversible: true}
steps:
  - cordon: {}
  - approve: {question: "Go on?"}
  - verify: {}
  - uncordon: {}
hand_over:
  - ticket: {team: platform}
"""
SETTINGS = """
breakers = []
domains = []
"""
"""Two hundred faults on four nodes of a rack within minutes are what these are for."""

CODES = (79, 95, 62, 119, 120, 46, 109, 140, 143, 158)


def drained_at(cell: EmbeddedCell, node: str, known: set[str]) -> tuple[str, float]:
    """Wait for a new incident on a node to have cordoned it; return the incident and when Slurm had confirmed that."""

    def look() -> tuple[str, float] | None:
        for incident in cell.incidents(node):
            if incident["id"] not in known:
                for entry in cell.get(f"/incidents/{incident['id']}")["timeline"]:
                    if entry["text"] == "Cordon done":
                        return incident["id"], datetime.fromisoformat(entry["at"]).timestamp()
        return None

    return until(f"{node} is drained", look, limit_s=30.0)


def one_fault(cell: EmbeddedCell, cluster: SlurmCluster, number: int) -> tuple[float, float]:
    """Break one GPU, wait for the drain, give the node back.

    Returns:
        Seconds from the record to the decision (found, published, stored, decided), and from the record to the drain.
    """
    node = f"n{number % NODES + 1}"
    gpu, code = number // NODES % 8, CODES[number // (NODES * 8) % len(CODES)]
    known = {incident["id"] for incident in cell.incidents(node)}
    machine = SimulatedMachine.open(cell.state / "machines" / node)
    began = time.time()
    machine.log_xid(gpu, code)
    incident, drained = drained_at(cell, node, known)
    assert cluster.node_state(node).startswith("drain"), f"{node} is not drained in Slurm"
    cell.cli("uncordon", node, "--because", "benchmark")
    until("the incident is over", lambda: cell.get(f"/incidents/{incident}")["state"] == "closed")
    opened = datetime.fromisoformat(cell.get(f"/incidents/{incident}")["opened_at"]).timestamp()
    return opened - began, drained - began


def bare_update_s(cluster: SlurmCluster, number: int) -> float:
    """Return the time of one `scontrol update` that drains a node, and undo it."""
    node = f"n{number % NODES + 1}"
    began = time.perf_counter()
    cluster.drain(node, "bare")
    took = time.perf_counter() - began
    cluster.resume(node)
    return took


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=200)
    faults = parser.parse_args().faults
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "cell").mkdir()
        (Path(scratch) / "slurm").mkdir()
        playbooks = Path(scratch) / "playbooks"
        playbooks.mkdir()
        (playbooks / "cordon_and_ask.yaml").write_text(PLAYBOOK)
        settings = Path(scratch) / "settings.toml"
        settings.write_text(SETTINGS)
        with (
            SlurmCluster(Path(scratch) / "slurm", nodes=NODES) as cluster,
            EmbeddedCell(
                Path(scratch) / "cell",
                NODES,
                "slurm",
                ("--budget", "100%", "--playbooks", str(playbooks), "--settings", str(settings)),
                environment=cluster.env(),
            ) as cell,
        ):
            bare = [bare_update_s(cluster, number) * 1000 for number in range(min(faults, 50))]
            measured = [one_fault(cell, cluster, number) for number in range(faults)]
    decided, whole = ([1000 * each[place] for each in measured] for place in (0, 1))
    rows = spread("kernel-log record → decided", decided, "ms")
    rows += spread("kernel-log record → drained in Slurm", whole, "ms")
    rows += spread("bare scontrol update", bare, "ms")
    rows.append(Row("ratio of the medians", statistics.median(whole) / statistics.median(bare), "×"))
    publish("latency", rows, about=f"{faults} faults, one after the other, quiet system")


if __name__ == "__main__":
    main()
