"""The whole loop on a real Slurm, a real Mosquitto and real processes.

A job runs on n2; a drill breaks n2; n2 is drained in Slurm with our reason; the job is requeued as the playbook says;
the repair succeeds; n2 is idle again. n3, drained by hand before with another reason, is never touched. n1's agent dies
of what it found; a playbook of the site's has Slurm reboot the node, and it is back in service.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import playbooks
from tests.support.broker import require_mosquitto
from tests.support.documents.places import scratch
from tests.support.documents.running import Walk
from tests.support.embedded import EmbeddedCell, until
from tests.support.slurm import SlurmCluster, needs_slurm

pytestmark = [needs_slurm, pytest.mark.timeout(300)]

PAGE = "docs/how-to/slurm.md"
BY_HAND = "memory test by hand"


# What RebootProgram does to a real node, done to a simulated one.
REBOOT = "from agent.simulation.machine import SimulatedMachine as M; M.open(Path(sys.argv[1])).power_cycle()"


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = tmp_path_factory.mktemp("cell")
    shutil.copytree(Path(playbooks.__file__).parent, state / "playbooks", ignore=shutil.ignore_patterns("*.py", "__*"))
    book = state / "playbooks" / "host_reboot.yaml"
    # An agent that is dead collects nothing, and would be waited for.
    text = book.read_text().replace("  - collect: {}\n", "").replace("- reboot: {", "- reboot: {by: scheduler, ")
    assert "by: scheduler" in text and "collect" not in text
    book.write_text(text)
    return state


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, state: Path) -> Iterator[SlurmCluster]:
    with SlurmCluster(tmp_path_factory.mktemp("slurm")) as slurm:
        program = slurm.directory / "reboot"
        script = f'"{sys.executable}" -c "import sys; from pathlib import Path; {REBOOT}" "{state}/machines/$name"'
        program.write_text(f"{program.read_text()}cd {Path.cwd()} && {script}\n")
        slurm.drain("n3", BY_HAND)
        yield slurm


@pytest.fixture(scope="module")
def cell(state: Path, cluster: SlurmCluster) -> Iterator[EmbeddedCell]:
    """Start what the page starts, with the rules for jobs that it shows."""
    require_mosquitto()
    page = Walk(PAGE, __file__)
    *up, simulated, _, scheduler, option, file = page.text("fleetmend up").split()
    assert up == ["fleetmend", "up", "--simulate"]
    page.text("fleetmend drill")
    settings = state / file
    # Else the third node that is broken here waits for a shared cause.
    settings.write_text(f"domains = []\n{page.text('[[slurm.jobs]]')}")
    assert page.left == []
    own = ("--playbooks", str(state / "playbooks"), option, str(settings))
    with EmbeddedCell(state, int(simulated), scheduler, own, cluster.env()) as embedded:
        yield embedded


def test_a_broken_node_is_drained_mended_and_returned_and_its_job_requeued(
    cell: EmbeddedCell, cluster: SlurmCluster, tmp_path: Path
) -> None:
    job = cluster.submit(node="n2", options=("--requeue",))
    cluster.wait_for_job(job, state="RUNNING")
    page = Walk(PAGE, __file__)
    page.text("fleetmend up")
    with scratch(tmp_path) as host:
        asked = {"SLURM_CONF": str(cluster.conf), "FLEETMEND_URL": cell.url}
        page.next("fleetmend drill", replace(host, environment=asked))
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
    incident = cell.incident_ended("n1", fault_class="gpu_lost")
    assert incident["outcome"] == "returned"
    until("n1 is in service again", lambda: cluster.node_state("n1") == "idle")


def test_a_node_whose_agent_died_over_it_is_rebooted_by_slurm_and_returned(
    cell: EmbeddedCell, cluster: SlurmCluster
) -> None:
    job = cluster.submit(node="n1", options=("--no-requeue",))
    cluster.wait_for_job(job, state="RUNNING")
    cell.drill("hung-task", "n1")
    until("n1 is drained by us", lambda: held_by_us(cluster, "n1"))
    assert cell.cli("drill", "agent-killed", "--node", "n1", "--parameter", "stay_dead=true").returncode == 0
    until("n1's agent is lost", lambda: cell.get("/nodes/n1")["presence"] == "lost")
    cluster.run("scancel", job)

    until("slurmd is told to reboot n1", lambda: cluster.reboots("n1") == 1)
    assert held_by_us(cluster, "n1").endswith("/reboot/1) : reboot issued")
    cluster.come_back("n1")
    incident = cell.incident_ended("n1", fault_class="host_reboot")
    assert incident["outcome"] == "returned", cell.story("n1")
    until("n1 is in service again", lambda: cluster.node_state("n1") == "idle")
    told = [f"{entry['text']}: {entry['because']}" for entry in cell.get(f"/incidents/{incident['id']}")["timeline"]]
    for expected in (
        f"Drain goes on: Waits for job {job} (partition gpu, ",
        "Reboot was taken up: Slurm reboots n1, which is ",
        "Reboot done: The node came back with another boot id, ",
    ):
        assert any(text.startswith(expected) for text in told), told


def notices(cell: EmbeddedCell, kind: str) -> str:
    """Return the tickets or pages sent so far."""
    path = cell.state / "controller" / f"{kind}.jsonl"
    return path.read_text() if path.exists() else ""


def held_by_us(cluster: SlurmCluster, node: str) -> str:
    """Return our reason on a node, empty when it is not ours."""
    reason = cluster.node_reason(node)
    return reason if reason.startswith("fleetmend:") else ""
