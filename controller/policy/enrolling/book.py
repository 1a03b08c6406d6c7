"""What tokens were used for: from the log, so that it holds whichever controller leads and wherever one was killed."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Use:
    """One use of a token.

    Attributes:
        key: SHA-256 of the public key that a certificate was wanted for.
        at: when; of several times that the same host asked, the first.
        serials: the certificates that were given for it; several when answers were lost.
    """

    node: str
    key: str
    at: float
    serials: list[str] = field(default_factory=list)


@dataclass(slots=True)
class EnrolmentBook:
    """Tokens that have not expired when the last one was used.

    Attributes:
        uses: token id → its uses, oldest first.
        ends_at: token id → when it expires.
    """

    uses: dict[str, list[Use]] = field(default_factory=dict)
    ends_at: dict[str, float] = field(default_factory=dict)

    def used(self, token_id: str) -> list[Use]:
        """Return the uses of a token, oldest first."""
        return self.uses.get(token_id, [])

    def use_for(self, token_id: str, node: str, key: str) -> Use | None:
        """Return the use of a token by this very host, `None` when there is none."""
        return next((use for use in self.used(token_id) if (use.node, use.key) == (node, key)), None)
