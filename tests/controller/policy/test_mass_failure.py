"""A third of the nodes fail at once: every budget holds at every instant, and all are served in the end."""

from __future__ import annotations

import random
from dataclasses import replace

from controller import events
from controller.policy.playbook import BREAKER_CLASS, Answers
from controller.policy.rules import Budget, Limit, Rules
from controller.policy.scopes import FLEET, Scope
from tests.support.policy import GPU_LOST, PolicyRun, steps, xid

NODES = 500
FAILING = 150
QUICK = replace(GPU_LOST, steps=steps(*(step.verb for step in GPU_LOST.steps if step.name != "reboot")))
OTHER = replace(
    QUICK, name="pcie", fault_class="pcie", precedence=20, answers=(Answers("gpu.pcie"),), severity="warning"
)
LIMITS = (Limit(Scope("rack"), Budget(nodes=1)), Limit(Scope("pool", "p0"), Budget(percent=2.0)))


def fleet(rules: Rules) -> PolicyRun:
    run = PolicyRun(rules)
    for i in range(NODES):
        run.believe(events.NodePlaced(f"n{i}", {"rack": [f"r{i // 16}"], "pool": [f"p{i % 3}"]}))
        run.believe(events.PresenceChanged(f"n{i}", "online", "the agent connected"))
    return run


def within_limits(run: PolicyRun, fleet_limit: int) -> bool:
    held = run.belief.ledger.held_in
    racks = all(len(nodes) <= 1 for scope, nodes in held.items() if scope.kind == "rack")
    return racks and len(held.get(FLEET, ())) <= fleet_limit and len(held.get(Scope("pool", "p0"), ())) <= 3


def fail_together(run: PolicyRun) -> list[str]:
    """Let nodes all over the fleet fail, some with one check and some with another."""
    dice = random.Random(1)
    names = [f"n{i}" for i in dice.sample(range(NODES), FAILING)]
    for position, name in enumerate(names):
        finding = xid("79") if position % 2 else replace(xid("79"), check="gpu.pcie", code="width")
        run.believe(events.FindingRaised(name, "boot-1", finding, run.now))
    return names


def test_i2_every_budget_holds_at_every_instant_and_all_are_served() -> None:
    rules = Rules((QUICK, OTHER), Budget(nodes=20), limits=LIMITS, breakers=(), domains=())
    run = fleet(rules)
    fail_together(run)
    run.decide()
    order: list[str] = []
    while under_way := run.under_way():
        assert within_limits(run, 20)
        intent = under_way[0]
        node = run.belief.nodes[intent.node]
        if intent.verb == "cordon":
            order.append(run.belief.incidents[intent.incident_id].playbook.severity)
        if intent.verb == "drain":
            for raised in list(node.findings.values()):
                run.clear_on(intent.node, raised.finding)
        if intent.verb == "probation":
            run.wait(61.0)
        elif intent.verb == "verify":
            run.order_ended(intent)
        else:
            run.end(intent)
    assert {incident.outcome for incident in run.belief.incidents.values()} == {"returned"}
    assert (len(run.belief.incidents), len(run.belief.held)) == (FAILING, 0)
    assert order[:20] == ["critical"] * 20, "the most severe go first"


def test_breakers_stop_it_and_tell_people_once_each() -> None:
    run = fleet(Rules((QUICK, OTHER), Budget(percent=50.0), domains=()))
    fail_together(run)
    run.decide()
    breakers = [i for i in run.belief.open_on("") if i.fault_class == BREAKER_CLASS]
    assert {i.device for i in breakers} == {"check=gpu.xid", "check=gpu.pcie"}
    assert len(run.belief.held) == 20, "2 % of the fleet by each check"
    assert [i.verb for i in run.under_way() if not i.node] == ["page", "page"]


def test_i11_what_fails_on_a_third_of_the_fleet_is_suspected_before_the_nodes() -> None:
    run = fleet(Rules((QUICK, OTHER), Budget(percent=50.0)))
    run.say(*(events.FindingRaised(f"n{i}", "boot-1", xid("79"), run.now) for i in range(0, NODES, 3)))
    assert (len(run.belief.held), [i.device for i in run.belief.open_on("")]) == (0, ["check=gpu.xid"])
