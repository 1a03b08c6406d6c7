"""Who else can say whether a silent node lives, and what each of their words is worth (I1).

The scheduler: its daemon on the node does not answer, or does. The BMC: the node has no power. Peers: other nodes that
tried to reach its host. Who cannot be asked says nothing, and two who contradict each other confirm nothing.

One peer that reaches the host proves that it lives, and no other word makes it lost then. That peers do not reach it
proves less: a firewall or a cable between them looks the same. Their word alone confirms a loss only when two of them,
which reach each other, both fail, when the broker told by Last Will that the connection is gone, and when neither the
scheduler nor the BMC says anything that speaks for the node. Pure.
"""

from __future__ import annotations

from typing import Final

from controller.policy.node_belief import NodeBelief

SCHEDULER, BMC, PEERS = "scheduler", "bmc", "peers"
BY: Final = "confirmed_by"

ENOUGH_PEERS: Final = 2
"""Source: our choice; one that fails cannot be told from its own trouble, two that reach each other can."""


def lost_by(node: NodeBelief) -> str:
    """Return who else says that a silent node is lost, empty when nobody does."""
    if node.reached_by:
        return ""
    if node.responding is not None:
        return "" if node.responding else SCHEDULER
    if node.power == "off":
        return BMC
    return PEERS if _peers_agree(node) else ""


def _peers_agree(node: NodeBelief) -> bool:
    return node.presence == "lost" and len(node.unreached_by) >= ENOUGH_PEERS and node.power != "on"


def why_lost(node: NodeBelief) -> str:
    """Return what the one says who confirms that a node is lost."""
    match lost_by(node):
        case "bmc":
            return "its BMC says that it has no power"
        case "peers":
            names = " and ".join(node.unreached_by)
            return f"{names} do not reach its host, though they reach each other"
        case _:
            power = {"on": "; its BMC says that it has power", "off": "; its BMC says that it has no power"}
            daemon = "the scheduler's own daemon on it does not answer either"
            return f"{daemon}{power.get(node.power, '')}"


def what_else(node: NodeBelief) -> str:
    """Return what is known of a silent node that nobody confirmed lost."""
    if node.reached_by:
        return f"{', '.join(node.reached_by)} can reach its host, so the node lives{_though(node)}"
    if node.responding and node.power == "off":
        return "the scheduler's daemon on it answers, and its BMC says that it has no power: one of the two is wrong"
    if node.responding:
        return "the scheduler's daemon on it answers, so the node lives"
    if node.power == "on":
        return "its BMC says that it has power, and the node itself may well be healthy"
    return "the node itself may well be healthy"


def _though(node: NodeBelief) -> str:
    daemon = "the scheduler's daemon on it does not answer" if node.responding is False else ""
    power = "its BMC says that it has no power" if node.power == "off" else ""
    against = " and ".join(filter(None, (daemon, power)))
    return f", though {against}" if against else ""


def why_alive(node: NodeBelief, *, confirmed_by: str) -> str:
    """Return who says that a node lives after all, empty when nobody does: who cannot be asked takes nothing back.

    Args:
        confirmed_by: on whose word it was called lost; power takes nothing back that the scheduler said.
    """
    if node.reached_by:
        return f"{', '.join(node.reached_by)} can reach its host."
    if node.responding is True:
        return "The scheduler's daemon on it answers again."
    if node.power != "on" or lost_by(node):
        return ""
    return {BMC: "Its BMC says that it has power again.", PEERS: "Its BMC says that it has power."}.get(
        confirmed_by, ""
    )
