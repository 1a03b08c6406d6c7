"""How a step that is under way ends, as far as belief alone can tell.

Scheduler calls, tickets and pages are ended by the engine, which made them. Orders, waits and verifications are judged
here, from what the node said since: a reboot is believed when the boot id changed, a repair when fresh readings say so.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from checks.finding import Finding
from controller import events
from controller.policy.approvals import approval_for, asked
from controller.policy.belief import Belief
from controller.policy.benching.verifying import Ending, late, measured
from controller.policy.incident import Incident
from controller.policy.node_belief import NodeBelief
from controller.policy.opening import recurred, standing
from controller.policy.playbook import BENCH_CHECKS, MEASURED_CHECKS, OWN_CHECKS, RESTARTS, Verb
from controller.policy.rebooting import restarted, same_boot


def conclude(belief: Belief, incident: Incident, now: float) -> events.StepEnded | None:
    """Return how the incident's current step ended, `None` while it goes on."""
    intent = incident.intent
    if intent is None:
        return None
    verdict = _JUDGES.get(Verb(intent.verb), _never)(belief, incident, now)
    if verdict is None and now >= incident.ends_by and intent.verb in _JUDGES:
        verdict = _late(belief, incident, now)
    if verdict is None:
        return None
    ending = Ending(*verdict)
    return events.StepEnded(
        incident.id,
        intent.step,
        intent.attempt,
        ending.outcome,
        ending.because,
        intent.key,
        permanent=ending.permanent,
        hands_over=ending.hands_over,
    )


def _late(belief: Belief, incident: Incident, now: float) -> Ending | tuple[str, str]:
    unmeasured = late(belief, incident)
    if unmeasured is not None:
        return unmeasured
    progress = incident.progress
    if progress is not None and progress.state == "in_doubt":
        return "in_doubt", f"{progress.because} The node did not show it within the step's time."
    return "timed_out", _why_late(belief, incident, now)


def _why_late(belief: Belief, incident: Incident, now: float) -> str:
    """Return what was waited for in vain; a node that is not heard is named with the beginning of its silence."""
    assert incident.intent is not None
    verb, limit_s = incident.intent.verb, incident.ends_by - incident.intent_at
    since = belief.silent.get(incident.node)
    if since is None:
        still = same_boot(belief, incident) if verb in RESTARTS else ""
        return f"It did not end within {limit_s:.0f} s. {still}".rstrip()
    moment = datetime.fromtimestamp(since, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    node = belief.nodes[incident.node]
    return (
        f"{verb} was not answered within {limit_s:.0f} s: the agent on {incident.node} is {node.presence} since "
        f"{moment}, for {now - since:.0f} s. {node.power_because}"
    ).rstrip()


Verdict = Ending | tuple[str, str] | None


def _never(_belief: Belief, _incident: Incident, _now: float) -> Verdict:
    return None


def _order(_belief: Belief, incident: Incident, _now: float) -> Verdict:
    order = incident.order
    if order is None or order.outcome == "accepted":
        return None
    return order.outcome, order.because


def _reboot(belief: Belief, incident: Incident, now: float) -> Verdict:
    return restarted(belief, incident, now) or _order(belief, incident, now)


def _verify(belief: Belief, incident: Incident, _now: float) -> Verdict:
    order = incident.order
    if order is None or order.outcome == "accepted":
        return None
    if order.outcome != "done":
        return order.outcome, order.because
    still = [finding for finding in standing(belief, incident) if finding.check not in MEASURED_CHECKS]
    if still:
        return "failed", f"Still found on fresh readings: {still[0].because}"
    blind = _blind_checks(belief.nodes[incident.node], order, list(incident.condemned_by.values()))
    if blind:
        return "failed", f"Not proven healthy: {', '.join(blind)} could not be judged on fresh readings."
    names = ", ".join(sorted({key.check for key in incident.condemned_by} - MEASURED_CHECKS)) or "every check"
    ending = measured(belief, incident, f"Fresh readings pass: {names}.")
    is_proven = ending is not None and ending.outcome == "done"
    left = [finding for finding in standing(belief, incident) if finding.check in BENCH_CHECKS]
    return ("failed", f"Its benchmarks passed, and still: {left[0].because}") if is_proven and left else ending


def _blind_checks(node: NodeBelief, order: events.OrderEnded, condemned_by: list[Finding]) -> list[str]:
    """Return the condemning checks that the fresh look could not judge: unknown is never ok."""
    checks = {finding.check for finding in condemned_by} - OWN_CHECKS
    return sorted(check for check in checks if order.evidence.get(check, "unknown") == "unknown" and node.name)


def _wait(_belief: Belief, incident: Incident, now: float) -> Verdict:
    assert incident.intent is not None
    until = incident.intent_at + float(incident.intent.parameters["for_s"])
    return ("done", f"Waited {until - incident.intent_at:.0f} s.") if now >= until else None


def _probation(belief: Belief, incident: Incident, now: float) -> Verdict:
    again = recurred(belief, incident, incident.intent_at)
    if again:
        return "failed", f"{again[0].check} {again[0].code} came back during probation."
    waited = _wait(belief, incident, now)
    return ("done", f"Nothing came back in {now - incident.intent_at:.0f} s of probation.") if waited else None


def _approve(_belief: Belief, incident: Incident, now: float) -> Verdict:
    given = approval_for(incident, asked(incident), now)
    return ("done", f"Approved by {given.by}.") if given is not None else None


_JUDGES: dict[Verb, Callable[[Belief, Incident, float], Verdict]] = {
    Verb.COLLECT: _order,
    Verb.RESTART_SERVICE: _order,
    Verb.RESET_GPU: _order,
    Verb.RELOAD_DRIVER: _order,
    Verb.REBOOT: _reboot,
    Verb.POWER_CYCLE: _reboot,
    Verb.VERIFY: _verify,
    Verb.WAIT: _wait,
    Verb.PROBATION: _probation,
    Verb.APPROVE: _approve,
    Verb.DRAIN: _never,
}
