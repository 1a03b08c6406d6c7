"""What is believed of sweeps: what was asked, what came back, and how they ended. A fold, like all of belief."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from controller.policy.localising.trials import State
from controller.sweep_events import SweepAsked, SweepEnded, SweepGroupEnded

SWEEPS_KEPT = 50
"""Ended sweeps that stay in memory, for people. Source: our choice; some 60 kB each for a thousand nodes."""


@dataclass(slots=True)
class Sweep:
    """A sweep, under way or over.

    Attributes:
        state: as the localiser knows it; of one that is over without its trials.
        runs: group → its run, for each that began and has not ended.
        met: those of which rank 0 has spoken.
        measured: group → what came back, of all its rounds; the numbers of a round wait here until all of it is there.
        stop_asked: why a person ended it, empty otherwise.
        ended: how it ended, `None` while it goes on.
    """

    sweep_id: str
    state: State
    by: str
    because: str
    began_at: float
    ends_by: float
    asked: int = 0
    options: dict[str, str] = field(default_factory=dict)
    runs: dict[int, str] = field(default_factory=dict)
    met: dict[int, None] = field(default_factory=dict)
    measured: dict[int, SweepGroupEnded] = field(default_factory=dict)
    stop_asked: str = ""
    ended_at: float = 0.0
    ended: SweepEnded | None = None


@dataclass(slots=True)
class SweepBook:
    """All of them.

    Attributes:
        asked: entry of the log → what was asked for and has not begun.
        sweeps: the open ones, and the newest that ended; `open_sweeps` in order of beginning.
        groups: run → the sweep and the group that it belongs to, while the group runs.
        faults: open incident of a link or a switch → the nodes that must be well before it is over.
        began: how many there ever were, for names.
    """

    asked: dict[int, SweepAsked] = field(default_factory=dict)
    sweeps: dict[str, Sweep] = field(default_factory=dict)
    open_sweeps: dict[str, None] = field(default_factory=dict)
    groups: dict[str, tuple[str, int]] = field(default_factory=dict)
    faults: dict[str, tuple[str, ...]] = field(default_factory=dict)
    began: int = 0

    def next_sweep_id(self) -> str:
        """Return the name of the next sweep: counted, so that a replay gives the same."""
        return f"sweep-{self.began + 1:06d}"

    def open(self) -> Iterator[Sweep]:
        """Yield the sweeps that go on, oldest first."""
        return (self.sweeps[sweep_id] for sweep_id in list(self.open_sweeps))

    @property
    def questions(self) -> int:
        """How much there is to decide about, at most."""
        return len(self.asked) + sum(1 + len(self.sweeps[each].state.waiting) for each in self.open_sweeps)
