"""The decision: what, if anything, is to be done now. Pure: the same belief, rules and time give the same answer.

A decision is an event that is not yet in the log. Decisions come one by one and the caller applies each before it asks
for the next, so that none is taken on a belief that another one has already changed.
"""

from __future__ import annotations

from collections.abc import Iterator

from controller import events
from controller.policy.advancing import advance, by_priority
from controller.policy.belief import Belief
from controller.policy.benching.admitting import admissions
from controller.policy.benching.scheduling import withdrawn
from controller.policy.benching.settling import benchmarks
from controller.policy.benching.verifying import abandoned
from controller.policy.breakers import settle_breakers
from controller.policy.condemned import condemned
from controller.policy.domains import shared_causes
from controller.policy.incident import Incident
from controller.policy.offenders import offenders
from controller.policy.opening import answer_findings, operator_cordons
from controller.policy.proposals import settle_proposals
from controller.policy.rollout import settle_rollouts
from controller.policy.rules import Rules
from controller.policy.silence import silence
from controller.policy.sweeping.planning import sweeping


def decide(belief: Belief, rules: Rules, now: float) -> Iterator[events.Event]:
    """Yield the next decisions. When nothing is yielded, nothing is left to decide at this moment.

    One pass costs what is open, whatever the number of decisions. It ends early once a node came free: what waits for
    a budget is asked again in order of priority.

    Args:
        belief: must have taken in each decision before the next one is asked for.
        now: Unix seconds on the controller's clock.
    """
    yield from silence(belief, rules, now)
    yield from settle_breakers(belief, rules)
    yield from settle_proposals(belief, now)
    yield from settle_rollouts(belief, rules)
    yield from operator_cordons(belief)
    yield from offenders(belief, now)
    yield from condemned(belief, now)
    yield from admissions(belief, rules, now)
    yield from sweeping(belief, rules, now)
    yield from benchmarks(belief, rules, now)
    yield from shared_causes(belief, rules, now)
    yield from answer_findings(belief, rules, now)
    held = len(belief.held)
    for incident in by_priority(belief.open_incidents.values()):
        yield from _advance(belief, rules, incident, now)
        if len(belief.held) < held:
            return
        held = len(belief.held)
    yield from abandoned(belief)
    yield from withdrawn(belief, now)


def _advance(belief: Belief, rules: Rules, incident: Incident, now: float) -> Iterator[events.Event]:
    while incident.id in belief.open_incidents:
        decision = advance(belief, rules, incident, now)
        if decision is None:
            return
        yield decision
