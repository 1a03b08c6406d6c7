"""The agent itself: how well its sources answer, and how the boot before this one ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class SourceState:
    """One source of the agent.

    Attributes:
        silent_s: seconds since it last answered, good or bad.
        stuck: why nothing of it can be started any more, empty while it can.
    """

    name: str
    silent_s: float
    stuck: str = ""


ORDERED, ORDERLY, UNEXPECTED, UNSEEN = "ordered", "orderly", "unexpected", "unseen"
"""How a boot ends: by an order that the agent carried out; with the agent being told to stop; without either; while the
agent was not running."""


@dataclass(frozen=True, slots=True)
class LastEnd:
    """How the boot before this one ended.

    Attributes:
        how: one of the four above.
        traces: files that a crash left behind.
        last_words: the end of the kernel log among them, empty when there is none.
    """

    how: str
    previous_boot_id: str = ""
    traces: tuple[str, ...] = ()
    last_words: str = ""


@dataclass(frozen=True, slots=True)
class AgentReading:
    """All sources of the agent at one moment.

    Attributes:
        last_end: `None` when this is the first boot that the agent ever saw.
    """

    SOURCE: ClassVar[str] = "agent"
    PARTS: ClassVar[str] = "sources"

    at_s: float
    sources: tuple[SourceState, ...] = ()
    last_end: LastEnd | None = None
