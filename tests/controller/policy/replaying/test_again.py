"""A log that is thought about again gives the decisions that are in it, byte for byte (I12)."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from controller import events
from controller.policy.replaying.again import Again, CannotReplay
from controller.policy.replaying.kinds import DECIDED, EITHER
from controller.policy.rules import Budget, Rules
from tests.controller.policy.test_engine_invariants import NODES, more_acts, rules
from tests.controller.policy.test_invariants import Act
from tests.support.policy import AGENT_LOST, GPU_LOST, GPU_MEMORY, PolicyRun, xid

RULES = Rules((GPU_LOST, GPU_MEMORY, AGENT_LOST), Budget(nodes=2))


def begun(by: Rules = RULES) -> PolicyRun:
    run = PolicyRun(by)
    run.say(events.RulesLoaded(by.digest(), "The controller started."))
    return run.nodes(*NODES)


def incident_log(by: Rules = RULES) -> list[events.Logged]:
    """Return the log of one incident, from its finding to the intent to drain."""
    run = begun(by)
    run.now += 1.0
    run.say(events.FindingRaised("n1", "boot-1", xid("79"), run.now))
    run.now += 1.0
    (intent,) = run.under_way()
    run.say(events.StepEnded(intent.incident_id, intent.step, 1, "done", "held", intent.key))
    return run.log


def again(log: list[events.Logged], by: Rules = RULES) -> Again:
    replay = Again(by)
    replay.take_all(log)
    return replay


@settings(max_examples=150, deadline=None)
@given(history=st.lists(more_acts, min_size=1, max_size=40))
def test_every_history_is_decided_again_as_it_was(history: list[Act]) -> None:
    run = begun(rules(GPU_LOST))
    for act in history:
        act(run)
        run.now += 0.01
    stretch = [place for place, entry in enumerate(run.log) if entry.event_id > 1 and _changes_rules(entry)]
    log = run.log[: stretch[0]] if stretch else run.log
    replay = again(log, rules(GPU_LOST))
    assert replay.difference is None
    assert replay.entries == len(log)
    assert replay.decisions >= sum(type(entry.event) in DECIDED for entry in log)


def _changes_rules(entry: events.Logged) -> bool:
    """The acts load other playbooks without the entry that a controller writes then."""
    return isinstance(entry.event, events.PlaybooksTrusted | events.RolloutBegan | events.RolloutSettled)


@settings(max_examples=60, deadline=None)
@given(history=st.lists(more_acts, min_size=1, max_size=25))
def test_the_policy_decides_what_the_table_says_it_does(history: list[Act]) -> None:
    run = begun(rules(GPU_LOST))
    for act in history:
        decided = act(run)
        run.now += 0.01
        for event in decided if isinstance(decided, list) else []:
            assert type(event) in DECIDED | EITHER


def test_a_decision_that_is_another_is_found() -> None:
    log = incident_log()
    (place,) = [n for n, entry in enumerate(log) if isinstance(entry.event, events.IncidentOpened)]
    changed = msgspec.structs.replace(log[place].event, fault_class="something_else")
    log[place] = msgspec.structs.replace(log[place], event=changed)
    found = again(log).difference
    assert found is not None
    assert (found.event_id, found.recorded) == (log[place].event_id, changed)
    assert isinstance(found.decided, events.IncidentOpened)
    assert found.decided.fault_class == "gpu_lost"


def test_a_decision_that_was_not_taken_is_found() -> None:
    log = incident_log()
    (place,) = [n for n, entry in enumerate(log) if isinstance(entry.event, events.IncidentOpened)]
    found = again(log[:place]).difference
    assert found is not None
    assert (found.event_id, found.recorded) == (log[place - 1].event_id, None)
    assert isinstance(found.decided, events.IncidentOpened)


def test_what_other_rules_decided_is_believed_and_held_to_nothing() -> None:
    """A controller that was started anew with other rules is told by the log; from our own rules on it counts again."""
    other = replace(RULES, budget=Budget(nodes=1))
    log = incident_log(other)
    replay = again(log)
    assert replay.difference is None
    assert (replay.decisions, replay.others) == (0, {1: other.digest()})
    assert replay.not_held == sum(type(entry.event) in DECIDED for entry in log)
    run = PolicyRun(RULES, now=log[-1].at, belief=replay.belief, log=log)
    run.now += 1.0
    run.say(events.RulesLoaded(RULES.digest(), "Other rules."))
    run.now += 1.0
    run.say(events.FindingRaised("n2", "boot-1", xid("79"), run.now))
    replay = again(log)
    assert replay.difference is None
    assert replay.decisions > 0


@pytest.mark.parametrize("lost", [1, 3])
def test_a_gap_is_named(lost: int) -> None:
    log = incident_log()
    del log[lost]
    with pytest.raises(CannotReplay, match=f"entry {lost + 2} follows entry {lost}"):
        again(log)


@given(cut=st.integers(1, 40))
@settings(max_examples=30, deadline=None)
def test_a_log_may_end_between_any_two_moments(cut: int) -> None:
    log = incident_log()
    assume(cut < len(log))
    if log[cut].at != log[cut - 1].at:
        assert again(log[:cut]).difference is None
