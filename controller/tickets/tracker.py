"""A system for tickets as the desk of tickets sees it: one protocol, one file a system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from controller.adapters import Answer, Notice
from controller.tickets.marks import Mark


@dataclass(frozen=True, slots=True)
class Ticket:
    """A ticket as its system shows it now.

    Attributes:
        mark: the text in which a ticket of ours has its mark.
        url: where people open it.
        version: by which the system refuses a change of what somebody else has changed meanwhile, where it does.
        state: in the system's own word.
    """

    reference: str
    is_open: bool
    mark: str = ""
    url: str = ""
    version: str = ""
    state: str = ""


class Tracker(Protocol):
    """One system. Whatever it cannot do is an error of controller.errors; a refused change is `HttpRefusal`.

    Attributes:
        receiver: what it is called in messages.
        speaks_when_closed: a closed ticket takes comments and stays closed.
        mark_needs: what has to hold so that a ticket gets its mark, for messages.
    """

    speaks_when_closed: bool

    @property
    def mark_needs(self) -> str: ...

    @property
    def receiver(self) -> str: ...

    async def find(self, mark: Mark, notice: Notice, /) -> Sequence[Ticket]:
        """Return the tickets about a subject, oldest first: the open ones at least, and one of the same key."""
        ...

    async def create(self, notice: Notice, mark: Mark) -> str:
        """Make a ticket, and return its reference as the system said it."""
        ...

    async def read(self, reference: str) -> Ticket | None:
        """Return a ticket, `None` when there is none any more, or none that may be seen."""
        ...

    async def has_comment(self, reference: str, mark: str) -> bool:
        """Return whether a comment with this mark is there."""
        ...

    async def comment(self, ticket: Ticket, notice: Notice, mark: str) -> None:
        """Add what is new."""
        ...

    async def reopen(self, ticket: Ticket) -> str:
        """Open it again; return what the system said, for messages."""
        ...

    async def finish(self, ticket: Ticket, notice: Notice, /) -> str:
        """Close it; return what the system said, for messages."""
        ...

    async def look(self, references: Sequence[str]) -> Mapping[str, Answer]:
        """Return how each stands, in as few requests as the system allows."""
        ...
