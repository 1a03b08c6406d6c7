"""Keeps what the controller stores bounded: has the log compacted, forgets boots that are over, looks at the size."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from controller.cell import Cell
from controller.receipts import Receipts
from controller.settings import ControllerSettings
from controller.store.log import StoreError, StoreSize

log = structlog.get_logger()

LOOK_EVERY_S = 60.0
FORGET_EVERY_S = 3600.0


@dataclass(slots=True)
class Housekeeping:
    """Runs beside the cell of the controller that leads.

    Attributes:
        size: of the log, as it was at the last look.
        error: why the last compaction failed, empty when it did not.
        trouble: what else is wrong with the log.
    """

    cell: Cell
    receipts: Receipts
    settings: ControllerSettings
    clock: Callable[[], float]
    size: StoreSize = field(default_factory=lambda: StoreSize(0, 0, 0, 0, 0.0))
    error: str = ""
    trouble: Callable[[], str] = lambda: ""
    _forgot_at: float = 0.0
    _looked_at: float = 0.0

    async def run(self, *, every_s: float = LOOK_EVERY_S) -> None:
        """Look at intervals until cancelled."""
        while True:
            try:
                await self._look()
            except StoreError as error:
                log.warning("housekeeping.delayed", because=str(error))
            await asyncio.sleep(every_s)

    async def measure(self) -> None:
        """Look at the log's size, unless that was just done; a controller that stands by shows it, too.

        Raises:
            StoreError: the log cannot be read now.
        """
        if self.clock() - self._looked_at >= LOOK_EVERY_S:
            self.size, self._looked_at = await self.cell.log.size(), self.clock()

    async def _look(self) -> None:
        self.size, self._looked_at = await self.cell.log.size(), self.clock()
        if self._grown() >= self.settings.store.snapshot_every:
            await self.compact()
        if self.clock() - self._forgot_at >= FORGET_EVERY_S:
            await self._forget_boots()

    def _grown(self) -> int:
        return self.cell.belief.last_event_id - self.size.snapshot_event_id

    async def compact(self) -> None:
        """Have the log compacted by a process of its own, and look at the size again. A failure is tried again later:
        without compaction the log is larger, not wrong."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "controller.store.compaction"), stdin=asyncio.subprocess.PIPE
        )
        try:
            await process.communicate(self.settings.model_dump_json().encode())
        finally:
            if process.returncode is None:
                process.terminate()
                await process.wait()
        self.error = f"compaction ended with code {process.returncode}" if process.returncode else ""
        if self.error:
            log.error("compaction.failed", because=self.error)
        self.size = await self.cell.log.size()

    def use(self) -> dict[str, object]:
        """Return how large the log is, in the form of `controller.api.shapes.StoreUse`.

        Its entries are counted up to now, its bytes as they were at the last look.
        """
        size = self.size
        return {
            "name": self.cell.log.name,
            "used_bytes": size.used_bytes,
            "events": max(size.events, self.cell.belief.last_event_id - size.deleted_through),
            "deleted_through": size.deleted_through,
            "snapshot_event_id": size.snapshot_event_id,
            "snapshot_age_s": round(self.clock() - size.snapshot_at, 1) if size.snapshot_event_id else None,
            "error": self.error or self.trouble(),
        }

    async def _forget_boots(self) -> None:
        self._forgot_at = self.clock()
        over = self.receipts.over(self.clock())
        if over:
            await self.cell.log.forget_boots(over)
            log.info("boots.forgotten", boots=len(over))
