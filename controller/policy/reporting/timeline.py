"""Counts each node's time where it belongs, and the fleet's in slices of the span."""

from __future__ import annotations

from dataclasses import dataclass, field

from controller.policy.reporting.asked import Asked
from controller.policy.reporting.exposure import ExposureBook
from controller.policy.reporting.losses import LossBook
from controller.policy.reporting.nodes import NOTHING_TOLD, Node
from controller.policy.reporting.shapes import Slice
from controller.policy.reporting.states import HOUR_S, STATES, State

SLICES = 60
"""So many columns has the picture of the span, however long that is. Source: our choice, by the room on a page."""


_SERVES = STATES.index(State.IN_SERVICE)


@dataclass(slots=True)
class TimeBook:
    """Where the time of all nodes went, between `begin` and the end of what was asked.

    Attributes:
        begin: from when on time counts; later than asked when the log tells from later on.
        with_jobs_gpu_s: GPU-seconds in service with a job, as the scheduler tells.
    """

    asked: Asked
    begin: float
    losses: LossBook = field(default_factory=LossBook)
    exposure: ExposureBook = field(default_factory=ExposureBook)
    with_jobs_gpu_s: float = 0.0
    slices: list[list[float]] = field(default_factory=lambda: [[0.0] * len(STATES) for _ in range(SLICES)])

    def turn(self, node: Node, at: float) -> None:
        """Count a node's time as it was counted until now, if it counts otherwise from now on."""
        now = node.would_count_as()
        if now != node.counts_as:
            self.count(node, at)
            node.counts_as = now

    def count_untold(self, node: Node, at: float) -> None:
        """Count a node's time up to a moment as unknown: the log tells nothing of it."""
        counts, node.counts_as = node.counts_as, NOTHING_TOLD
        self.count(node, at)
        node.counts_as = counts

    def count(self, node: Node, at: float) -> None:
        """Count a node's time up to a moment."""
        start, end = max(node.counted_to, self.begin), min(at, self.asked.until)
        node.counted_to = max(node.counted_to, at)
        seconds = end - start
        if seconds <= 0.0:
            return
        counts = node.counts_as
        node.count(counts.state, seconds)
        self.losses.count(node, seconds)
        if counts.heard:
            self.exposure.count(node, seconds)
        if counts.busy and counts.state == _SERVES:
            self.with_jobs_gpu_s += seconds * node.gpus
        self._slice(counts.state, start, end)

    @property
    def slice_s(self) -> float:
        """How long one slice is. They divide what was asked, so that a log's gap leaves the first ones empty."""
        return (self.asked.until - self.asked.since) / SLICES

    def _slice(self, state: int, start: float, end: float) -> None:
        first = min(SLICES - 1, int((start - self.asked.since) / self.slice_s))
        for index in range(first, SLICES):
            begins = self.asked.since + index * self.slice_s
            ends = begins + self.slice_s if index < SLICES - 1 else self.asked.until
            self.slices[index][state] += max(0.0, min(end, ends) - max(start, begins))
            if end <= ends:
                return

    def slice_hours(self) -> list[Slice]:
        """Return the slices."""
        return [
            Slice(self.asked.since + index * self.slice_s, [round(seconds / HOUR_S, 6) for seconds in spent])
            for index, spent in enumerate(self.slices)
        ]
