"""Looks at the scheduler at intervals and tells the cell what changed: foreign cordons, jobs, lost holds, words."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import structlog

from checks.finding import Finding
from controller.adapters import NodeSchedule, Scheduler
from controller.cell import Cell
from controller.errors import Permanent, Refused, Retryable
from controller.events import Event, FindingCleared, FindingRaised, ScheduleObserved
from controller.policy.node_belief import NodeBelief, judged_otherwise

ORIGIN = "scheduler"
"""Of findings that others tell by the scheduler."""

log = structlog.get_logger()


@dataclass(slots=True)
class ScheduleWatch:
    """Level-triggered: every look compares all nodes with what is believed.

    Attributes:
        error: why the last look failed, empty when it did not.
        errors: how many looks failed.
        seen: what the last look that did not fail showed; `seen_at`: when that was asked, 0 for never.
    """

    cell: Cell
    scheduler: Scheduler
    clock: Callable[[], float]
    interval_s: float = 5.0
    error: str = ""
    errors: int = 0
    seen: Mapping[str, NodeSchedule] = field(default_factory=dict)
    seen_at: float = 0.0
    _wanted: asyncio.Event = field(default_factory=asyncio.Event)

    def look_now(self) -> None:
        """Do not wait for the interval's end."""
        self._wanted.set()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self._wanted.clear()
            await self.look()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.interval_s):
                    await self._wanted.wait()

    async def look(self) -> None:
        """Look once. A scheduler that cannot be asked changes nothing that is believed."""
        asked_at = self.clock()
        try:
            seen = await self.scheduler.observe()
        except (Retryable, Permanent, Refused) as error:
            self._note_error(str(error))
            return
        except Exception as error:
            # An adapter that breaks must not take the controller along.
            self._note_error(f"the adapter crashed: {type(error).__name__}: {error}")
            return
        self.error, self.seen, self.seen_at = "", seen, asked_at
        changed: list[Event] = [
            _observed(name, view, asked_at)
            for name, view in seen.items()
            if (known := self.cell.belief.nodes.get(name)) is not None and _differs(known, view)
        ]
        for known in self.cell.belief.nodes.values():
            view = seen.get(known.name)
            if known.findings or (view is not None and view.said):
                changed += _edges(known, view.said if view is not None else (), asked_at)
        if changed:
            await self.cell.submit(changed)

    def _note_error(self, because: str) -> None:
        self.errors += 1
        if because != self.error:
            log.warning("schedule.unreadable", scheduler=self.scheduler.name, because=because)
        self.error = because


def _observed(node: str, view: NodeSchedule, at: float) -> ScheduleObserved:
    return ScheduleObserved(
        node,
        view.schedulable,
        view.held_by,
        view.foreign_reason,
        list(view.jobs),
        at,
        view.responding,
        view.jobs_unknown,
    )


def _differs(known: NodeBelief, view: NodeSchedule) -> bool:
    hold = known.hold_id if known.held_since else ""
    believed = (known.schedulable, hold, known.foreign_reason, known.jobs, known.responding, known.jobs_unknown)
    seen = (view.schedulable, view.held_by, view.foreign_reason, view.jobs, view.responding, view.jobs_unknown)
    return believed != seen


def _edges(known: NodeBelief, said: tuple[Finding, ...], at: float) -> Iterator[Event]:
    """Yield what others began or ceased to say of a node; other words for the same verdict are no news."""
    now = {finding.key: finding for finding in said}
    before = {key: raised.finding for key, raised in known.findings.items() if raised.origin == ORIGIN}
    for key, finding in now.items():
        if key not in before or judged_otherwise(before[key], finding):
            yield FindingRaised(known.name, known.boot_id, finding, at, origin=ORIGIN)
    for key in sorted(before.keys() - now.keys()):
        yield FindingCleared(known.name, key, "Nobody says so in the scheduler any more.", at, origin=ORIGIN)
