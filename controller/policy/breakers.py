"""Breakers: too many nodes taken out of one scope within a window stop the taking, until one canary came to its end.

An open breaker is an open incident of the whole fleet: it pages once, a person reads why and ends it by aborting it,
and it survives whatever the log survives. When its steps are over it is half open: the first that asks may go on.
"""

from __future__ import annotations

from collections.abc import Iterator

from controller import events
from controller.events import Reason
from controller.policy.belief import Belief
from controller.policy.budget import size_of
from controller.policy.fleet_incident import opened
from controller.policy.incident import Incident
from controller.policy.playbook import BREAKER_CLASS, Playbook, Step, Verb
from controller.policy.rules import BreakerRule, Rules
from controller.policy.scopes import Scope, parse

NEVER_WRONG = frozenset({"returned", "handed_over"})
"""How a canary ends that had a fault to mend: the repair was verified, or people have the node."""


def breaker_playbook(rule: BreakerRule) -> Playbook:
    """Return what an open breaker does: it tells people, and waits."""
    return Playbook(
        name=BREAKER_CLASS,
        summary="Too many nodes were taken out in a short time: no more are, until one canary has come to its end.",
        fault_class=BREAKER_CLASS,
        severity="critical",
        precedence=0,
        answers=(),
        steps=(
            Step("page", Verb.PAGE, 300.0, on_failure="wait", attempts=3, parameters={"severity": "critical"}),
            Step("wait", Verb.WAIT, limit_s=rule.cooldown_s + 60.0, parameters={"for_s": f"{rule.cooldown_s:g}"}),
        ),
        hand_over=(),
        drain_needed=False,
    )


def tripped(belief: Belief, rules: Rules, incident: Incident, now: float) -> events.IncidentOpened | None:
    """Return the breaker that opens because this incident asks for one node too many, `None` when none does."""
    if incident.node in belief.held:
        return None
    for scope in belief.scopes_of(incident.node, [incident]):
        for rule in (rule for rule in rules.breakers if rule.scope.covers(scope)):
            count = belief.ledger.taken_since(scope, now - rule.window_s)
            if count >= rule.limit(size_of(belief, scope)) and open_breaker(belief, scope) is None:
                return _open(belief, scope, rule, count)
    return None


def _open(belief: Belief, scope: Scope, rule: BreakerRule, count: int) -> events.IncidentOpened:
    because, limit = (f": {rule.because}" if rule.because else ""), rule.limit(size_of(belief, scope))
    reason = Reason(
        f"The breaker of {scope.words} opened: {'1 node was' if count == 1 else f'{count} nodes were'} taken out "
        f"within {rule.window_s / 60:g} minutes{because}.",
        {
            "scope": str(scope),
            "taken_out": str(count),
            "limit": str(limit),
            "window_s": f"{rule.window_s:g}",
            "cooldown_s": f"{rule.cooldown_s:g}",
        },
        f"fewer than {limit} nodes had been taken out in that time",
    )
    return opened(belief, str(scope), fault_class=BREAKER_CLASS, playbook=breaker_playbook(rule), reason=reason)


def open_breaker(belief: Belief, scope: Scope) -> Incident | None:
    """Return the incident that an open breaker of this scope is, `None` when it is closed."""
    return next((i for i in belief.open_on("") if i.fault_class == BREAKER_CLASS and i.device == str(scope)), None)


def stopped_by_breaker(belief: Belief, incident: Incident) -> tuple[Scope, Reason] | None:
    """Return the open breaker that keeps this incident's node in service, `None` when it may go."""
    if incident.node in belief.held:
        return None
    for scope in belief.scopes_of(incident.node, [incident]):
        breaker = open_breaker(belief, scope)
        if breaker is not None and (breaker.step() is not None or breaker.canary):
            return scope, _why_stopped(breaker, scope)
    return None


def _why_stopped(breaker: Incident, scope: Scope) -> Reason:
    return Reason(
        f"Waiting: the breaker of {scope.words} is open ({breaker.id}); after its cool-down one node goes first, and "
        "how that ends decides.",
        {"breaker": breaker.id, "scope": str(scope), "because": breaker.because},
        f"a person ends the breaker by `fleetmend abort {breaker.id}`",
    )


def settle_breakers(belief: Belief, rules: Rules) -> Iterator[events.Event]:
    """Yield what the end of a canary means: the breaker closes, or opens once more."""
    for breaker in belief.open_on(""):
        if breaker.fault_class != BREAKER_CLASS or not breaker.canary_outcome:
            continue
        scope = parse(breaker.device)
        well = breaker.canary_outcome in NEVER_WRONG
        yield events.IncidentClosed(breaker.id, "recovered" if well else "canary_failed", _verdict(breaker, scope))
        rule = next((rule for rule in rules.breakers if rule.scope.covers(scope)), None)
        if not well and rule is not None:
            yield _reopen(belief, scope, rule, breaker)


def _verdict(breaker: Incident, scope: Scope) -> Reason:
    how = breaker.canary_outcome.replace("_", " ")
    if breaker.canary_outcome in NEVER_WRONG:
        return Reason(f"The canary {breaker.canary} ended {how}: it had a fault, so {scope.words} goes on.")
    return Reason(f"The canary {breaker.canary} ended {how}: nothing was there to mend.")


def _reopen(belief: Belief, scope: Scope, rule: BreakerRule, breaker: Incident) -> events.IncidentOpened:
    reason = Reason(
        f"The breaker of {scope.words} opened again: its canary {breaker.canary} had nothing to mend "
        f"(it ended {breaker.canary_outcome.replace('_', ' ')}).",
        {"scope": str(scope), "before": breaker.id, "cooldown_s": f"{rule.cooldown_s:g}"},
        "the canary had been mended, or handed to people",
    )
    return opened(belief, str(scope), fault_class=BREAKER_CLASS, playbook=breaker_playbook(rule), reason=reason)
