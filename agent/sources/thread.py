"""One thread for reads that hardly ever block: sysfs and procfs.

A driver that hangs can hang such a read too. A thread cannot be killed, so it is left behind, and no second one is
started behind it until it is done. It is a daemon thread: it keeps nobody from ending.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from checks.errors import CannotObserve

T = TypeVar("T")


class Apart(Generic[T]):
    """Runs a function beside the event loop, never twice at the same time.

    Attributes:
        is_running: whether a run is not over yet, waited for or not.
    """

    def __init__(self, name: str, function: Callable[[], T]) -> None:
        """Start nothing yet. `name` is what the thread and the errors are called."""
        self._name, self._function = name, function
        self.is_running = False

    async def result(self, *, deadline_s: float) -> T:
        """Return what the function returns.

        Raises:
            CannotObserve: it is late, or the run before is not over yet.
        """
        if self.is_running:
            raise CannotObserve(f"reading {self._name} hangs: the last one is not over yet")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.is_running = True
        threading.Thread(target=self._run, args=(future,), name=self._name, daemon=True).start()
        try:
            async with asyncio.timeout(deadline_s):
                return await future
        except TimeoutError as late:
            raise CannotObserve(f"reading {self._name} took longer than {deadline_s:g} s") from late

    def _run(self, future: asyncio.Future[T]) -> None:
        try:
            outcome: T | Exception = self._function()
        except Exception as error:
            outcome = error
        self.is_running = False
        # The loop may be over by the time a late read is.
        with contextlib.suppress(RuntimeError):
            future.get_loop().call_soon_threadsafe(_settle, future, outcome)


def _settle(future: asyncio.Future[T], outcome: T | Exception) -> None:
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
