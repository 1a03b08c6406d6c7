"""The decision: what, if anything, is to be done now. Pure: the same belief, rules and time give the same answer.

A decision is an event that is not yet in the log. The caller applies what is returned and asks again until nothing is
left to decide, so that no decision is taken on a belief that another one has already changed.
"""

from __future__ import annotations

from controller import events
from controller.policy.advancing import advance, by_priority
from controller.policy.belief import Belief
from controller.policy.opening import answer_findings, operator_cordons
from controller.policy.rules import Rules
from controller.policy.silence import silence


def decide(belief: Belief, rules: Rules, now: float) -> list[events.Event]:
    """Return the next decisions, empty when there is nothing to decide at this moment.

    Args:
        now: Unix seconds on the controller's clock.
    """
    for rule in (silence(belief, rules, now), operator_cordons(belief), answer_findings(belief, rules, now)):
        first = next(iter(rule), None)
        if first is not None:
            return [first]
    for incident in by_priority(iter(belief.open_incidents.values())):
        decision = advance(belief, rules, incident, now)
        if decision is not None:
            return [decision]
    return []
