"""Tokens by which hosts enrol: for which nodes, how often, until when. How often they were used is in the event log.

They live in one file that `fleetmend enrol token` writes, and the controller reads anew when it changed.
"""

from __future__ import annotations

from typing import Final

import msgspec

from controller.access.token_files import TokenKind

FORGOTTEN_AFTER_S: Final = 30 * 86_400.0
"""So long after its end a token is still listed, for whoever asks what became of it. Source: our choice."""

MOST_HOURS: Final = 720
"""A month. Source: our choice; who enrols hosts for longer makes another token."""


class EnrolmentToken(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a token.

    Attributes:
        nodes: which nodes it is for, as `controller.enrolment.nodes` reads it.
        uses: so many hosts may enrol by it.
        replace: also those whose name has a good certificate already, which is revoked then.
        sha256: of its secret half.
        made_by: who made it, as the operating system knows them.
        expires_at, revoked_at: Unix seconds; 0 while it is not revoked.
    """

    id: str
    nodes: str
    uses: int
    replace: bool
    sha256: str
    made_at: float
    made_by: str
    expires_at: float
    revoked_at: float = 0.0

    def why_bad(self, now: float) -> str:
        """Return why nobody may enrol by it at this moment, whoever it is; empty when some may."""
        if self.revoked_at:
            return f"token {self.id} was revoked"
        return f"token {self.id} has expired" if now >= self.expires_at else ""


KIND: Final = TokenKind("fme", EnrolmentToken)


def new_token(
    nodes: str, *, uses: int, replace: bool, now: float, hours: float, made_by: str
) -> tuple[EnrolmentToken, str]:
    """Return a token as it is kept, and the text that is given to hosts."""
    minted = KIND.mint()
    kept = EnrolmentToken(
        id=minted.id,
        nodes=nodes,
        uses=uses,
        replace=replace,
        sha256=minted.sha256,
        made_at=now,
        made_by=made_by,
        expires_at=now + hours * 3_600.0,
    )
    return kept, minted.text


def without_old(tokens: list[EnrolmentToken], now: float) -> list[EnrolmentToken]:
    """Return the tokens less those that ended long ago."""
    return [each for each in tokens if now < each.expires_at + FORGOTTEN_AFTER_S]
