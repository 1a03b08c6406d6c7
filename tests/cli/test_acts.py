"""The acting commands: what they have done, and with which exit code they are refused."""

from __future__ import annotations

import json

import pytest

from cli.exit_codes import ExitCode
from controller.events import OperatorActed
from controller.policy.scopes import Scope
from tests.cli.conftest import Run, ServedCell
from tests.support.open_cell import disk_full


def acts(served: ServedCell) -> list[OperatorActed]:
    """Return what people did, from the log."""
    log = served.do(served.cell.front.timeline())
    return [entry.event for entry in log if isinstance(entry.event, OperatorActed)]


def test_cordon_and_uncordon_with_name_and_reason(run: Run, served: ServedCell) -> None:
    out = run("cordon", "n4", "--because", "new firmware")
    assert (out.returncode, out.stderr) == (ExitCode.DONE, "")
    assert out.stdout.splitlines() == [
        "n4 is being taken out of service.",
        "Follow it: fleetmend incident inc-000001",
    ]
    assert run("uncordon", "n4").returncode == ExitCode.DONE
    served.do(served.cell.until("n4", "closed"))
    assert acts(served) == [
        OperatorActed("cordon", "n4", "alice", "new firmware"),
        OperatorActed("uncordon", "n4", "alice", ""),
    ]
    assert served.cell.scheduler.held == {}


def test_pause_and_resume_the_fleet_or_a_node(run: Run, served: ServedCell) -> None:
    assert run("pause", "--because", "move").stdout == "the fleet is paused: nothing disruptive is begun.\n"
    assert run("pause", "n2").stdout == "n2 is paused: nothing disruptive is begun.\n"
    assert run("resume").stdout == "the fleet is resumed.\n"
    assert [(act.verb, act.subject) for act in acts(served)] == [
        ("pause", "fleet"),
        ("pause", "n2"),
        ("resume", "fleet"),
    ]
    assert served.cell.cell.belief.pauses == {Scope("node", "n2"): "alice"}


def test_approve_and_abort(run: Run, served: ServedCell) -> None:
    served.cell.scheduler.jobs["n3"] = ("17",)
    served.do(served.cell.nodes.find("n3", disk_full()))
    served.do(served.cell.until("n3", "waiting"))
    assert run("approve", "inc-000001", "--because", "go").stdout.startswith("inc-000001 goes on; steps that begin by ")
    served.do(served.cell.until_step("n3", "drain"))
    assert "n3 stays out" in run("abort", "inc-000001").stdout
    assert served.do(served.cell.until("n3", "aborted")).holding


def test_whoever_acknowledges_an_incident_is_named_with_it(run: Run, served: ServedCell) -> None:
    served.do(served.cell.nodes.find("n3", disk_full()))
    served.do(served.cell.until("n3", "waiting"))
    out = run("acknowledge", "inc-000001", "--because", "on it").stdout
    assert out.startswith("alice looks after inc-000001; nobody else is paged for it.")
    assert "alice looks after inc-000001 since" in run("acknowledge", "inc-000001").stdout
    assert "looked after by  alice" in run("incident", "inc-000001").stdout
    assert acts(served) == [OperatorActed("acknowledge", "inc-000001", "alice", "on it")]


def test_an_act_as_json(run: Run) -> None:
    answer = json.loads(run("pause", "--json").stdout)
    assert set(answer) == {"event_id", "at", "text", "incident_id", "proposal_id"} and answer["event_id"] > 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("cordon", "n99x"), ExitCode.NO),
        (("pause", "n99x"), ExitCode.NO),
        (("approve", "inc-000007"), ExitCode.NO),
        (("cordon", "n1", "--because", "x" * 501), ExitCode.USAGE),
        (("cordon", "n1", "--because", "a\nb"), ExitCode.USAGE),
    ],
)
def test_what_cannot_be_done_is_refused_and_not_recorded(
    run: Run, served: ServedCell, arguments: tuple[str, ...], code: int
) -> None:
    result = run(*arguments)
    assert (result.returncode, result.stdout) == (code, "")
    assert result.stderr.startswith("fleetmend: ") and result.stderr.count("\n") == 1
    assert acts(served) == []


def test_what_the_budget_forbids_is_75(run: Run) -> None:
    for node in ("n1", "n2"):
        assert run("cordon", node).returncode == ExitCode.DONE
    result = run("cordon", "n3")
    assert (result.returncode, result.stdout) == (ExitCode.REFUSED_NOW, "")
    assert "2 nodes are out already and the fleet's budget is 2 nodes;" in result.stderr


def test_an_incident_that_asks_for_nothing_is_75(run: Run) -> None:
    run("cordon", "n1")
    assert run("approve", "inc-000001").returncode == ExitCode.REFUSED_NOW


def test_a_host_name_that_is_not_the_controllers_is_77(run: Run, served: ServedCell) -> None:
    port = served.url.rpartition(":")[2]
    result = run("nodes", "--url", f"http://0.0.0.0:{port}")
    assert (result.returncode, result.stdout) == (ExitCode.FORBIDDEN, "")
