"""What a ticket is found by again: a mark of its subject and of the notice that made it. Pure.

The name of the cell goes in, since one system takes tickets of several, whose incidents may have the same numbers.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from controller.adapters import Notice


@dataclass(frozen=True, slots=True)
class Mark:
    """The mark of one ticket.

    Attributes:
        subject: what every ticket about the subject has; letters, digits and `-`, which every search takes as one word.
        key: of the notice that made it.
    """

    subject: str
    key: str

    @property
    def text(self) -> str:
        """Both in one word, which begins with the subject's."""
        return f"{self.subject}-{self.key}"


def mark_of(notice: Notice, cell: str) -> Mark:
    """Return the mark of the ticket that a notice makes or is about."""
    return Mark(f"fm-{_digest(cell, notice.subject or notice.incident_id, 16)}", _digest(cell, notice.key, 10))


def comment_mark(notice: Notice, cell: str) -> str:
    """Return the mark of the comment that an update makes, by which it is made once."""
    return f"fm-{_digest(cell, notice.key, 16)}"


def _digest(cell: str, text: str, digits: int) -> str:
    return hashlib.sha256(f"{cell}\n{text}".encode(errors="replace")).hexdigest()[:digits]
