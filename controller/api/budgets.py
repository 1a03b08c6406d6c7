"""What holds plans back: budgets, breakers, pauses and freezes, and who waits. Costs what is out, not what exists."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from controller.api import plan, rows
from controller.api.call import Call
from controller.api.moments import duration, iso_or_none
from controller.api.ops_shapes import BreakerRow, BudgetRow, BudgetsShown, FreezeRow, PauseRow, WaitingRow
from controller.policy.belief import Belief
from controller.policy.breakers import open_breaker
from controller.policy.budget import HELD_NAMED, size_of
from controller.policy.freezes import describe, in_force
from controller.policy.incident import Incident
from controller.policy.rules import BreakerRule, Budget, Limit, Rules
from controller.policy.scopes import FLEET, PLAYBOOK_KIND, Scope

MOST_WAITING = 200


async def budgets(call: Call) -> BudgetsShown:
    """Return all that holds plans back now."""
    return budgets_shown(call.cell.belief, call.cell.rules, call.cell.now())


def budgets_shown(belief: Belief, rules: Rules, now: float) -> BudgetsShown:
    """Return what the budgets' page shows."""
    waiting = [incident for incident in belief.open_incidents.values() if incident.waiting_for]
    return BudgetsShown(
        list(_budgets(belief, rules)),
        list(_breakers(belief, rules, now)),
        [PauseRow(str(scope), by) for scope, by in sorted(belief.pauses.items())],
        [FreezeRow(str(f.scope), f.because, describe(f), in_force(f, now)) for f in rules.freezes],
        [_waiting(incident, now) for incident in islice(waiting, MOST_WAITING)],
        max(0, len(waiting) - MOST_WAITING),
    )


def _budgets(belief: Belief, rules: Rules) -> Iterator[BudgetRow]:
    """Yield the fleet's budget, then those of named scopes and those in which a node is out, full ones first."""
    yield _budget(belief, FLEET, Limit(FLEET, rules.budget))
    found = [_budget(belief, scope, limit) for limit in rules.limits for scope in _in_use(belief, limit.scope)]
    for book in rules.playbooks:
        scope = Scope(PLAYBOOK_KIND, book.name)
        if book.max_at_once and belief.ledger.held_in.get(scope):
            because = f"the playbook {book.name} says so"
            found.append(_budget(belief, scope, Limit(scope, Budget(nodes=book.max_at_once), because)))
    yield from sorted(found, key=lambda row: (row.out < row.limit, -row.out, row.scope))


def _in_use(belief: Belief, rule: Scope) -> Iterator[Scope]:
    if rule.name:
        yield rule
    else:
        yield from (scope for scope in belief.ledger.held_in if rule.covers(scope))


def _budget(belief: Belief, scope: Scope, limit: Limit) -> BudgetRow:
    held, size = sorted(belief.ledger.held_in.get(scope, ())), size_of(belief, scope)
    text = limit.budget.text(size)
    return BudgetRow(str(scope), limit.budget.limit(size), text, len(held), size, held[:HELD_NAMED], limit.because)


def _breakers(belief: Belief, rules: Rules, now: float) -> Iterator[BreakerRow]:
    """Yield the breakers of which something is to be told: open ones first, then those that count something."""
    found = [_breaker(belief, scope, rule, now) for rule in rules.breakers for scope in _counting(belief, rule)]
    yield from sorted(found, key=lambda row: (row.state == "closed", -row.taken / max(1, row.limit), row.scope))


def _counting(belief: Belief, rule: BreakerRule) -> list[Scope]:
    named = [rule.scope] if rule.scope.name or rule.scope == FLEET else []
    counted = {scope for scope in belief.ledger.taken if rule.scope.covers(scope)}
    return sorted({*named, *counted})


def _breaker(belief: Belief, scope: Scope, rule: BreakerRule, now: float) -> BreakerRow:
    incident = open_breaker(belief, scope)
    state = "closed" if incident is None else "open" if incident.step() is not None else "half_open"
    return BreakerRow(
        str(scope),
        state,
        belief.ledger.taken_since(scope, now - rule.window_s),
        rule.limit(size_of(belief, scope)),
        rule.window_s,
        rule.cooldown_s,
        incident.id if incident is not None else None,
        incident.canary if incident is not None else "",
        incident.because if incident is not None else rule.because,
        _closes(incident, rule),
    )


def _closes(incident: Incident | None, rule: BreakerRule) -> str:
    if incident is None:
        return ""
    if incident.canary:
        return f"It closes when {incident.canary}, which goes first, ends well."
    if incident.step() is None:
        return "The next incident that asks goes first, and how that ends decides."
    return f"After a cool-down of {duration(rule.cooldown_s)} one incident goes first, and how that ends decides."


def _waiting(incident: Incident, now: float) -> WaitingRow:
    since = iso_or_none(incident.waiting_since)
    return WaitingRow(rows.incident_row(incident), incident.waiting_for, since, plan.next_of(incident, now))
