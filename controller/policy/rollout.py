"""A changed playbook is tried on few incidents before it answers all: which text answers what, and how a trial ends.

The first playbooks that a cell ever loads are trusted. A text that was changed later answers one incident (or a share);
the others keep the text of before. It is trusted once enough canaries ended well, and it is stopped at the first that
ended badly: then people are told once, and the old text stays.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace

from checks.finding import Finding
from controller import events
from controller.events import Reason
from controller.policy.belief import Belief
from controller.policy.fleet_incident import opened
from controller.policy.playbook import ROLLOUT, Playbook, Step, Verb
from controller.policy.rollouts import Rollout
from controller.policy.rules import Rules

STOPPED = Playbook(
    name=ROLLOUT,
    summary="A changed playbook did badly on the first node that it answered; its old text stays.",
    fault_class=ROLLOUT,
    severity="warning",
    precedence=0,
    answers=(),
    steps=(Step("ticket", Verb.TICKET, limit_s=300.0, attempts=3, parameters={"team": "platform"}),),
    hand_over=(),
    drain_needed=False,
)


def loaded(belief: Belief, rules: Rules) -> Iterator[events.Event]:
    """Yield what it means that a controller starts with these playbooks."""
    known = belief.rollouts.by_name
    if not known or not rules.rollout.canaries:
        fresh = [book for book in rules.playbooks if book.name not in known or known[book.name].trusted != book]
        if fresh:
            yield events.PlaybooksTrusted(fresh, _why_trusted(first=not known))
        return
    for book in rules.playbooks:
        yield from _loaded(known.get(book.name), book)


def _why_trusted(*, first: bool) -> str:
    if first:
        return "These are the first playbooks of this cell: every one of them is trusted."
    return "The settings want no canaries: every playbook is trusted as it is loaded."


def _loaded(known: Rollout | None, book: Playbook) -> Iterator[events.Event]:
    if known is None:
        yield events.RolloutBegan(book, f"{book.name} is new: it is tried on few incidents first.")
    elif known.candidate == book or (known.candidate is None and known.trusted == book):
        return
    elif known.trusted is not None and _does_the_same(known.trusted, book):
        if known.candidate is not None:
            reason = Reason(f"{book.name} has the trusted text again.")
            yield events.RolloutSettled(book.name, known.candidate.digest, "reverted", reason)
        if known.trusted != book:
            yield events.PlaybooksTrusted([book], f"{book.name} does the same as before: only its remarks changed.")
    else:
        before = known.trusted.digest[:12] if known.trusted is not None else "none"
        because = (
            f"{book.name} was changed ({before} before, {book.digest[:12]} now): it is tried on few incidents first."
        )
        yield events.RolloutBegan(book, because)


def _does_the_same(one: Playbook, other: Playbook) -> bool:
    return replace(one, digest="", source="") == replace(other, digest="", source="")


def answering(belief: Belief, rules: Rules, finding: Finding) -> Playbook | None:
    """Return the text that answers a finding now, `None` when nobody does."""
    newest = rules.answering(finding)
    if not belief.rollouts.changed:
        return newest
    if newest is not None and newest.name in belief.rollouts.changed and _may_be_tried(belief, rules, newest.name):
        return newest
    return _trusted(belief, rules).answering(finding)


def waits_for_canary(belief: Belief, rules: Rules, finding: Finding) -> str:
    """Return the name of the new playbook whose trial decides who answers a finding, empty when none does."""
    newest = rules.answering(finding)
    if newest is None or newest.name not in belief.rollouts.changed:
        return ""
    return "" if belief.rollouts.by_name[newest.name].stopped else newest.name


def _may_be_tried(belief: Belief, rules: Rules, name: str) -> bool:
    rollout = belief.rollouts.by_name[name]
    if rollout.stopped or rollout.candidate is None:
        return False
    return not rollout.count("") or _chance(belief.next_incident_id()) < rules.rollout.share


def _chance(incident_id: str) -> float:
    """Return a number from 0 up to 1 that only the incident's name decides (I12)."""
    return int.from_bytes(hashlib.sha256(incident_id.encode()).digest()[:4]) / 2**32


def _trusted(belief: Belief, rules: Rules) -> Rules:
    """Return the rules with the trusted text of every playbook that is tried, and without those that are new."""
    changed = {name: belief.rollouts.by_name[name].trusted for name in belief.rollouts.changed}
    texts = [changed.get(book.name, book) for book in rules.playbooks]
    return rules.with_playbooks(tuple(text for text in texts if text is not None))


def settle_rollouts(belief: Belief, rules: Rules) -> Iterator[events.Event]:
    """Yield what the ends of canaries mean, and the end of an incident about a rollout that is over."""
    for name in list(belief.rollouts.changed):
        rollout = belief.rollouts.by_name[name]
        if not rollout.stopped and rollout.candidate is not None:
            yield from _settle(belief, rules, rollout, rollout.candidate)
    for incident in belief.open_on(""):
        if incident.fault_class == ROLLOUT and incident.intent is None and _is_over(belief, incident.device):
            yield events.IncidentClosed(incident.id, "recovered", Reason(f"{incident.device} is decided by people."))


def _settle(belief: Belief, rules: Rules, rollout: Rollout, candidate: Playbook) -> Iterator[events.Event]:
    failed = next(((name, canary) for name, canary in rollout.canaries.items() if canary.verdict == "badly"), None)
    if failed is not None:
        reason = _why_stopped(candidate, failed[0], failed[1].because)
        yield events.RolloutSettled(candidate.name, candidate.digest, "stopped", reason)
        about = f"playbook={candidate.name}"
        yield opened(belief, about, fault_class=ROLLOUT, playbook=STOPPED, reason=reason)
    elif rollout.count("well") >= rules.rollout.canaries:
        ended = ", ".join(name for name, canary in rollout.canaries.items() if canary.verdict == "well")
        reason = Reason(
            f"{candidate.name} is trusted with its new text: {ended} ended well.",
            {"digest": candidate.digest[:12], "canaries": str(rules.rollout.canaries)},
            "one of them had ended badly",
        )
        yield events.RolloutSettled(candidate.name, candidate.digest, "trusted", reason)


def _why_stopped(candidate: Playbook, incident_id: str, because: str) -> Reason:
    return Reason(
        f"The new text of {candidate.name} ({candidate.digest[:12]}) is used no more, its old text stays: "
        f"{incident_id} ended badly. {because}",
        {"digest": candidate.digest[:12], "canary": incident_id},
        f"a person promotes it by `fleetmend playbook rollout {candidate.name} --promote`",
    )


def _is_over(belief: Belief, device: str) -> bool:
    rollout = belief.rollouts.by_name.get(device.partition("=")[2])
    return rollout is None or not rollout.stopped or rollout.withdrawn
