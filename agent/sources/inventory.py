"""What a person approved for this host, and the release of its kernel; the runner puts beside it what is there."""

from __future__ import annotations

from typing import Final

from agent.sources.procfs import text
from agent.sources.source import Cost, Declaration, Privilege, Surroundings, Timing
from checks.readings import InventoryReading


class InventorySource:
    """The approved inventory of the host."""

    name = "inventory"

    def __init__(self, surroundings: Surroundings, timing: Timing) -> None:
        """Read nothing yet."""
        self.timing = timing
        self._approved, self._monotonic = surroundings.approved, surroundings.monotonic
        self._release = surroundings.procfs / "sys/kernel/osrelease"

    async def read(self) -> InventoryReading:
        """Return one reading; that the file cannot be used is a reading, too."""
        approved = self._approved.manifest()
        return InventoryReading(self._monotonic(), approved, self._approved.problem, text(self._release).strip())

    async def close(self) -> None:
        """Leave nothing running: between readings nothing does."""


SOURCE: Final = Declaration(
    name=InventorySource.name,
    summary="What was approved for this host, beside what its other sources read.",
    reading=InventoryReading,
    timing=Timing(interval_s=60.0, fast_interval_s=30.0, deadline_s=5.0),
    cost=Cost.LOW,
    privilege=Privilege.NONE,
    hangs_with="nothing: a small file on the local disk, and procfs",
    make=InventorySource,
)
