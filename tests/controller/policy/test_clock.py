"""Somebody sets the controller's clock: what is decided afterwards is what would have been decided without that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.finding import Finding
from controller import events
from controller.events import ClockSet, Logged
from controller.policy.playbook import Mode
from controller.policy.rules import Budget, Rules
from tests.support.policy import AGENT_LOST, GPU_LOST, GPU_MEMORY, PolicyRun, xid

DAY_S = 86_400.0
NODES = ("n1", "n2", "n3", "n4")
RULES = Rules((GPU_LOST, replace(GPU_MEMORY, mode=Mode.ASK), AGENT_LOST), Budget(nodes=3), agent_lost_after_s=30.0)


@dataclass(slots=True)
class Cell(PolicyRun):
    """A cell whose clock is set, and nodes whose clocks are not."""

    ahead_s: float = 0.0

    def set_clock(self, by_s: float) -> None:
        """Have somebody set the clock; the cell says so before it decides by what it shows."""
        self.now, self.ahead_s = self.now + by_s, self.ahead_s + by_s
        self.say(ClockSet(by_s, "so"))

    def find(self, node: str, finding: Finding) -> None:
        """A node finds something, at a moment of its own clock."""
        self.say(events.FindingRaised(node, "boot-1", finding, self.now - self.ahead_s))

    def is_well(self, node: str, finding: Finding) -> None:
        """A node finds it gone."""
        self.now += 0.001
        self.say(events.FindingCleared(node, finding.key, "healthy again", self.now - self.ahead_s))


def cell() -> Cell:
    run = Cell(RULES)
    run.nodes(*NODES)
    return run


def told(entries: list[Logged]) -> list[tuple[str, ...]]:
    """Return what happened, without the moments."""
    shown = [entry.event for entry in entries if not isinstance(entry.event, ClockSet)]
    names = ("node", "incident_id", "step", "verb", "outcome", "for_what", "fault_class")
    return [(events.kind_of(each), *(str(getattr(each, name, "")) for name in names)) for each in shown]


def approve(run: Cell) -> None:
    for incident in run.belief.open_incidents.values():
        run.say(events.OperatorActed("approve", incident.id, "kim", "", incident.plan, run.now + 3_600.0))


def end_all(outcome: str) -> Callable[[Cell], None]:
    def end(run: Cell) -> None:
        for intent in run.under_way():
            run.end(intent, outcome)

    return end


def silence(run: Cell) -> None:
    run.say(events.PresenceChanged("n4", "silent", "nothing was heard"))


STEPS: dict[str, Callable[[Cell], object]] = {
    "n1 loses a GPU": lambda run: run.find("n1", xid("79")),
    "n2 loses a GPU": lambda run: run.find("n2", xid("79")),
    "n3 has bad memory": lambda run: run.find("n3", xid("48")),
    "n4 falls silent": silence,
    "a yes": approve,
    "steps end well": end_all("done"),
    "steps fail": end_all("failed"),
    "n1 reboots": lambda run: run.rebooted("n1"),
    "n1 is well": lambda run: run.is_well("n1", xid("79")),
    "half a minute": lambda run: run.wait(30.0),
    "ten minutes": lambda run: run.wait(600.0),
    "an hour": lambda run: run.wait(3_600.0),
}


@given(
    before=st.lists(st.sampled_from(sorted(STEPS)), max_size=8),
    after=st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=8),
    by_s=st.sampled_from([DAY_S, -DAY_S, 3_600.0, -3_600.0, 11.0, -11.0]),
)
def test_i12_a_clock_that_is_set_changes_no_decision(before: list[str], after: list[str], by_s: float) -> None:
    left, moved = (cell() for _ in range(2))
    for name in before:
        STEPS[name](left)
        STEPS[name](moved)
    moved.set_clock(by_s)
    assert told(moved.log) == told(left.log), "nothing is decided by that alone"
    for name in after:
        STEPS[name](left)
        STEPS[name](moved)
    assert told(moved.log) == told(left.log)


@pytest.mark.parametrize("by_s", [DAY_S, -DAY_S])
def test_i2_a_rate_counts_what_was_taken_out_before_the_clock_was_set(by_s: float) -> None:
    run = cell()
    run.find("n1", xid("79"))
    scope = run.belief.nodes["n1"].scopes[0]
    run.set_clock(by_s)
    assert run.belief.ledger.taken_since(scope, run.now - 60.0) == 1
    run.wait(120.0)
    assert run.belief.ledger.taken_since(scope, run.now - 60.0) == 0


def test_set_forth_and_back_nothing_that_is_open_has_changed() -> None:
    run = cell()
    run.find("n1", xid("79"))
    run.find("n3", xid("48"))
    approve(run)
    incident = run.incident()
    before = (incident.intent, incident.opened_at, dict(incident.approvals), run.belief.nodes["n1"].presence_since)
    run.set_clock(DAY_S)
    assert incident.intent != before[0]
    run.set_clock(-DAY_S)
    after = (incident.intent, incident.opened_at, dict(incident.approvals), run.belief.nodes["n1"].presence_since)
    assert before == after
