"""Lemons among the nodes that fleetmend has to do with: found, told to people, and forgiven in time."""

from __future__ import annotations

from collections.abc import Iterator

from controller import events
from controller.policy import lemon
from controller.policy.belief import Belief
from controller.policy.history import DAY_S


def offenders(belief: Belief, now: float) -> Iterator[events.Event]:
    """Yield what is found of nodes with open incidents, and which lemon is none any more."""
    for name in list(belief.open_by_node):
        if name not in belief.nodes or name in belief.lemons:
            continue
        if len(belief.failures.by_node.get(name, ())) < lemon.LEAST_FAILURES:
            continue
        found = score_of(belief, name, now)
        if found.is_lemon:
            node = belief.nodes[name]
            finding = lemon.finding_of(name, node.facts.serial, found)
            yield events.FindingRaised(name, node.boot_id, finding, now, origin="controller")
    yield from _forgiven(belief, now)


def _forgiven(belief: Belief, now: float) -> Iterator[events.Event]:
    for name in list(belief.lemons):
        left = len(belief.failures.of(name, now))
        if left < lemon.LEAST_FAILURES:
            because = f"{left} failures are left in the last {lemon.WINDOW_S / DAY_S:.0f} days."
            yield events.FindingCleared(name, lemon.LEMON_KEY, because, now, origin="controller")


def score_of(belief: Belief, name: str, now: float) -> lemon.Score:
    """Return how a node's rate of failures stands to the fleet's."""
    watched = lemon.exposure(
        known_since=belief.nodes[name].known_since, began_at=belief.began_at, nodes=len(belief.nodes), now=now
    )
    return lemon.score(belief.failures, name, watched, now)
