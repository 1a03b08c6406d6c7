"""From findings to incidents: who answers a finding, and whether it belongs to something already open.

Findings of one device are one burst: the playbook of lowest precedence answers for all of them, so that 48 + 63 + 94
on one GPU is one memory incident and not three. One part may have two names, an adapter its PCI function and its ports:
what one playbook answers at one PCI address is one burst, too.
"""

from __future__ import annotations

from collections.abc import Iterator

from checks.finding import Finding, FindingKey
from controller import events
from controller.policy.belief import Belief, Raised
from controller.policy.domains import wait_for_others_s
from controller.policy.incident import Incident, Phase
from controller.policy.modes import Said, mode_of
from controller.policy.playbook import QUICK_EFFECTS, Mode, Playbook, Step, Verb
from controller.policy.rollout import answering, waits_for_canary
from controller.policy.rules import Rules

OPERATOR_CORDON = Playbook(
    name="operator_cordon",
    summary="A person took the node out by fleetmend; it stays out until a person gives it back.",
    fault_class="operator",
    severity="info",
    precedence=0,
    answers=(),
    steps=(Step("cordon", Verb.CORDON, limit_s=120.0, attempts=3),),
    hand_over=(),
    drain_needed=False,
)


def answer_findings(belief: Belief, rules: Rules, now: float) -> Iterator[events.Event]:
    """Yield what becomes of each finding that nobody decided about yet."""
    for node, key in list(belief.unanswered):
        if (node, key) not in belief.unanswered:
            continue
        raised = belief.nodes[node].findings[key]
        decision = _answer(belief, rules, node, raised, now)
        if decision is not None:
            yield decision


def _answer(belief: Belief, rules: Rules, node: str, raised: Raised, now: float) -> events.Event | None:
    finding = raised.finding
    playbook = answering(belief, rules, finding)
    mode = mode_of(belief, rules, playbook, node) if playbook is not None else (Mode.SHADOW, "")
    open_here = _open_here(belief, node, finding, playbook)
    if open_here is not None:
        return _join(open_here, finding, playbook, mode)
    if playbook is None:
        if waits_for_canary(belief, rules, finding):
            return None
        because = f"No playbook answers {finding.check} {finding.code} when it is {finding.verdict}."
        return events.FindingLeft(node, finding.key, because)
    if now - raised.since < max(playbook.confirm_s, wait_for_others_s(belief, rules, node, finding)):
        return None
    return events.IncidentOpened(
        belief.next_incident_id(),
        node,
        finding.device,
        playbook.fault_class,
        playbook,
        [finding],
        _why_opened(finding, playbook, mode),
        mode[0],
    )


def _open_here(belief: Belief, node: str, finding: Finding, playbook: Playbook | None) -> Incident | None:
    """Return the open incident to which a finding belongs: that of its device, else of its part under another name."""
    open_incidents = belief.open_on(node)
    same_device = (i for i in open_incidents if i.device == finding.device)
    same_part = (i for i in open_incidents if _is_same_part(belief, i, finding, playbook))
    return next(same_device, None) or next(same_part, None)


def _is_same_part(belief: Belief, incident: Incident, finding: Finding, playbook: Playbook | None) -> bool:
    if not finding.pci or playbook is None or playbook.name != incident.playbook.name:
        return False
    return any(finding.pci == other.pci for other in standing(belief, incident))


def _why_opened(finding: Finding, playbook: Playbook, mode: Said) -> events.Reason:
    what = f"{finding.check} {finding.code}".strip()
    return events.Reason(
        finding.because,
        {
            "check": finding.check,
            "code": finding.code,
            "device": finding.device,
            "verdict": finding.verdict,
            "action": finding.action,
            "playbook": f"{playbook.name} (precedence {playbook.precedence}, {playbook.digest[:12]})",
            "mode": f"{mode[0]}, says {mode[1]}",
        },
        f"{what} were not {finding.verdict}, or the playbook {playbook.name} did not answer it",
    )


def _join(incident: Incident, finding: Finding, playbook: Playbook | None, mode: Said) -> events.Event | None:
    outranks = playbook is not None and playbook.precedence < incident.playbook.precedence
    if outranks and playbook is not None and _replaceable(incident):
        if incident.intent is not None and incident.intent.verb in QUICK_EFFECTS:
            return None
        reason = events.Reason(
            f"{finding.because} This outranks {incident.fault_class}: the playbook {playbook.name} takes over.",
            {"before": incident.playbook.name, "after": playbook.name, "mode": f"{mode[0]}, says {mode[1]}"},
            "a repair had already begun",
        )
        return events.IncidentReclassified(incident.id, playbook.fault_class, playbook, finding, reason, mode[0])
    same = "device" if finding.device == incident.device else f"part ({finding.pci})"
    reason = events.Reason(f"Same {same} as {incident.id}: {finding.because}")
    return events.IncidentJoined(incident.id, finding, reason)


def _replaceable(incident: Incident) -> bool:
    return incident.phase is Phase.AUTOMATIC and not incident.repair_begun


def operator_cordons(belief: Belief) -> Iterator[events.Event]:
    """Yield the incidents that people's own cordons are carried out as."""
    for node, request in list(belief.cordons_asked.items()):
        yield events.IncidentOpened(
            belief.next_incident_id(),
            node,
            "node",
            OPERATOR_CORDON.fault_class,
            OPERATOR_CORDON,
            [],
            events.Reason(f"{request.by} took {node} out: {request.because or 'no reason given'}."),
        )


def standing(belief: Belief, incident: Incident) -> list[Finding]:
    """Return those findings of an incident that still stand."""
    if not incident.node:
        return []
    findings = belief.nodes[incident.node].findings
    return [findings[key].finding for key in incident.condemned_by if key in findings]


def recurred(belief: Belief, incident: Incident, since: float) -> list[FindingKey]:
    """Return the incident's findings that were raised after `since`."""
    findings = belief.nodes[incident.node].findings
    return [key for key in incident.condemned_by if key in findings and findings[key].since > since]
