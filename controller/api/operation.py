"""What the API's description says of one address, whoever answers there."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from controller.api.query import Query

EVERY: Final = frozenset({400, 403, 429})
"""With what any address may answer: the guards come before all of them."""

WITH_BODY: Final = frozenset({408, 413, 415, 503})
"""With what an address may answer besides that takes a body; what changes something is for the leader alone."""


class Shows(StrEnum):
    """What whoever asks has to show. The value is the name of the description's security scheme."""

    NOTHING = ""
    TOKEN = "token"  # noqa: S105 - a scheme's name
    ENROLMENT_TOKEN = "enrolment_token"  # noqa: S105 - a scheme's name


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one address.

    Attributes:
        name: the operation's id.
        about: who may ask, and how often, in sentences.
        answer: type of the body of a 200.
        body: type of the request's body, `None` when it takes none.
        refusals: statuses besides 200 and those that every address can give.
    """

    method: str
    path: str
    name: str
    summary: str
    about: str
    answer: Any
    body: type | None = None
    query: tuple[Query, ...] = ()
    refusals: tuple[int, ...] = ()
    shows: Shows = Shows.TOKEN

    @property
    def statuses(self) -> list[int]:
        """Return every status besides 200 with which it can answer."""
        own = {*self.refusals, *({401} if self.shows else ())}
        return sorted(EVERY | own | (WITH_BODY if self.body is not None else frozenset()))
