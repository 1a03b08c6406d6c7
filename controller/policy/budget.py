"""The disruption budget (I2): may one more node be out?"""

from __future__ import annotations

from controller.events import Reason
from controller.policy.belief import Belief
from controller.policy.rules import Rules


def over_budget(belief: Belief, rules: Rules, node: str) -> Reason | None:
    """Return why taking `node` out would break the budget, `None` when it would not.

    A node that is held already costs nothing more.
    """
    held = belief.held
    if node in held:
        return None
    fleet = len(belief.nodes)
    limit = rules.budget.limit(fleet)
    if len(held) < limit:
        return None
    return Reason(
        f"Waiting: {nodes_out(len(held))} out already and the fleet's budget is {rules.budget.text(fleet)}.",
        {"held": ", ".join(sorted(held)), "limit": str(limit), "fleet": str(fleet)},
        "one of the held nodes returns, or the budget is raised",
    )


def nodes_out(count: int) -> str:
    """Return a number of nodes as the beginning of a sentence."""
    return "1 node is" if count == 1 else f"{count} nodes are"
