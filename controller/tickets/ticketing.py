"""Tickets in any system: look first, then act, then look whether it came about.

An answer of 200 proves nothing: a right that is missing, a workflow without that way or a proxy in between make a
system say yes and do nothing. What was not done is an error that says so, and nothing is ever made twice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from controller.adapters import Answer, Filed, Notice
from controller.errors import Permanent, Retryable
from controller.notices.http import HttpRefusal
from controller.tickets.marks import Mark, comment_mark, mark_of
from controller.tickets.tracker import Ticket, Tracker

CONFLICT = frozenset({409, 412})
"""Somebody changed the ticket since it was read. Source: RFC 9110 15.5.10, 15.5.13."""

MOST_CONFLICTS = 4
"""So often a ticket is read anew before others are left to finish. Source: our choice."""

CONFLICT_RETRY_S = 5.0


@dataclass(slots=True)
class Ticketing:
    """A place for tickets that can be followed and listened to.

    Attributes:
        cell: of this controller; others may make tickets in the same system.

    What a system said that it made and does not show is looked for when its notice is sent again, and never made a
    second time by this process.
    """

    tracker: Tracker
    cell: str
    name: str
    repeatable: bool = True
    _unseen: dict[str, str] = field(default_factory=dict)

    async def send(self, notice: Notice) -> Filed:
        """Return the ticket of this key, else the open one about its subject, else make one and look that it is there.

        Raises:
            Retryable: nobody can say whether it was made; sending it again finds it if it was.
        """
        mark = mark_of(notice, self.cell)
        found = _chosen(await self.tracker.find(mark, notice), mark)
        if found is not None:
            return Filed(found.reference, found.url, found=True)
        if mark.text not in self._unseen:
            self._unseen[mark.text] = await self.tracker.create(notice, mark)
        made = await self._made(self._unseen[mark.text], mark)
        del self._unseen[mark.text]
        return Filed(made.reference, made.url)

    async def _made(self, reference: str, mark: Mark) -> Ticket:
        made = await self.tracker.read(reference)
        said = f"{self.tracker.receiver} answered that it made {reference}, which"
        if made is None:
            raise Permanent(f"{said} is not there, or hidden from this account; no second one is made")
        if mark.text not in made.mark:
            raise Permanent(
                f"{said} does not have the mark that it is found by again: {self.tracker.mark_needs}; no second one is "
                "made"
            )
        return made

    async def update(self, reference: str, notice: Notice) -> None:
        """Comment what is new, once; a ticket that is closed is opened again first."""
        await self._put(reference, is_open=True, change=self.tracker.reopen)
        await self._tell(await self._there(reference), notice)

    async def close(self, reference: str, notice: Notice) -> None:
        """Comment what came of it, once, and close the ticket. One that is gone needs no closing."""
        ticket = await self.tracker.read(reference)
        if ticket is None:
            return
        if ticket.is_open or self.tracker.speaks_when_closed:
            await self._tell(ticket, notice)

        async def finish(current: Ticket) -> str:
            return await self.tracker.finish(current, notice)

        await self._put(reference, is_open=False, change=finish)

    async def look(self, references: Sequence[str]) -> Mapping[str, Answer]:
        """Return how each stands."""
        return await self.tracker.look(references)

    async def _tell(self, ticket: Ticket, notice: Notice) -> None:
        mark = comment_mark(notice, self.cell)
        for _ in range(MOST_CONFLICTS):
            if await self.tracker.has_comment(ticket.reference, mark):
                return
            try:
                await self.tracker.comment(ticket, notice, mark)
                break
            except HttpRefusal as refusal:
                ticket = await self._anew(ticket.reference, refusal)
        else:
            raise self._overtaken(ticket.reference)
        if not await self.tracker.has_comment(ticket.reference, mark):
            raise Permanent(f"{self.tracker.receiver} took a comment on {ticket.reference} and does not show it")

    async def _put(self, reference: str, *, is_open: bool, change: Callable[[Ticket], Awaitable[str]]) -> None:
        ticket = await self._there(reference)
        said = ""
        for _ in range(MOST_CONFLICTS):
            if ticket.is_open is is_open:
                return
            try:
                said = await change(ticket)
                break
            except HttpRefusal as refusal:
                ticket = await self._anew(reference, refusal)
        else:
            raise self._overtaken(reference)
        ticket = await self._there(reference)
        if ticket.is_open is not is_open:
            wanted = "opened" if is_open else "closed"
            words = f" It said: {said}" if said else ""
            raise Permanent(
                f"{self.tracker.receiver} answered yes and {reference} is not {wanted}: it is {ticket.state!r}.{words}"
            )

    async def _anew(self, reference: str, refusal: HttpRefusal) -> Ticket:
        if refusal.status not in CONFLICT:
            raise refusal
        return await self._there(reference)

    async def _there(self, reference: str) -> Ticket:
        ticket = await self.tracker.read(reference)
        if ticket is None:
            raise Permanent(f"{self.tracker.receiver} has no {reference} any more, or hides it from this account")
        return ticket

    def _overtaken(self, reference: str) -> Retryable:
        return Retryable(
            f"{self.tracker.receiver}: others change {reference} at the same time", after_s=CONFLICT_RETRY_S
        )


def _chosen(found: Sequence[Ticket], mark: Mark) -> Ticket | None:
    """Return the ticket of the same notice, else the oldest open one about the subject."""
    ours = [ticket for ticket in found if mark.subject in ticket.mark]
    same = (ticket for ticket in ours if mark.text in ticket.mark)
    return next(same, next((ticket for ticket in ours if ticket.is_open), None))
