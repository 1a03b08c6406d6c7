"""What takes two people, in the API: proposed, looked at, agreed to and taken back."""

from __future__ import annotations

import secrets
from typing import Final

from controller.access.roles import Role
from controller.api import shapes
from controller.api.call import Call, refused
from controller.api.moments import iso
from controller.api.problems import unknown
from controller.api.words import plain
from controller.events import ActAgreed, ActProposed, ActWithdrawn, OperatorActed
from controller.policy.proposal import NEEDED, Proposal
from controller.policy.proposals import why_two

VALID_S: Final = 3_600.0
"""So long a proposal waits. Source: our choice; what was meant an hour ago is asked again."""


async def propose(call: Call, act: OperatorActed) -> shapes.Acted | None:
    """Return what became of an act that takes more people than the one who asks, `None` when they may do it alone.

    Raises:
        Problem: 409, it is proposed already.
    """
    because = why_two(call.cell.belief, act)
    if call.person.alone or not because:
        return None
    for name, proposal in call.cell.belief.proposals.items():
        if (proposal.act.verb, proposal.act.subject, proposal.act.what) == (act.verb, act.subject, act.what):
            raise refused(f"{proposal.act.by} proposed that already: {name}", f"fleetmend proposal agree {name}")
    name, counts = f"act-{secrets.token_hex(4)}", call.person.may(Role.APPROVER)
    expires_at = call.cell.now() + VALID_S
    logged = await call.cell.submit(ActProposed(name, act, act.by, act.because, counts, expires_at))
    left = NEEDED - counts
    others = "1 other approver agrees" if left == 1 else f"{left} approvers agree"
    text = (
        f"Nothing is done yet: {act.verb} {act.subject} takes two people, because {because}. It is done once {others}."
    )
    return shapes.Acted(logged.event_id, iso(logged.at), text, proposal_id=name)


async def proposals(call: Call) -> list[shapes.ProposalRow]:
    """Return what waits for people's yes, oldest first."""
    return [_row(call, name, each) for name, each in call.cell.belief.proposals.items()]


def _row(call: Call, name: str, proposal: Proposal) -> shapes.ProposalRow:
    act = proposal.act
    return shapes.ProposalRow(
        name,
        act.verb,
        act.subject,
        act.by,
        act.because,
        why_two(call.cell.belief, act),
        list(proposal.agreed),
        NEEDED,
        iso(proposal.proposed_at),
        iso(proposal.expires_at),
    )


async def agree(call: Call) -> shapes.Acted:
    """Say yes to what somebody proposed; the last yes that was missing has it done.

    Raises:
        Problem: 404, no such proposal; 409, they said yes before.
    """
    name, found = _known(call)
    if call.by in found.agreed:
        raise refused(f"{call.by} has said yes to {name} already", "another approver has to")
    because = plain(call.said(shapes.Because).because, field="because")
    logged = await call.cell.submit(ActAgreed(name, call.by, because))
    act = f"{found.act.verb} {found.act.subject}"
    waits = name in call.cell.belief.proposals
    text = f"{call.by} agrees; {act} waits for another approver." if waits else f"Two people agree: {act} is done."
    return shapes.Acted(logged.event_id, iso(logged.at), text, proposal_id=name if waits else None)


async def disagree(call: Call) -> shapes.Acted:
    """Take back what somebody proposed: it is not done.

    Raises:
        Problem: 404, no such proposal.
    """
    name, found = _known(call)
    because = plain(call.said(shapes.Because).because, field="because")
    logged = await call.cell.submit(ActWithdrawn(name, call.by, because))
    return shapes.Acted(logged.event_id, iso(logged.at), f"{found.act.verb} {found.act.subject} is not done.")


def _known(call: Call) -> tuple[str, Proposal]:
    name = call.path["id"]
    found = call.cell.belief.proposals.get(name)
    if found is None:
        raise unknown("proposal", name, call.cell.belief.proposals)
    return name, found
