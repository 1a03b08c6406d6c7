"""How long a node is watched after its repair: the longer, the more often its part or itself failed before."""

from __future__ import annotations

from dataclasses import dataclass

from controller.policy.belief import Belief
from controller.policy.history import STRIKE_S
from controller.policy.incident import Incident
from controller.policy.lemon import Score, say_ratio
from controller.policy.offenders import score_of

GROWTH = 2.0
"""Every earlier repair of the part doubles the watch. Source: our choice; each of k incidents raises the hazard
(1.085 to the power of k in the fault model), and a watch must be felt to be one."""

MOST_DOUBLINGS = 4
"""Source: our choice; sixteen times the usual watch, which is a day for a playbook that watches 90 minutes."""

LONGEST_S = 72 * 3600.0
"""No history makes a watch longer than this. Source: the fault model, probation of 24 to 72 h."""


@dataclass(frozen=True, slots=True)
class Watch:
    """How long to watch, and why longer than the playbook says; empty when it is not."""

    for_s: float
    because: str


def watch(base_s: float, *, earlier: int, score: Score) -> Watch:
    """Return how long to watch a node.

    Args:
        base_s: what the playbook says; never less than that.
        earlier: incidents of the part with a repair, before this one and within the window of a second strike.
        score: how the node's failures stand to the fleet's.
    """
    doublings = min(MOST_DOUBLINGS, earlier + score.is_watched)
    for_s = max(base_s, min(LONGEST_S, base_s * GROWTH**doublings))
    reasons = [f"{earlier} earlier {'repair' if earlier == 1 else 'repairs'} of this part"] if earlier else []
    reasons += [f"a node with {say_ratio(score)}"] if score.is_watched else []
    if for_s <= base_s or not reasons:
        return Watch(base_s, "")
    return Watch(for_s, f"Watched for {for_s:.0f} s instead of {base_s:.0f} s, for {' and '.join(reasons)}.")


def earlier_incidents(belief: Belief, incident: Incident, now: float, *, speedup: float) -> int:
    """Return how many repairs the part needed before this one, of any class, within the window of a second strike."""
    past = (each for each in belief.history.of(incident.part) if each.rungs and each.incident_id != incident.id)
    return sum(now - each.ended_at <= STRIKE_S / speedup for each in past)


def watch_of(belief: Belief, incident: Incident, base_s: float, now: float, *, speedup: float) -> Watch:
    """Return how long the incident's node is watched, before any speed-up."""
    earlier = earlier_incidents(belief, incident, now, speedup=speedup)
    return watch(base_s, earlier=earlier, score=score_of(belief, incident.node, now))
