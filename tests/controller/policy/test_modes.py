"""How far an incident may go by itself: the settings, the playbook and the node's pools, as a table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller import events
from controller.policy.incident import Incident
from controller.policy.playbook import Mode, Verb
from controller.policy.rules import Budget, Rules
from tests.support.policy import GPU_LOST, GPU_MEMORY, PolicyRun, xid


def opened(file_mode: Mode, modes: dict[str, str], pools: list[str]) -> tuple[PolicyRun, Incident]:
    rules = Rules(
        (replace(GPU_LOST, mode=file_mode), GPU_MEMORY),
        Budget(nodes=2),
        modes={key: Mode(mode) for key, mode in modes.items()},
    )
    run = PolicyRun(rules).nodes("n1")
    run.say(events.NodePlaced("n1", {"pool": pools}))
    run.raise_on("n1", xid("79"))
    return run, run.incident()


@pytest.mark.parametrize(
    ("file_mode", "modes", "pools", "expected", "says"),
    [
        (Mode.ACT, {}, [], Mode.ACT, "its playbook"),
        (Mode.ASK, {}, ["research"], Mode.ASK, "its playbook"),
        (Mode.ACT, {"pool.research": "ask"}, ["research"], Mode.ASK, "setting pool.research"),
        (Mode.ACT, {"pool.research": "ask"}, ["batch"], Mode.ACT, "its playbook"),
        (Mode.SHADOW, {"pool.research": "act"}, ["research"], Mode.SHADOW, "its playbook"),
        (Mode.SHADOW, {"playbook.gpu_lost": "act"}, [], Mode.ACT, "setting playbook.gpu_lost"),
        (Mode.ACT, {"playbook.gpu_memory": "shadow"}, [], Mode.ACT, "its playbook"),
        (
            Mode.ACT,
            {"playbook.gpu_lost": "ask", "pool.research": "shadow"},
            ["research"],
            Mode.SHADOW,
            "setting pool.research",
        ),
        (
            Mode.SHADOW,
            {"playbook.gpu_lost": "shadow", "pool.research": "ask", "gpu_lost@research": "act"},
            ["research"],
            Mode.ACT,
            "setting gpu_lost@research",
        ),
        (Mode.ACT, {"gpu_lost@research": "act", "pool.batch": "ask"}, ["batch"], Mode.ASK, "setting pool.batch"),
        (Mode.ACT, {"pool.a": "ask", "pool.b": "shadow"}, ["a", "b"], Mode.SHADOW, "setting pool.b"),
        (Mode.ACT, {"fleet": "ask"}, [], Mode.ASK, "setting fleet"),
        (Mode.SHADOW, {"fleet": "act"}, [], Mode.SHADOW, "its playbook"),
        (Mode.ASK, {"fleet": "ask", "playbook.gpu_lost": "act"}, [], Mode.ACT, "setting playbook.gpu_lost"),
        (Mode.ACT, {"fleet": "ask", "pool.research": "act"}, ["research"], Mode.ASK, "setting fleet"),
        (Mode.ACT, {"fleet": "shadow", "gpu_lost@a": "act"}, ["a"], Mode.ACT, "setting gpu_lost@a"),
        (Mode.ACT, {"gpu_lost@a": "act", "gpu_lost@b": "ask"}, ["a", "b"], Mode.ASK, "setting gpu_lost@b"),
    ],
)
def test_i10_the_strictest_holds_unless_both_are_named(
    file_mode: Mode, modes: dict[str, str], pools: list[str], expected: Mode, says: str
) -> None:
    run, incident = opened(file_mode, modes, pools)
    assert incident.mode is expected
    (opening,) = [entry.event for entry in run.log if isinstance(entry.event, events.IncidentOpened)]
    assert (opening.mode, opening.reason.inputs["mode"]) == (expected, f"{expected}, says {says}")


@pytest.mark.parametrize(
    ("mode", "verbs", "state"), [("shadow", [], "closed"), ("ask", [], "waiting"), ("act", ["cordon"], "running")]
)
def test_what_a_mode_lets_happen(mode: str, verbs: list[str], state: str) -> None:
    run, incident = opened(Mode.ACT, {"playbook.gpu_lost": mode}, [])
    assert (run.verbs("n1"), incident.state) == (verbs, state)


def test_the_mode_is_fixed_when_the_incident_opens() -> None:
    run, incident = opened(Mode.ACT, {"pool.research": "ask"}, ["research"])
    run.say(events.NodePlaced("n1", {"pool": ["batch"]}))
    run.rules = replace(run.rules, modes={})
    run.wait(3600)
    assert (incident.mode, incident.state, run.verbs("n1")) == (Mode.ASK, "waiting", [])


def test_a_playbook_that_takes_over_brings_its_own_mode() -> None:
    rules = Rules((GPU_LOST, GPU_MEMORY), Budget(nodes=2), modes={"playbook.gpu_lost": Mode.ASK})
    run = PolicyRun(rules).nodes("n1")
    run.raise_on("n1", xid("94"))
    run.end(run.under_way("n1")[0])
    run.raise_on("n1", xid("79"))
    assert (run.incident().playbook.name, run.incident().mode, run.incident().waiting_for) == (
        "gpu_lost",
        Mode.ASK,
        "approval",
    )
    assert run.belief.held == {"n1"}


def test_an_entry_of_an_older_log_goes_by_its_playbook() -> None:
    run = PolicyRun().nodes("n1")
    asking = replace(GPU_LOST, mode=Mode.ASK)
    run.say(events.IncidentOpened("inc-000001", "n1", "GPU-0", "gpu_lost", asking, [xid("79")], events.Reason("so.")))
    assert run.incident().mode is Mode.ASK


def test_a_persons_own_cordon_asks_nobody() -> None:
    rules = Rules((GPU_LOST,), Budget(nodes=2), modes={"pool.research": Mode.SHADOW})
    run = PolicyRun(rules).nodes("n1")
    run.say(events.NodePlaced("n1", {"pool": ["research"]}), events.OperatorActed("cordon", "n1", "kim", ""))
    assert [intent.verb for intent in run.under_way("n1")] == [Verb.CORDON]


@pytest.mark.parametrize(
    ("modes", "expected"),
    [({}, Mode.ASK), ({"playbook.gpu_lost": "act"}, Mode.ACT), ({"pool.a": "shadow"}, Mode.SHADOW)],
)
def test_what_cannot_be_undone_asks_first_unless_a_setting_trusts_it(modes: dict[str, str], expected: Mode) -> None:
    rules = Rules(
        (replace(GPU_LOST, reversible=False),), Budget(nodes=2), modes={key: Mode(mode) for key, mode in modes.items()}
    )
    run = PolicyRun(rules).nodes("n1")
    run.say(events.NodePlaced("n1", {"pool": ["a"]}))
    run.raise_on("n1", xid("79"))
    assert run.incident().mode is expected
