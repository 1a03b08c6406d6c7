"""What is believed of incidents, of what keeps them waiting, and of the budgets that they go by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from controller.api.plan import waits_for_approval
from controller.metrics import catalogue
from controller.policy.belief import Belief
from controller.policy.budget import size_of
from controller.policy.incident import Incident
from controller.policy.playbook import BREAKER_CLASS
from controller.policy.rules import Limit, Rules
from controller.policy.scopes import FLEET, NODE_KIND, Scope, parse
from controller.policy.silence import frozen_by
from wire.metrics import LabelValues, Values, bounded, known_or_other


def incident_values(belief: Belief, now: float) -> Values:
    """Return what is open, waits and goes on."""
    open_ones = list(belief.open_incidents.values())
    waiting = [(_wait_of(each), now - _since(each)) for each in open_ones if _wait_of(each)]
    longest: dict[LabelValues, float] = {}
    for wait, seconds in waiting:
        longest[(wait,)] = max(longest.get((wait,), 0.0), seconds)
    under_way: Counter[LabelValues] = Counter((each.intent.verb,) for each in open_ones if each.intent is not None)
    return {
        "fleetmend_open_incidents": bounded(Counter(map(_labels, open_ones)), {0: catalogue.MOST_CLASSES}),
        "fleetmend_incidents_waiting": Counter[LabelValues]((wait,) for wait, _ in waiting),
        "fleetmend_incidents_waiting_longest_seconds": longest,
        "fleetmend_steps_under_way": under_way,
        "fleetmend_findings_unanswered": {(): len(belief.unanswered)},
        "fleetmend_findings_left": {(): sum(map(len, belief.left.values()))},
        "fleetmend_lemons": {(): len(belief.lemons)},
    }


def limit_values(belief: Belief, rules: Rules) -> Values:
    """Return what budgets, breakers, pauses and a freeze say."""
    held, limits = _budgets(belief, rules)
    breakers = (each for each in belief.open_on("") if each.fault_class == BREAKER_CLASS)
    return {
        "fleetmend_held_nodes": held,
        "fleetmend_budget_nodes": limits,
        "fleetmend_breakers_open": Counter((parse(each.device).kind,) for each in breakers),
        "fleetmend_pauses": Counter((scope.kind,) for scope in belief.pauses),
        "fleetmend_frozen": {(): float(frozen_by(belief) is not None)},
    }


def notice_values(belief: Belief) -> Values:
    """Return how tickets and pages stand, and which destinations do not take what they are sent."""
    book = belief.notices
    threads = [book.threads[each] for each in book.open_threads]
    standing: Counter[LabelValues] = Counter(
        (each.kind, each.destination, known_or_other(each.state, catalogue.NOTICE_STATES)) for each in threads
    )
    failing: dict[LabelValues, float] = {tuple(name.split(" ", maxsplit=1)): 1.0 for name in book.silent}
    bounds = {1: catalogue.MOST_DESTINATIONS}
    return {
        "fleetmend_notices_open": bounded(standing, bounds),
        "fleetmend_notice_destination_failing": bounded(failing, bounds),
    }


def bench_values(belief: Belief) -> Values:
    """Return what goes on with benchmarks."""
    book = belief.bench
    return {
        "fleetmend_bench_runs_open": {(): len(book.open_runs)},
        "fleetmend_bench_leases": Counter((lease.benchmark,) for lease in book.leases.values()),
        "fleetmend_bench_baselines": {(): len(book.baselines)},
        "fleetmend_bench_shifts": {(): len(book.shifts)},
    }


def _labels(incident: Incident) -> LabelValues:
    state = known_or_other(incident.state, catalogue.INCIDENT_STATES)
    return incident.fault_class, state, known_or_other(incident.playbook.severity, catalogue.SEVERITIES)


def _wait_of(incident: Incident) -> str:
    if waits_for_approval(incident):
        return "approval"
    kind = incident.waiting_for.partition(" of ")[0]
    return known_or_other(kind, catalogue.WAITS) if kind else ""


def _since(incident: Incident) -> float:
    return incident.waiting_since if incident.waiting_for else incident.intent_at


def _budgets(belief: Belief, rules: Rules) -> tuple[dict[LabelValues, float], dict[LabelValues, float]]:
    """Return how many nodes are out of each scope that has a budget, and how many may be; the fullest scopes first."""
    found = {scope: limit for scope in _scopes(belief, rules) if (limit := _limit(belief, rules, scope)) is not None}
    held = {scope: len(belief.ledger.held_in.get(scope, ())) for scope in found}
    fullest = sorted(found, key=lambda scope: (scope != FLEET, found[scope] - held[scope], scope))
    shown = fullest[: catalogue.MOST_SCOPES]
    return {_named(each): held[each] for each in shown}, {_named(each): found[each] for each in shown}


def _scopes(belief: Belief, rules: Rules) -> set[Scope]:
    """Return the fleet, every scope that a budget names, and every other one out of which a node is held."""
    named = {limit.scope for limit in rules.limits if limit.scope.name}
    return {FLEET, *named, *(scope for scope in belief.ledger.held_in if scope.kind != NODE_KIND)}


def _limit(belief: Belief, rules: Rules, scope: Scope) -> int | None:
    """Return how many nodes may be out of a scope, `None` for as many as its other scopes let."""
    covering: Iterator[Limit] = (limit for limit in rules.limits if limit.scope.covers(scope))
    budgets = [limit.budget for limit in covering] + ([rules.budget] if scope == FLEET else [])
    size = size_of(belief, scope)
    return min((budget.limit(size) for budget in budgets), default=None)


def _named(scope: Scope) -> LabelValues:
    return scope.kind, scope.name or scope.kind
