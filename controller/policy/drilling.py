"""Whether a fault may be injected into a node."""

from __future__ import annotations

from controller.policy.node_belief import NodeBelief
from wire.orders import OrderAction


def why_no_drill(node: NodeBelief) -> str:
    """Return why no fault can be injected now, empty when one can; a node that tells no orders of its own is asked."""
    if node.presence != "online":
        return f"{node.name} is {node.presence}, so no fault can be injected"
    if node.facts.orders_allowed and OrderAction.INJECT_FAULT not in node.facts.orders_allowed:
        return f"{node.name} does not take part in drills: inject_fault is not among its orders_allowed"
    return ""
