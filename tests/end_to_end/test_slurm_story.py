"""The whole loop on a real Slurm, a real Mosquitto and real processes.

A job runs on n2; a drill breaks n2; n2 is drained in Slurm with our reason; the job is requeued as the playbook says;
the repair succeeds; n2 is idle again. n3, drained by hand before with another reason, is never touched.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.broker import require_mosquitto
from tests.support.embedded import EmbeddedCell, until
from tests.support.slurm import SlurmCluster, needs_slurm

pytestmark = [needs_slurm, pytest.mark.timeout(300)]

BY_HAND = "memory test by hand"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    with SlurmCluster(tmp_path_factory.mktemp("slurm")) as slurm:
        slurm.drain("n3", BY_HAND)
        yield slurm


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory, cluster: SlurmCluster) -> Iterator[EmbeddedCell]:
    require_mosquitto()
    state, alone = tmp_path_factory.mktemp("cell"), tmp_path_factory.mktemp("settings") / "alone.toml"
    alone.write_text("domains = []\n", "utf-8")  # else the third node that is broken here waits for a shared cause
    with EmbeddedCell(
        state, simulate=4, scheduler="slurm", arguments=("--settings", str(alone)), environment=cluster.env()
    ) as embedded:
        yield embedded


def test_a_broken_node_is_drained_mended_and_returned_and_its_job_requeued(
    cell: EmbeddedCell, cluster: SlurmCluster
) -> None:
    job = cluster.submit(node="n2", options=("--requeue",))
    cluster.wait_for_job(job, state="RUNNING")
    cell.drill("gpu-off-bus", "n2")
    reason = until("n2 is drained by us", lambda: held_by_us(cluster, "n2"))
    incident = cell.incident_ended("n2")
    assert reason.startswith(f"fleetmend:{incident['id']}")
    assert (incident["outcome"], incident["fault_class"]) == ("returned", "gpu_lost")
    until("n2 is in service again", lambda: cluster.node_state("n2") in {"idle", "mixed", "allocated"})
    until("the page shows n2 in service", lambda: cell.node("n2")["schedulable"])
    texts = [entry["text"] for entry in cell.get(f"/incidents/{incident['id']}")["timeline"]]
    for step in ("cordon", "drain", "collect", "reboot", "verify", "probation", "uncordon"):
        assert f"{step.capitalize()} done" in texts
    assert cluster.restarts(job) == 1


def test_a_node_that_somebody_else_drained_is_never_touched(cell: EmbeddedCell, cluster: SlurmCluster) -> None:
    cell.drill("gpu-off-bus", "n3")
    waiting = until("the incident waits", lambda: [i for i in cell.incidents("n3") if i["state"] == "waiting"])
    detail = cell.get(f"/incidents/{waiting[0]['id']}")
    assert detail["waiting_for"] == "foreign hold"
    assert any(BY_HAND in entry["because"] for entry in detail["timeline"])
    assert (cluster.node_state("n3"), cluster.node_reason("n3")) == ("drained", BY_HAND)
    assert cell.cli("abort", waiting[0]["id"]).returncode == 0
    assert (cluster.node_state("n3"), cluster.node_reason("n3")) == ("drained", BY_HAND)


def test_a_repair_that_fails_ends_in_a_ticket_and_a_page(cell: EmbeddedCell, cluster: SlurmCluster) -> None:
    cell.drill("gpu-off-bus", "n4", repair="fails")
    incident = cell.incident_ended("n4")
    assert incident["outcome"] == "handed_over"
    assert held_by_us(cluster, "n4")
    until("a ticket holds the incident", lambda: incident["id"] in notices(cell, "tickets"))
    until("a page holds the incident", lambda: incident["id"] in notices(cell, "pages"))


def test_what_a_node_did_to_itself_is_taken_over_mended_and_given_back(
    cell: EmbeddedCell, cluster: SlurmCluster
) -> None:
    cluster.drain("n1", "fleetmend:check gpu.count: GPU at 0000:52:00 does not answer")
    cell.drill("gpu-off-bus", "n1")
    incident = cell.incident_ended("n1")
    assert incident["outcome"] == "returned"
    until("n1 is in service again", lambda: cluster.node_state("n1") == "idle")


def notices(cell: EmbeddedCell, kind: str) -> str:
    """Return the tickets or pages sent so far."""
    path = cell.state / "controller" / f"{kind}.jsonl"
    return path.read_text() if path.exists() else ""


def held_by_us(cluster: SlurmCluster, node: str) -> str:
    """Return our reason on a node, empty when it is not ours."""
    reason = cluster.node_reason(node)
    return reason if reason.startswith("fleetmend:") else ""
