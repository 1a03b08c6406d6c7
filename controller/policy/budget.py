"""The disruption budget (I2): may one more node be out, in every scope that it is in?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from controller.events import Reason
from controller.policy.belief import Belief
from controller.policy.incident import Incident
from controller.policy.playbook import Playbook
from controller.policy.rules import Budget, Limit, Rules
from controller.policy.scopes import FLEET, KINDS_OF_INCIDENTS, PLAYBOOK_KIND, Scope

HELD_NAMED = 20
"""So many of the held nodes are named in a reason; of more, the number says enough."""


def over_budget(
    belief: Belief, rules: Rules, node: str, incident: Incident | None = None
) -> tuple[Scope, Reason] | None:
    """Return the scope that is full and why taking `node` out would break its budget, `None` when it would not.

    A node that is held already costs nothing more.

    Args:
        incident: on whose account; `None` for a person's own wish.
    """
    if node in belief.held:
        return None
    for scope in belief.scopes_of(node, [incident] if incident is not None else []):
        for limit in _limits_on(rules, scope, incident.playbook if incident is not None else None):
            held = belief.ledger.held_in.get(scope, set())
            if len(held) >= limit.budget.limit(size_of(belief, scope)):
                return scope, _full(belief, scope, limit, held)
    return None


def _limits_on(rules: Rules, scope: Scope, playbook: Playbook | None) -> Iterator[Limit]:
    if scope == FLEET:
        yield Limit(FLEET, rules.budget)
    if playbook is not None and scope.kind == PLAYBOOK_KIND and playbook.max_at_once:
        yield Limit(scope, Budget(nodes=playbook.max_at_once), f"the playbook {playbook.name} says so")
    yield from (limit for limit in rules.limits if limit.scope.covers(scope))


def size_of(belief: Belief, scope: Scope) -> int:
    """Return how many nodes a scope has, which a share is counted of."""
    if scope == FLEET or scope.kind in KINDS_OF_INCIDENTS:
        return len(belief.nodes)
    return len(belief.residents.get((scope.kind, scope.name), ()))


def _full(belief: Belief, scope: Scope, limit: Limit, held: Iterable[str]) -> Reason:
    nodes, size = sorted(held), size_of(belief, scope)
    owner = "the fleet's budget" if scope == FLEET else f"the budget of {scope.words}"
    more = f", and {len(nodes) - HELD_NAMED} more" if len(nodes) > HELD_NAMED else ""
    because = f" ({limit.because})" if limit.because else ""
    return Reason(
        f"Waiting: {nodes_out(len(nodes))} out already and {owner} is {limit.budget.text(size)}{because}.",
        {
            "scope": str(scope),
            "held": ", ".join(nodes[:HELD_NAMED]) + more,
            "limit": str(limit.budget.limit(size)),
            "nodes": str(size),
        },
        "one of the held nodes returns, or the budget is raised",
    )


def nodes_out(count: int) -> str:
    """Return a number of nodes as the beginning of a sentence."""
    return "1 node is" if count == 1 else f"{count} nodes are"
