"""Programs of the host and of vendors, asked with a deadline: each in a disposable child, never two at a time."""

from __future__ import annotations

from collections.abc import Callable

from agent.sources.child import ChildEnded, Command, DeadlineMissed, Ended, Slot, Stuck
from checks.errors import CannotObserve


class Tool:
    """One program, which may or may not be installed."""

    def __init__(self, path: str, *, make_slot: Callable[[], Slot] = Slot) -> None:
        """Run nothing yet.

        Args:
            path: of the program; empty when the machine does not have it.
        """
        self._path = path
        self._command = Command(make_slot())

    @property
    def is_installed(self) -> bool:
        """Whether this machine has the program."""
        return bool(self._path)

    async def run(self, *arguments: str, deadline_s: float, errors_apart: bool = False) -> Ended:
        """Return how the program ended and what it printed, errors included.

        Args:
            errors_apart: keep what it prints as errors out of the text.

        Raises:
            CannotObserve: it is not installed, does not start, misses its deadline, or one before it is stuck.
        """
        if not self._path:
            raise CannotObserve("the program is not installed")
        try:
            return await self._command.run((self._path, *arguments), deadline_s=deadline_s, errors_apart=errors_apart)
        except Stuck as stuck:
            raise CannotObserve(f"{self._path}: {stuck}", stuck=True) from stuck
        except (DeadlineMissed, ChildEnded, OSError) as error:
            raise CannotObserve(f"{self._path}: {error}") from error

    async def close(self) -> None:
        """End it if it still runs."""
        await self._command.close()


class Time:
    """What is left of a reading's time, where it takes many questions."""

    def __init__(self, deadline_s: float, each_s: float, *, monotonic: Callable[[], float]) -> None:
        """Begin now.

        Args:
            deadline_s: for all questions together.
            each_s: for one.
        """
        self._each_s, self._monotonic = each_s, monotonic
        self._ends_at_s = monotonic() + deadline_s

    def left_s(self) -> float:
        """Return how long the next question may take.

        Raises:
            CannotObserve: no time is left.
        """
        left_s = min(self._each_s, self._ends_at_s - self._monotonic())
        if left_s <= 0:
            raise CannotObserve("no time was left to ask")
        return left_s
