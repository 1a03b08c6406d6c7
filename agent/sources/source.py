"""What every source offers to the runner, so that one more source is one more file.

A source only reads. It is timed, retried and supervised by the runner, and what can hang runs in a disposable child
(agent/sources/child.py), never in the agent itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from checks.readings import HostReading, KernelLogState, KernelRecord, NvmlReading, RdmaReading

Polled = NvmlReading | RdmaReading | HostReading


class PolledSource(Protocol):
    """Read at intervals.

    Attributes:
        interval_s: seconds between the starts of two readings.
        deadline_s: when a reading is late; the source itself ends what it started.
    """

    name: str
    interval_s: float
    deadline_s: float

    async def read(self) -> Polled:
        """Return one reading.

        Raises:
            CannotObserve: nothing could be read; the checks of this source are `unknown`.
        """
        ...

    async def close(self) -> None:
        """End what the source keeps running."""
        ...


class StreamedSource(Protocol):
    """Read as it happens, without a poll."""

    name: str

    def records(self) -> AsyncIterator[KernelRecord]:
        """Yield records, first those of this boot not yet seen, then new ones; never ends by itself."""
        ...

    def state(self) -> KernelLogState:
        """Return how well the stream is being read, and count its losses anew from here."""
        ...
