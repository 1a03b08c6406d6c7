"""Where a node's time goes: one state at every moment, so that the states of a node add up to its time."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """What a node is to the scheduler, and why."""

    IN_SERVICE = "in_service"
    HELD_OUT = "held_out"
    """By an incident of fleetmend about a fault."""
    KEPT_OUT = "kept_out"
    """The scheduler places nothing on it, and it is nobody's hold: down, not responding."""
    LOST = "lost"
    """Not heard, and somebody else who watches it says that it does not answer either."""
    PLANNED = "planned"
    """Out on purpose: people hold it, or it is new and measured before it serves."""
    DRILL = "drill"
    """Held out by an incident that people made by a drill."""
    UNKNOWN = "unknown"
    """Its agent is not heard, which proves nothing (I1), or the log does not tell."""


STATES = tuple(State)
DOWN = (State.HELD_OUT, State.KEPT_OUT, State.LOST)
"""What counts against availability."""

HOUR_S = 3600.0
