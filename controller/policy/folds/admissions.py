"""Nodes that are new, or have other parts: who is to be measured first, and who was."""

from __future__ import annotations

from checks.bench_outcome import Outcome
from controller import events
from controller.policy.belief import Belief
from controller.policy.benching.book import BenchRun, Due
from controller.policy.benching.outlay import Tried
from controller.policy.node_belief import NodeBelief
from controller.policy.parts import seats
from controller.policy.playbook import ADMISSION, ADMISSION_CLASS
from wire.messages import NodeFacts
from wire.orders import OrderAction

FOUND_S = 3_600.0
"""Nodes that are first heard of so soon after the log began are the fleet that was there, and none of them is new.
Source: our choice; agents say what they are every minute, and a controller is set up within an hour."""

DEPARTED_KEPT = 20_000
"""Source: our choice, as for parts that have a history; the part that left first is forgotten."""

SPEAKS_AGAINST = frozenset({Outcome.FAIL, Outcome.ERROR})


def seen(belief: Belief, node: NodeBelief, event: events.NodeSeen, at: float) -> None:
    """Compare what a node says of itself with what it said before; must come before that is replaced."""
    if node.facts.devices == event.facts.devices and node.facts.serial == event.facts.serial and node.boot_id:
        return
    because = _news(belief, node, event.facts, at)
    if because and event.facts.gpu_count and OrderAction.BENCH in event.facts.orders_allowed:
        belief.bench.due[node.name] = Due(because, at)


def _news(belief: Belief, node: NodeBelief, facts: NodeFacts, at: float) -> str:
    """Return why a node is to be measured before others, empty when it is what it was."""
    if not node.boot_id:
        is_found = at - belief.began_at <= FOUND_S
        return "" if is_found else f"{node.name} was never seen before."
    if node.facts.serial and facts.serial and node.facts.serial != facts.serial:
        return f"{node.name} is another machine: its serial number was {node.facts.serial}, and is {facts.serial}."
    new = sorted(_changed_parts(belief, node, facts))
    if not new or not node.facts.gpu_count:
        return ""
    return f"{node.name} has other parts: {', '.join(new[:8])}{' and more' if len(new) > 8 else ''}."


def _changed_parts(belief: Belief, node: NodeBelief, facts: NodeFacts) -> set[str]:
    """Return the parts that were never in this node, and keep those that left it."""
    before, after = ({seat.serial for seat in seats(each)} for each in (node.facts, facts))
    departed = belief.bench.departed
    back = {serial for serial in after - before if departed.get(serial) == node.name}
    for serial in sorted(back):
        del departed[serial]
    departed.update(dict.fromkeys(sorted(before - after), node.name))
    while len(departed) > DEPARTED_KEPT:
        del departed[next(iter(departed))]
    return after - before - back


def run_ended(belief: Belief, run: BenchRun, at: float) -> None:
    """Take in what a run says of who is still to be measured."""
    counts = belief.bench.outlay.end(run.run_id, at)
    for node in run.nodes:
        outcomes = set(run.outcomes.get(node, {}).values())
        passed = Outcome.PASS in outcomes and outcomes.isdisjoint(SPEAKS_AGAINST)
        if passed and _is_for_admission(belief, run):
            _admit(belief, node, run)
        if passed:
            belief.bench.outlay.tried.pop(node, None)
        elif counts:
            before = belief.bench.outlay.tried.get(node)
            belief.bench.outlay.tried[node] = Tried(at, (before.vain if before is not None else 0) + 1)


def _is_for_admission(belief: Belief, run: BenchRun) -> bool:
    """Return whether a run has all that a new node is measured with: others may have asked for less."""
    incident = belief.incidents.get(run.incident_id)
    return run.purpose == "admission" or (incident is not None and incident.fault_class == ADMISSION_CLASS)


def _admit(belief: Belief, node: str, run: BenchRun) -> None:
    due = belief.bench.due.get(node)
    if due is None:
        return
    if ADMISSION in belief.nodes[node].findings:
        due.admitted = f"Benchmarks passed: {', '.join(sorted(run.outcomes[node]))}."
    else:
        del belief.bench.due[node]
