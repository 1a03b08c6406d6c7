"""What reaches the whole fleet takes two people: one asks, and it is done once two approvers have said yes.

Who asks is one of the two if they are an approver. Stopping never waits for anybody: pausing, aborting a plan and
taking a proposal back are done at once (I3).
"""

from __future__ import annotations

from collections.abc import Iterator

from controller import events
from controller.events import Reason
from controller.policy.belief import Belief
from controller.policy.playbook import BREAKER_CLASS
from controller.policy.proposal import NEEDED, Proposal
from controller.policy.scopes import PLACES_OF_NODES, parse


def why_two(belief: Belief, act: events.OperatorActed) -> str:
    """Return why an act takes two people, empty when one may do it alone."""
    match act.verb:
        case "resume" if parse(act.subject).kind not in PLACES_OF_NODES:
            return f"it lets repairs begin again for {parse(act.subject).words}"
        case "promote":
            return "the new text answers every incident of its kind"
        case "abort" if _is_breaker(belief, act.subject):
            return "it closes a breaker, and nodes may be taken out again"
    return ""


def _is_breaker(belief: Belief, incident_id: str) -> bool:
    incident = belief.open_incidents.get(incident_id)
    return incident is not None and incident.playbook.name == BREAKER_CLASS


def settle_proposals(belief: Belief, now: float) -> Iterator[events.Event]:
    """Yield what was proposed and has enough yeses, and what has too few and is too old."""
    for name, proposal in list(belief.proposals.items()):
        if len(proposal.agreed) >= NEEDED:
            yield events.ActCarried(name, proposal.act, list(proposal.agreed), _why_carried(proposal))
        elif now >= proposal.expires_at:
            yield events.ActLapsed(name, _why_lapsed(proposal))


def _why_carried(proposal: Proposal) -> Reason:
    act = proposal.act
    people = " and ".join(proposal.agreed)
    return Reason(
        f"{act.by} asked: {act.verb} {act.subject}; {people} said yes.",
        {"agreed": people, "needed": str(NEEDED)},
        "fewer of them had said yes",
    )


def _why_lapsed(proposal: Proposal) -> Reason:
    act, count = proposal.act, len(proposal.agreed)
    return Reason(
        f"{act.by} asked: {act.verb} {act.subject}; {count} of {NEEDED} approvers said yes in time.",
        {"agreed": " and ".join(proposal.agreed), "needed": str(NEEDED)},
        f"{NEEDED} had said yes",
    )
