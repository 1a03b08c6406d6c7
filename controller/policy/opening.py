"""From findings to incidents: who answers a finding, and whether it belongs to something already open.

One fault of one part says itself in many ways: the playbook of lowest precedence answers for all of a burst, so that
48 + 63 + 94 + 45 on one GPU is one memory incident and not four. What is a burst is data (controller/policy/bursts.py).
One part may have two names, an adapter its PCI function and its ports: what one playbook answers at one PCI address is
one burst, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from checks.finding import Finding, FindingKey
from checks.host.reboot import ID as REBOOTED
from controller import events
from controller.policy.belief import Belief
from controller.policy.bursts import belongs, follows
from controller.policy.domains import wait_for_others_s
from controller.policy.history import recurrence
from controller.policy.incident import Incident, Phase
from controller.policy.modes import Said, mode_of
from controller.policy.node_belief import Raised
from controller.policy.parts import is_same_part, part_of
from controller.policy.playbook import QUICK_EFFECTS, Clears, Playbook, Step, Verb
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


@dataclass(frozen=True, slots=True)
class Question:
    """One finding that nobody decided about yet, and who would answer it by itself."""

    belief: Belief
    rules: Rules
    node: str
    raised: Raised
    now: float

    @property
    def finding(self) -> Finding:
        """What was found."""
        return self.raised.finding

    @property
    def playbook(self) -> Playbook | None:
        """Who answers it, `None` when nobody does."""
        return answering(self.belief, self.rules, self.raised.finding)

    @property
    def wait_s(self) -> float:
        """How long the finding must have stood, for itself or for others of its domain."""
        confirm_s = self.playbook.confirm_s if self.playbook is not None else 0.0
        return max(confirm_s, wait_for_others_s(self.belief, self.rules, self.node, self.finding))

    def mode(self, playbook: Playbook) -> Said:
        """Return how far the playbook may go on this node, and who says so."""
        return mode_of(self.belief, self.rules, playbook, self.node)

    def recurrence(self, part: str, playbook: Playbook) -> events.Recurrence:
        """Return what the history of a part says about one more fault that the playbook answers."""
        shorter = speedup(self.belief, self.rules, self.node)
        return recurrence(self.belief.history.of(part), playbook, self.now, speedup=shorter)


def answer_findings(belief: Belief, rules: Rules, now: float) -> Iterator[events.Event]:
    """Yield what becomes of each finding that nobody decided about yet."""
    for node, key in list(belief.unanswered):
        if (node, key) not in belief.unanswered:
            continue
        decision = _answer(Question(belief, rules, node, belief.nodes[node].findings[key], now))
        if decision is not None:
            yield decision


def _answer(question: Question) -> events.Event | None:
    finding, playbook = question.finding, question.playbook
    incidents = [] if _is_our_restart(question) else question.belief.open_on(question.node)
    for incident in _nearest_first(incidents, playbook):
        why = _why_joined(question, incident, playbook)
        if why:
            return _join(question, incident, playbook, why)
    if playbook is None:
        if waits_for_canary(question.belief, question.rules, finding):
            return None
        because = f"No playbook answers {finding.check} {finding.code} when it is {finding.verdict}."
        return events.FindingLeft(question.node, finding.key, because)
    if question.now - question.raised.since < question.wait_s:
        return None
    return _open(question, playbook)


def _is_our_restart(question: Question) -> bool:
    """Whether a host says no more than that it was restarted for one of its incidents.

    To an agent that was dead a reboot by the scheduler or a BMC looks like one that nobody meant. The boot that came
    of it may fail on its own account, which is no such saying any more.
    """
    ended = question.finding.evidence.get("previous_boot_id", "")
    is_told = question.finding.check == REBOOTED and ended != ""
    return is_told and any(each.restarted_from == ended for each in question.belief.open_on(question.node))


def _nearest_first(incidents: list[Incident], playbook: Playbook | None) -> list[Incident]:
    """Return incidents of the finding's own class before others."""
    return sorted(incidents, key=lambda i: playbook is not None and i.fault_class != playbook.fault_class)


def _why_joined(question: Question, incident: Incident, playbook: Playbook | None) -> str:
    """Return why a finding belongs to an open incident of its node, empty when it does not.

    Where only a person may end one of the two, they stay apart, so that no diagnosis of the other ends it.
    """
    finding, since = question.finding, question.raised.since
    is_other = playbook is not None and playbook.fault_class != incident.fault_class
    if is_other and playbook is not None and Clears.PERSON in {incident.playbook.clears, playbook.clears}:
        return ""
    if _is_about(incident, finding):
        return belongs(incident, playbook, since)
    if playbook is not None and playbook.name == incident.playbook.name and _shares_address(question, incident):
        return f"it is the same part ({finding.pci})"
    return follows(incident, playbook, since)


def _is_about(incident: Incident, finding: Finding) -> bool:
    first = next(iter(incident.condemned_by.values()), None)
    return incident.device == finding.device if first is None else is_same_part(first, finding)


def _shares_address(question: Question, incident: Incident) -> bool:
    pci = question.finding.pci
    return bool(pci) and any(pci == other.pci for other in standing(question.belief, incident))


def _open(question: Question, playbook: Playbook) -> events.IncidentOpened:
    finding = question.finding
    part = part_of(finding, question.node, question.belief.nodes[question.node].facts)
    before, mode = question.recurrence(part, playbook), question.mode(playbook)
    return events.IncidentOpened(
        question.belief.next_incident_id(),
        question.node,
        finding.device,
        playbook.fault_class,
        playbook,
        [finding],
        _why_opened(question, playbook, part, before),
        mode[0],
        part=part,
        recurrence=before,
    )


def _why_opened(question: Question, playbook: Playbook, part: str, before: events.Recurrence) -> events.Reason:
    finding, mode = question.finding, question.mode(playbook)
    what = f"{finding.check} {finding.code}".strip()
    return events.Reason(
        finding.because,
        {
            "check": finding.check,
            "code": finding.code,
            "device": finding.device,
            "part": part,
            "verdict": finding.verdict,
            "action": finding.action,
            "playbook": f"{playbook.name} (precedence {playbook.precedence}, {playbook.digest[:12]})",
            "mode": f"{mode[0]}, says {mode[1]}",
            **({"history": before.because} if before.because else {}),
        },
        f"{what} were not {finding.verdict}, or the playbook {playbook.name} did not answer it",
    )


def _join(question: Question, incident: Incident, playbook: Playbook | None, why: str) -> events.Event | None:
    finding = question.finding
    if playbook is None or not _takes_over(incident, finding, playbook):
        reason = events.Reason(f"It belongs to {incident.id}, for {why}: {finding.because}")
        return events.IncidentJoined(incident.id, finding, reason)
    if incident.intent is not None and incident.intent.verb in QUICK_EFFECTS:
        return None
    mode = question.mode(playbook)
    reason = events.Reason(
        f"{finding.because} This outranks {incident.fault_class}: the playbook {playbook.name} takes over.",
        {"before": incident.playbook.name, "after": playbook.name, "mode": f"{mode[0]}, says {mode[1]}"},
        "a repair had already begun",
    )
    before = question.recurrence(incident.part, playbook)
    return events.IncidentReclassified(incident.id, playbook.fault_class, playbook, finding, reason, mode[0], before)


def _takes_over(incident: Incident, finding: Finding, playbook: Playbook) -> bool:
    is_replaceable = incident.phase is Phase.AUTOMATIC and not incident.repair_begun
    return is_replaceable and playbook.precedence < incident.playbook.precedence and _is_about(incident, finding)


def speedup(belief: Belief, rules: Rules, node: str) -> float:
    """Return by how much spans of time on this node are shortened: simulated machines live faster than real ones."""
    known = belief.nodes.get(node)
    return rules.simulated_speedup if known is not None and known.facts.simulated else 1.0


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
