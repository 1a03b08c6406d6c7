"""The reading commands: tables for people, JSON and nothing else for programs."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from checks.finding import Action, Finding, Verdict
from cli.exit_codes import ExitCode
from controller.events import FindingRaised, NodePlaced, NodeSeen, OperatorActed, PresenceChanged
from controller.notice_events import NoticeFailed, NoticeFiled
from tests.cli.conftest import Run, ServedCell
from tests.support.open_cell import disk_full, off_the_bus
from wire.messages import NodeFacts

ESCAPE = "\x1b[2J\x1b]0;owned\x07[red]bold[/red]"


@pytest.fixture
def broken(served: ServedCell) -> ServedCell:
    """n2 is being drained for a lost GPU, n3 asks for approval."""
    served.cell.scheduler.jobs["n2"] = ("17",)
    served.do(served.cell.nodes.find("n2", off_the_bus()))
    served.do(served.cell.until_step("n2", "drain"))
    served.do(served.cell.nodes.find("n3", disk_full()))
    served.do(served.cell.until("n3", "waiting"))
    return served


def read(run: Run, *arguments: str) -> Any:
    """Return a command's JSON and insist that there is nothing else."""
    result = run(*arguments, "--json")
    assert (result.returncode, result.stderr) == (0, "")
    return json.loads(result.stdout)


@pytest.mark.usefixtures("broken")
def test_nodes_as_json(run: Run) -> None:
    rows = read(run, "nodes")
    assert [f"n{number}" for number in range(1, 11)] == [row["name"] for row in rows]
    assert {"name", "health", "schedulable", "held_by_us", "findings", "last_seen_s", "places"} == set(rows[0])
    assert (rows[1]["health"], rows[1]["held_by_us"], rows[1]["findings"][0]["code"]) == ("failed", True, "79")
    assert [row["name"] for row in read(run, "nodes", "--unwell")] == ["n2", "n3"]


@pytest.mark.parametrize(
    ("runbook", "shown"),
    [
        ("docs/how-to/respond/gpu_lost.md", "{url}/docs/how-to/respond/gpu_lost.md"),
        ("https://wiki.example/gpu-lost", "https://wiki.example/gpu-lost"),
        ("docs/of-ours.md", "docs/of-ours.md"),
    ],
)
def test_an_incidents_runbook_is_where_it_opens(broken: ServedCell, run: Run, runbook: str, shown: str) -> None:
    incident = broken.cell.cell.belief.incidents["inc-000001"]
    incident.playbook = replace(incident.playbook, runbook=runbook)
    words = run("incident", "inc-000001").stdout
    assert f"runbook {shown.format(url=broken.cell.url)}" in " ".join(words.split())


def test_what_people_were_told_stands_line_by_line(served: ServedCell, run: Run) -> None:
    served.do(served.cell.nodes.find("n3", disk_full()))
    served.do(served.cell.until("n3", "waiting"))
    for name in ("desk", "other"):
        filed = NoticeFiled("inc-000001", "ticket", name, "7", f"https://{name}.example/7", "n3 /", f"k-{name}", "so")
        why = f"{name} is down"
        failed = NoticeFailed("inc-000001", "page", name, "", f"p-{name}", "filed", "retry", why, retry_at=1e9)
        served.do(
            served.cell.tell(filed, failed, OperatorActed("acknowledge", "inc-000001", "kim", f"one\ntwo {name}"))
        )
    words = run("incident", "inc-000001").stdout
    rows = [" ".join(line.split()) for line in words.splitlines()]
    assert "told ticket 7 in desk, acknowledged https://desk.example/7" in rows
    assert "ticket 7 in other, acknowledged https://other.example/7" in rows
    assert "page in other: other is down. Tried again at 2001-09-09 01:46:40 UTC." in rows
    assert any("one two desk" in row for row in rows) and "�" not in words


def test_nodes_of_a_place(served: ServedCell, run: Run) -> None:
    for node in ("n3", "n4"):
        served.do(served.cell.tell(NodePlaced(node, {"leaf": ["leaf-3"], "rack": [ESCAPE]}, "slurm")))
    assert [row["name"] for row in read(run, "nodes", "--in", "leaf=leaf-3")] == ["n3", "n4"]
    assert run("nodes", "--in", "leaf=leaf-9").stdout.strip() == "No node stands in leaf=leaf-9."
    refused = run("nodes", "--in", "leaf-3")
    assert refused.returncode and "'leaf-3' is not a place (in); kind=name, e.g. leaf=leaf-3" in refused.stderr
    shown = run("node", "n3").stdout
    assert "leaf leaf-3 (by Slurm); rack " in " ".join(shown.split())
    assert "\x1b" not in shown and "\x07" not in shown


@pytest.mark.usefixtures("broken")
def test_incidents_as_json(run: Run) -> None:
    rows = read(run, "incidents")
    fields = (
        "id",
        "node",
        "device",
        "fault_class",
        "playbook",
        "state",
        "outcome",
        "opened_at",
        "closed_at",
        "because",
        "acknowledged_by",
    )
    assert [fields, fields] == [tuple(row) for row in rows]
    assert [(row["node"], row["state"], row["outcome"], row["closed_at"]) for row in rows] == [
        ("n3", "waiting", None, None),
        ("n2", "running", None, None),
    ]
    assert read(run, "incidents", "--node", "n2") == rows[1:]
    nowhere = run("incidents", "--node", "nowhere")
    assert (nowhere.returncode, nowhere.stdout) == (ExitCode.NO, "")
    assert nowhere.stderr == (
        "fleetmend: no node is called 'nowhere'; `fleetmend nodes` (GET /api/v1/nodes) lists every node\n"
    )
    assert read(run, "incidents", "--closed") == []


@pytest.mark.usefixtures("broken")
def test_one_node_one_incident_and_the_status_as_json(run: Run) -> None:
    assert read(run, "node", "n2")["held_by"] == "inc-000001"
    assert read(run, "incident", "inc-000001")["next"].startswith("Drain is under way")
    assert read(run, "status")["counts"]["incidents_open"] == 2


@pytest.mark.usefixtures("broken")
def test_tables_for_people(run: Run) -> None:
    assert "■ failed" in run("nodes").stdout and "held out by fleetmend" in run("nodes").stdout
    status = run("status").stdout
    assert "1 node; the budget is 2 nodes" in status and "inc-000002" in status
    node = run("node", "n2").stdout
    assert "gpu.xid 79" in node and "8 × NVIDIA H100 80GB HBM3" in node
    assert "1 in 28 days" in node and "lemon score 0." in node
    assert "failures" not in run("node", "n4").stdout
    incident = run("incident", "inc-000001").stdout
    assert "fleetmend abort inc-000001, fleetmend uncordon n2" in incident
    assert off_the_bus().because in " ".join(incident.split())
    assert run("incidents", "--closed").stdout == "No incident.\n"


def test_checks_of_an_agent_that_is_lost_are_told_as_of_then(served: ServedCell, run: Run) -> None:
    assert "Every check is ok (" in run("node", "n4").stdout
    served.do(served.cell.tell(PresenceChanged("n4", "lost", "the broker lost its connection")))
    assert "when the agent was last heard." in run("node", "n4").stdout


@pytest.mark.usefixtures("broken")
def test_a_table_in_a_pipe_has_a_line_a_row(run: Run) -> None:
    lines = [line for line in run("nodes").stdout.splitlines() if line.startswith(" n")]
    assert len(lines) == 11


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("status", "--check"), ExitCode.NO),
        (("node", "n2", "--check"), ExitCode.NO),
        (("node", "n1", "--check"), ExitCode.DONE),
        (("status",), ExitCode.DONE),
    ],
)
def test_health_is_an_exit_code_when_asked_for(run: Run, arguments: tuple[str, ...], code: int) -> None:
    assert run(*arguments).returncode == code


def test_a_healthy_fleet_passes_the_check(run: Run) -> None:
    assert run("status", "--check", "--json").returncode == ExitCode.DONE


@pytest.mark.parametrize(
    ("arguments", "hint"), [(("node", "n11"), "did you mean"), (("incident", "inc-1"), "no incident is called 'inc-1'")]
)
def test_what_does_not_exist_is_1_with_the_nearest_names(run: Run, arguments: tuple[str, ...], hint: str) -> None:
    result = run(*arguments)
    assert (result.returncode, result.stdout) == (ExitCode.NO, "")
    assert hint in result.stderr


@pytest.mark.parametrize("arguments", [("nodes",), ("node", "bad"), ("incidents",), ("incident", "inc-000001")])
def test_what_a_node_says_cannot_steer_the_terminal(run: Run, served: ServedCell, arguments: tuple[str, ...]) -> None:
    finding = Finding("gpu.xid", ESCAPE, "79", Verdict.FAILED, Action.REBOOT, ESCAPE, ESCAPE, ESCAPE, {"a": ESCAPE})
    served.cell.scheduler.jobs["bad"] = (ESCAPE,)
    served.do(
        served.cell.tell(
            NodeSeen("bad", "b", NodeFacts(False, ESCAPE, ESCAPE, ESCAPE, ESCAPE, 1, ESCAPE)),
            PresenceChanged("bad", "online", ESCAPE),
            FindingRaised("bad", "b", finding, served.cell.clock.now),
        )
    )
    served.do(served.cell.until_step("bad", "drain"))
    result = run(*arguments)
    assert result.returncode == 0, result.stderr
    assert "\x1b" not in result.stdout and "\x07" not in result.stdout
    assert "[red]bold[/red]" in result.stdout.replace("\n", "")
