"""What was done about an incident, what follows and when, and what a person can do now. In words, pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from controller.api.plan import next_of, why_not_abort, why_not_approve
from controller.policy.incident import Incident, Phase, Rung, position_after
from controller.policy.noticing.closings import must_decide
from controller.policy.playbook import (
    BENCH_SHIFT_CLASS,
    BREAKER_CLASS,
    DOMAIN,
    ROLLOUT,
    SLOW_NETWORK,
    SWEEP_STOPPED,
    Step,
    Verb,
)
from controller.policy.silence import FLEET_SILENCE

TELLING = frozenset({Verb.TICKET, Verb.PAGE})
"""Steps that tell people, which is nothing that was done about it."""

_DONE = {
    Verb.CORDON: "taken out of service",
    Verb.DRAIN: "drained",
    Verb.COLLECT: "evidence collected",
    Verb.RESTART_SERVICE: "service restarted",
    Verb.RESET_GPU: "GPU reset",
    Verb.RELOAD_DRIVER: "driver reloaded",
    Verb.REBOOT: "rebooted",
    Verb.POWER_CYCLE: "switched off and on",
    Verb.WAIT: "waited",
    Verb.APPROVE: "a person asked",
    Verb.VERIFY: "verified",
    Verb.PROBATION: "watched idle",
    Verb.UNCORDON: "given back",
}
_OUTCOMES = {
    "done": "done",
    "failed": "did not work",
    "refused": "refused",
    "timed_out": "not over in time",
    "in_doubt": "nobody knows whether it happened",
    "cancelled": "cancelled",
}
_NEXT_OF_FLEET = {
    FLEET_SILENCE.name: "nothing is acted on until agents are heard again. Look at the broker and the network.",
    BREAKER_CLASS: "after the cool-down one node goes first, and how that ends decides. `fleetmend abort {id}` "
    "closes the breaker at once.",
    ROLLOUT: "incidents are answered by the old text. `fleetmend playbook rollout` shows both and can promote or "
    "withdraw the new one; another text in its file is tried anew.",
    DOMAIN: "no node is taken out for it, and it ends when the nodes are well again. `fleetmend abort {id}` has "
    "each node answered by itself.",
    BENCH_SHIFT_CLASS: "while it lasts no node fails by these numbers. It ends when the fleet is back, or when a "
    "person has the baselines learnt anew; `fleetmend abort {id}` ends it at once.",
    SLOW_NETWORK: "no node is taken out for it, and it ends when a later sweep finds its nodes well. `fleetmend "
    "abort {id}` ends it at once.",
    SWEEP_STOPPED: "no node is condemned, and it ends when a later sweep comes to its end. `fleetmend abort "
    "{id}` ends it at once.",
}


def done_of(incident: Incident) -> str:
    """Return what was done, in order, each with how often and how it ended."""
    rungs = list(incident.rungs)
    steps = {step.name: step for step in (*incident.playbook.steps, *incident.playbook.hand_over, *incident.steps())}
    said = []
    for name, count in incident.attempts.items():
        verb = steps[name].verb if name in steps else None
        under_way = incident.intent is not None and incident.intent.step == name
        if verb in TELLING or name in TELLING or under_way:
            continue
        times = f" ×{count}" if count > 1 else ""
        said.append(f"{_words(name, verb)}{times}{_outcome(incident, name, verb, rungs)}")
    failure = f" Last failure: {incident.last_failure}" if incident.last_failure else ""
    return f"{', '.join(said) or 'nothing yet'}.{failure}"


def _words(name: str, verb: Verb | None) -> str:
    return _DONE[verb] if verb in _DONE else name.replace("_", " ")


def _outcome(incident: Incident, name: str, verb: Verb | None, rungs: list[Rung]) -> str:
    """Return how a step ended, where the incident knows. Rungs are used up in their order."""
    if verb is Verb.CORDON and not incident.cordoned:
        return " (not confirmed)"
    if verb is Verb.DRAIN:
        return " (no job left)" if incident.drained else " (jobs are left)"
    if verb is Verb.VERIFY:
        return "" if _is_verified(incident, name) else " (did not pass)"
    own = [rung for rung in rungs if rung.verb == verb]
    if not own:
        return ""
    last = own[-1]
    proof = ", verified" if last.verified else ""
    return f" ({_OUTCOMES.get(last.outcome, last.outcome)}{proof})"


def _is_verified(incident: Incident, name: str) -> bool:
    """Whether fresh readings passed: the steps went on after it, or the last repair is known to have held."""
    passed = {step.name for step in incident.steps()[: incident.position]}
    return name in passed or any(rung.verified for rung in incident.rungs[-1:])


def next_of_page(incident: Incident, at: float) -> str:
    """Return what happens next and when at the latest, in one sentence or two."""
    if not incident.node and not incident.closed_at:
        return _NEXT_OF_FLEET[incident.playbook.name].format(id=incident.id)
    under_way = incident.intent is not None and incident.intent.verb not in TELLING
    to_come = list(_to_come(incident))
    is_told_there = incident.closed_at or incident.stop_asked or incident.closed_there_at or must_decide(incident)
    if is_told_there or (incident.waiting_for and not under_way):
        return next_of(incident, at)
    if under_way:
        return _under_way(incident, to_come, at)
    if to_come:
        return f"{_then(to_come)}."
    return _at_rest(incident)


def _under_way(incident: Incident, to_come: list[Step], at: float) -> str:
    assert incident.intent is not None
    intent = incident.intent
    if intent.verb == Verb.APPROVE:
        return next_of(incident, at)
    ends = incident.ends_by
    if intent.verb in {Verb.WAIT, Verb.PROBATION}:
        ends = incident.intent_at + float(intent.parameters["for_s"])
    then = f", then {_then(to_come)}" if to_come else ""
    waits = f" {incident.progress.because}" if incident.progress is not None and incident.progress.because else ""
    return f"{intent.step.replace('_', ' ')} ends by {clock(ends, at)} at the latest{then}.{waits}"


def _to_come(incident: Incident) -> Iterator[Step]:
    """Yield the steps that follow if all goes well; what tells people is left out."""
    steps, position = incident.steps(), incident.position
    if incident.intent is not None and position < len(steps) and steps[position].name == incident.intent.step:
        position = position_after(steps, position, steps[position].on_success)
    while position < len(steps):
        if steps[position].verb not in TELLING:
            yield steps[position]
        position = position_after(steps, position, steps[position].on_success)


def _then(steps: list[Step]) -> str:
    return ", ".join(step.name.replace("_", " ") for step in steps)


def _at_rest(incident: Incident) -> str:
    if incident.holding and not incident.cordoned:
        return f"whether {incident.node} is out is not known; what may be left of its cordon is undone."
    if incident.holding:
        return (
            f"{incident.node} stays out of service. When it is mended, `fleetmend approve {incident.id}` "
            f"verifies and returns it; `fleetmend uncordon {incident.node}` returns it at once."
        )
    return f"{incident.node} stays in service; fleetmend does nothing more by itself."


def acts_of(incident: Incident) -> dict[str, str]:
    """Return what a person can do now → what comes of it. Each is done on the incident's page, by a button."""
    if incident.closed_at:
        return {}
    acts = {"acknowledge": "you look after it, nobody else is called"}
    if not why_not_approve(incident):
        mended = bool(incident.outcome) and incident.phase is Phase.HAND_OVER
        acts["approve"] = f"{incident.node} is verified and returned" if mended else "the plan goes on"
    if not why_not_abort(incident):
        acts["stop"] = "nothing more is done by itself"
    if incident.holding and incident.node and not incident.stop_asked:
        acts["undo"] = f"{incident.node} is given back at once, unverified"
    return acts


def clock(moment: float, now: float) -> str:
    """Return a moment as `03:12 UTC`, with its date when that is another day's."""
    then, today = datetime.fromtimestamp(moment, UTC), datetime.fromtimestamp(now, UTC)
    return then.strftime("%H:%M UTC" if then.date() == today.date() else "%Y-%m-%d %H:%M UTC")
