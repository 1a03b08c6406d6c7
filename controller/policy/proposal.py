"""What somebody proposed, and who said yes to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from controller.events import OperatorActed

NEEDED: Final = 2
"""Approvers who have to say yes, different people. Source: our choice, the two-person rule."""


@dataclass(slots=True)
class Proposal:
    """One proposal.

    Attributes:
        agreed: who said yes, in order, with their reason.
    """

    act: OperatorActed
    proposed_at: float
    expires_at: float
    agreed: dict[str, str] = field(default_factory=dict)
