"""A program of the site's own, run to its end within its deadline: each is a source, so that one that hangs is late by
itself."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.sources.child import ChildEnded, Command, DeadlineMissed, Ended, Slot, Stuck
from agent.sources.source import Surroundings, Timing
from checks.errors import CannotObserve
from checks.readings.site import SiteReading, site_reading

MOST_TEXT: Final = 64 << 10
"""Characters of an answer. Source: our choice; it is kept and recorded, and 256 findings fit into it."""

LAST_ERRORS: Final = 4 << 10
"""Characters of what it printed as errors that are kept: the end of a traceback says what broke."""


AT_ONCE: Final = 8
"""So many of the site's programs run at a time. Source: our choice; with what each of them starts they have to fit
beside the agent's own children into the 64 tasks of its unit (systemd/fleetmend-agent.service)."""


@dataclass(frozen=True, slots=True)
class Program:
    """One of the site's programs.

    Attributes:
        name: `site.<name>`: its source and its check.
        command: what is run; empty when it cannot be.
        refused: why it is never run, and what would be right; empty when it is.
        file: looked at before each run, for it may have been replaced; `None` where it belongs to a package.
        tells_findings: it answers with findings in JSON or not at all.
    """

    name: str
    timing: Timing
    command: Sequence[str] = ()
    refused: str = ""
    file: Path | None = None
    tells_findings: bool = False

    def why_not(self) -> str:
        """Return why it is not run now, and what would be right; empty when it is."""
        if self.refused or self.file is None:
            return self.refused
        return _why_unsafe(self.file.parent) or _why_unsafe(self.file) or _why_not_run(self.file)


def site_sources(programs: Iterable[Program], surroundings: Surroundings) -> tuple[SiteSource, ...]:
    """Return each program as a source, with nothing running."""
    turns = asyncio.Semaphore(AT_ONCE)
    return tuple(SiteSource(program, monotonic=surroundings.monotonic, turns=turns) for program in programs)


class SiteSource:
    """One program's answers."""

    def __init__(
        self,
        program: Program,
        *,
        monotonic: Callable[[], float],
        turns: asyncio.Semaphore | None = None,
        make_slot: Callable[[], Slot] = Slot,
    ) -> None:
        """Run nothing yet.

        Args:
            turns: shared by the programs of one node, so that not all of them run at once.
        """
        self.name, self.timing = program.name, program.timing
        self._program, self._monotonic = program, monotonic
        self._turns = turns or asyncio.Semaphore(AT_ONCE)
        self._runs = Command(make_slot())

    async def read(self) -> SiteReading:
        """Return how the program ended and what it said.

        Raises:
            CannotObserve: it must not be run, gets no turn, does not start, is late, says too much or not what it has
                to, or one before it is stuck.
        """
        if because := self._program.why_not():
            raise CannotObserve(because)
        what = " ".join(self._program.command)
        async with self._turn(what):
            ended = await self._run(what)
        if len(ended.text) > MOST_TEXT:
            raise CannotObserve(f"{what} printed more than {MOST_TEXT >> 10} Ki characters")
        if self._program.tells_findings and not (ended.code == 0 and ended.text.startswith("{")):
            raise CannotObserve(f"{what} ended with code {ended.code} and told no findings{_last_words(ended)}")
        return site_reading(self.name)(self._monotonic(), ended.code, ended.text, ended.errors[-LAST_ERRORS:])

    @contextlib.asynccontextmanager
    async def _turn(self, what: str) -> AsyncIterator[None]:
        """Wait for a turn, but not beyond the next beat: programs that hang must not keep this one's check waiting."""
        try:
            async with asyncio.timeout(self.timing.interval_s):
                await self._turns.acquire()
        except TimeoutError as late:
            others = f"{AT_ONCE} programs of the site run at a time, and others did not end"
            raise CannotObserve(f"{what} got no turn within {self.timing.interval_s:g} s: {others}") from late
        try:
            yield
        finally:
            self._turns.release()

    async def _run(self, what: str) -> Ended:
        try:
            return await self._runs.run(self._program.command, deadline_s=self.timing.deadline_s, errors_apart=True)
        except Stuck as stuck:
            raise CannotObserve(f"{what}: {stuck}", stuck=True) from stuck
        except (DeadlineMissed, ChildEnded) as error:
            raise CannotObserve(f"{what}: {error}") from error
        except OSError as error:
            raise CannotObserve(f"{what} cannot be run: {error.strerror}") from error

    async def close(self) -> None:
        """End the program if it still runs."""
        await self._runs.close()


def _last_words(ended: Ended) -> str:
    said = ended.errors.strip().splitlines()
    return f" ({said[-1][:LAST_ERRORS]})" if said else ""


def _why_unsafe(path: Path) -> str:
    """Return why the agent does not run what lies here, empty when only root and the agent itself can change it."""
    try:
        status = path.stat()
    except OSError as error:
        return f"{path} cannot be run: {error.strerror}"
    if status.st_uid not in (0, os.geteuid()):
        return f"{path} belongs to user {status.st_uid}, and not to root or to the agent: chown root {path}"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"{path} can be changed by others: chmod go-w {path}"
    return ""


def _why_not_run(path: Path) -> str:
    if not path.is_file():
        return f"{path} cannot be run: it is no file any more"
    return "" if os.access(path, os.X_OK) else f"{path} is not executable for the agent: chmod a+x {path}"
