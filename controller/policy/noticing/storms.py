"""What a page says that stands for many: how many incidents, of what, and where."""

from __future__ import annotations

from collections import Counter

from controller.policy.belief import Belief
from controller.policy.incident import Incident
from controller.policy.noticing.book import Thread
from controller.policy.places import places_of
from controller.policy.scopes import Scope

NODES_NAMED = 20
"""So many nodes are named; a list of all of a storm is read by nobody. Source: our choice."""

_TOLD = ("leaf", "rack", "nvlink_domain", "pdu", "row", "site")


def storm_news(belief: Belief, thread: Thread) -> str:
    """Return how a group stands now."""
    incidents = [belief.incidents[each] for each in thread.incidents if each in belief.incidents]
    closed = sum(1 for outcome in thread.incidents.values() if outcome)
    over = f" {closed} of them are over." if closed else ""
    return f"{len(thread.incidents)} incidents now: {how_many(incidents)}{where(belief, incidents)}.{over}"


def how_many(incidents: list[Incident]) -> str:
    """Return what broke, most frequent first: `57 × gpu_lost, 2 × nvlink`."""
    counted = Counter(incident.fault_class for incident in incidents)
    return ", ".join(f"{count} × {fault_class}" for fault_class, count in counted.most_common())


def where(belief: Belief, incidents: list[Incident]) -> str:
    """Return where they are: the places that all of them share, and the first nodes."""
    nodes = list(dict.fromkeys(incident.node for incident in incidents if incident.node))
    if not nodes:
        return ""
    shared = [scope.words for scope in shared_places(belief, nodes)]
    behind = f", all of them in {' and '.join(shared)}" if shared and len(nodes) > 1 else ""
    more = f" and {len(nodes) - NODES_NAMED} more" if len(nodes) > NODES_NAMED else ""
    return f"{behind}, on {', '.join(nodes[:NODES_NAMED])}{more}"


def shared_places(belief: Belief, nodes: list[str]) -> list[Scope]:
    """Return the places that every one of these nodes is in."""
    each = [
        {Scope(kind, name) for kind, names in places_of(belief.nodes[node]).items() for name in names}
        for node in nodes
        if node in belief.nodes
    ]
    common = set.intersection(*each) if each else set()
    return sorted((s for s in common if s.kind in _TOLD), key=lambda scope: (_TOLD.index(scope.kind), scope.name))
