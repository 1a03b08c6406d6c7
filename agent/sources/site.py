"""A program of the site's own, run to its end within its deadline: each is a source, so that one that hangs is late by
itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from agent.sources.child import ChildEnded, Command, DeadlineMissed, Slot, Stuck
from agent.sources.source import Surroundings, Timing
from checks.errors import CannotObserve
from checks.readings.site import SiteReading, site_reading

MOST_TEXT: Final = 64 << 10
"""Characters of an answer. Source: our choice; it is kept and recorded, and 256 findings fit into it."""

LAST_ERRORS: Final = 4 << 10
"""Characters of what it printed as errors that are kept: the end of a traceback says what broke."""


@dataclass(frozen=True, slots=True)
class Program:
    """One of the site's programs.

    Attributes:
        name: `site.<name>`: its source and its check.
        command: what is run; empty when it must not or cannot be.
        refused: why it is not run, and what would be right; empty when it is.
    """

    name: str
    timing: Timing
    command: Sequence[str] = ()
    refused: str = ""


def site_sources(programs: Iterable[Program], surroundings: Surroundings) -> tuple[SiteSource, ...]:
    """Return each program as a source, with nothing running."""
    return tuple(SiteSource(program, monotonic=surroundings.monotonic) for program in programs)


class SiteSource:
    """One program's answers."""

    def __init__(
        self, program: Program, *, monotonic: Callable[[], float], make_slot: Callable[[], Slot] = Slot
    ) -> None:
        """Run nothing yet."""
        self.name, self.timing = program.name, program.timing
        self._program, self._monotonic = program, monotonic
        self._runs = Command(make_slot())

    async def read(self) -> SiteReading:
        """Return how the program ended and what it said.

        Raises:
            CannotObserve: it must not be run, does not start, is late, says too much, or one before it is stuck.
        """
        if self._program.refused:
            raise CannotObserve(self._program.refused)
        what = " ".join(self._program.command)
        try:
            ended = await self._runs.run(self._program.command, deadline_s=self.timing.deadline_s, errors_apart=True)
        except Stuck as stuck:
            raise CannotObserve(f"{what}: {stuck}", stuck=True) from stuck
        except (DeadlineMissed, ChildEnded) as error:
            raise CannotObserve(f"{what}: {error}") from error
        except OSError as error:
            raise CannotObserve(f"{what} cannot be run: {error.strerror}") from error
        if len(ended.text) > MOST_TEXT:
            raise CannotObserve(f"{what} printed more than {MOST_TEXT >> 10} Ki characters")
        return site_reading(self.name)(self._monotonic(), ended.code, ended.text, ended.errors[-LAST_ERRORS:])

    async def close(self) -> None:
        """End the program if it still runs."""
        await self._runs.close()
