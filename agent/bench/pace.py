"""How often a benchmark says how far it is: often enough for a person, seldom enough for the broker."""

from __future__ import annotations

from collections.abc import Callable

from agent.bench.child import Line, Progress, Say


def at_most_every(interval_s: float, say: Say, monotonic: Callable[[], float]) -> Say:
    """Return a way of saying lines that leaves out progress which comes sooner after the last, and nothing else."""
    next_s = monotonic()

    def paced(line: Line) -> None:
        nonlocal next_s
        if isinstance(line, Progress):
            now_s = monotonic()
            if now_s < next_s:
                return
            next_s = now_s + interval_s
        say(line)

    return paced
