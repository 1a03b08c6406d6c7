"""Where nodes stand as the scheduler has it: what its adapter sees anyway, asked of it at intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from controller.adapters import Scheduler
from controller.errors import Permanent, Refused, Retryable
from controller.topology.source import ByName, Unreadable

KINDS: Final = frozenset({"kubernetes"})
"""Schedulers whose adapters tell places. Slurm's are in its topology.conf, which is a source of its own."""


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A scheduler as a source of places."""

    scheduler: Scheduler
    interval_s: float

    @property
    def name(self) -> str:
        """The scheduler's."""
        return self.scheduler.name

    async def read(self) -> ByName:
        """Return where the scheduler's nodes stand.

        Raises:
            Unreadable: the scheduler cannot be asked.
        """
        try:
            seen = await self.scheduler.observe()
        except (Retryable, Permanent, Refused) as error:
            raise Unreadable(str(error)) from error
        return ByName({node: view.places for node, view in seen.items() if view.places})


def sources_of(scheduler: Scheduler, interval_s: float) -> tuple[Scheduled, ...]:
    """Return the scheduler as a source, nothing when it knows of no places."""
    return (Scheduled(scheduler, interval_s),) if scheduler.name in KINDS else ()
