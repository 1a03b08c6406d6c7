"""I2 while 300 of 1,000 nodes are repaired: the budget holds after every entry of the log, and across a restart."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from controller import events
from controller.policy import folding
from controller.policy.belief import Belief
from controller.policy.decide import decide
from controller.policy.rules import Budget, Limit, Rules
from controller.policy.scopes import Scope
from tests.support.policy import GPU_LOST, GPU_MEMORY, PolicyRun, xid

FLEET = 1_000
FAILING = 300
OUT_AT_ONCE = 50
PER_RACK = 4
NODES_PER_RACK = 20
LIMITED = Rules(
    (GPU_LOST, GPU_MEMORY),
    Budget(nodes=OUT_AT_ONCE),
    limits=(Limit(Scope("rack"), Budget(nodes=PER_RACK)),),
    breakers=(),
    domains=(),
)


@dataclass(slots=True)
class Watched(PolicyRun):
    """Counts the nodes that are out after every single entry of the log."""

    most: int = 0
    most_in_rack: int = 0
    out: dict[int, set[str]] = field(default_factory=dict)

    def believe(self, event: events.Event) -> None:
        PolicyRun.believe(self, event)
        self.most = max(self.most, len(self.belief.held))
        self.most_in_rack = max(self.most_in_rack, self._in_fullest_rack(event))

    def _in_fullest_rack(self, event: events.Event) -> int:
        if not isinstance(event, events.StepIntended) or event.verb != "cordon":
            return 0
        rack = rack_of(event.node)
        return sum(rack_of(node) == rack for node in self.belief.held)


def rack_of(node: str) -> int:
    return int(node[1:]) // NODES_PER_RACK


def fleet(rules: Rules) -> Watched:
    run = Watched(rules)
    for number in range(FLEET):
        run.believe(events.NodePlaced(f"n{number}", {"rack": [f"r{number // NODES_PER_RACK}"]}))
        run.believe(events.PresenceChanged(f"n{number}", "online", "so"))
    return run


def fail(run: Watched, count: int) -> None:
    codes = ("79", "48", "94", "95")
    failed = [events.FindingRaised(f"n{number}", "boot-1", xid(codes[number % 4]), run.now) for number in range(count)]
    run.say(*failed)


def mend_what_is_out(run: Watched) -> None:
    """Let every step that is under way end well."""
    for intent in run.under_way():
        match intent.verb:
            case "reboot":
                run.believe(events.AgentStarted(intent.node, "boot-2", "boot-1", True, "1", run.now + 0.001))
                _clear(run, intent.node)
            case "reset_gpu" | "verify":
                _clear(run, intent.node)
                seen = {check: "ok" for check in intent.parameters.get("checks", "").split(",") if check}
                run.believe(events.OrderEnded(intent.node, intent.key, "done", "so", run.now, run.now, seen))
            case "probation":
                pass
            case _:
                ended = events.StepEnded(intent.incident_id, intent.step, intent.attempt, "done", "so", intent.key)
                run.believe(ended)
    run.now += 61.0
    run.decide()


def _clear(run: Watched, node: str) -> None:
    for raised in list(run.belief.nodes[node].findings.values()):
        run.believe(events.FindingCleared(node, raised.finding.key, "well", run.now))


@pytest.mark.timeout(120)
def test_i2_three_hundred_of_a_thousand_nodes_fail_at_once() -> None:
    run = fleet(LIMITED)
    fail(run, FAILING)
    assert len(run.belief.held) == OUT_AT_ONCE
    rounds = 0
    while run.belief.open_incidents:
        rounds += 1
        assert rounds < 200, f"{len(run.belief.open_incidents)} incidents are left"
        mend_what_is_out(run)
    assert (run.most, run.most_in_rack) == (OUT_AT_ONCE, PER_RACK)
    assert {incident.outcome for incident in run.belief.incidents.values()} == {"returned"}
    assert len(run.belief.incidents) == FAILING


@pytest.mark.timeout(120)
def test_i2_the_budget_holds_for_a_controller_that_starts_anew_in_the_midst_of_it() -> None:
    run = fleet(LIMITED)
    fail(run, FAILING)
    mend_what_is_out(run)
    again = Belief()
    for entry in run.log:
        folding.apply(again, entry)
    assert set(again.held) == set(run.belief.held)
    assert list(decide(again, LIMITED, run.now)) == []
