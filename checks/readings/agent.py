"""The agent itself: how well its sources answer."""

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


@dataclass(frozen=True, slots=True)
class AgentReading:
    """All sources of the agent at one moment."""

    SOURCE: ClassVar[str] = "agent"
    PARTS: ClassVar[str] = "sources"

    at_s: float
    sources: tuple[SourceState, ...] = ()
