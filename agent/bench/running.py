"""The processes of one benchmark: started in a session of their own, heard, and ended until none is left."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from agent.bench.child import LINES, Line
from agent.clock import Clock
from agent.sources.child import FIRST_TO_GO, KILL_LIMIT_S, read_some, write_all
from agent.sources.pipe_holders import holders_of, names_of
from agent.sources.procfs import head
from checks.bench_result import BenchResult
from wire.bench import BenchWish
from wire.readiness import for_programs

GUARD: Final = (sys.executable, "-m", "agent.bench.guard")

TERM_LIMIT_S: Final = 2.0
"""Between asking the processes to end and killing them. Source: the reference of active benchmarks."""

LEAVE_LIMIT_S: Final = 5.0
"""How long a benchmark that gave its result may take to end by itself. Source: our choice; CUDA gives the memory of
eight GPUs back within two seconds."""

FIRST_LOOK_S: Final = 0.005
LONGEST_LOOK_S: Final = 0.05

LONGEST_LINE_BYTES: Final = 192 << 10
"""A result that is longer would not fit into a message. Source: wire/messages.py."""

ERRORS_BYTES: Final = 2048
"""So much of what the processes last printed as errors is kept."""

ENDED_STATES: Final = b"ZX"
"""Of a process that has ended and waits for its parent. Source: proc_pid_stat(5)."""
SESSION_FIELD, THREADS_FIELD = 3, 17
"""Of /proc/<pid>/stat after the name, which begins with the state. Source: proc_pid_stat(5)."""


class Malformed(Exception):
    """The process said what is none of the lines that were agreed on."""


class Running:
    """The processes of one benchmark."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        held: int,
        clock: Clock | None = None,
        kill: Callable[[int, int], None] = os.kill,
    ) -> None:
        """Start them.

        Args:
            held: descriptor of the lock, which they hold as well.
            kill: is given a process and a signal.

        Raises:
            OSError: they cannot be started.
        """
        self._clock, self._kill = clock or Clock(), kill
        self._process = subprocess.Popen(
            [*GUARD, str(held), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=for_programs(os.environ),
            pass_fds=(held,),
            start_new_session=True,
        )
        pipes = (self._process.stdin, self._process.stdout, self._process.stderr)
        self._pipes = [pipe for pipe in pipes if pipe is not None]
        self._stdin, self._stdout, self._stderr = (pipe.fileno() for pipe in self._pipes)
        self._names = names_of(self._pipes)
        for pipe in self._pipes:
            os.set_blocking(pipe.fileno(), False)
        self._errors = b""
        self._hearing = asyncio.create_task(self._hear_errors(), name="errors of a benchmark")
        with contextlib.suppress(OSError):
            Path(f"/proc/{self.session}/oom_score_adj").write_bytes(FIRST_TO_GO)

    @property
    def session(self) -> int:
        """The session, and the first process in it."""
        return self._process.pid

    @property
    def last_errors(self) -> str:
        """What the processes last printed as errors."""
        return self._errors.decode("utf-8", "replace").strip()

    async def lines(self, wish: BenchWish) -> AsyncGenerator[Line]:
        """Give the wish, and yield what the benchmark says, up to its result or its end.

        Raises:
            Malformed: it says something else.
        """
        with contextlib.suppress(BrokenPipeError):
            await write_all(self._stdin, msgspec.json.encode(wish) + b"\n")
        rest = bytearray()
        while piece := await read_some(self._stdout):
            *whole, last = (rest + piece).split(b"\n")
            rest = bytearray(last)
            for text in whole:
                line = parsed(bytes(text))
                yield line
                if isinstance(line, BenchResult):
                    return
            if len(rest) > LONGEST_LINE_BYTES:
                raise Malformed(f"a line of more than {LONGEST_LINE_BYTES >> 10} KiB")

    async def left(self) -> None:
        """Return when all have ended by themselves, or had time enough for it."""
        await self._none_left(LEAVE_LIMIT_S)

    async def end(self) -> tuple[int, ...]:
        """End them all: by SIGTERM, and two seconds later by SIGKILL. Return those that not even that has ended."""
        try:
            self._send(signal.SIGTERM)
            if not await self._none_left(TERM_LIMIT_S):
                await self._none_left(KILL_LIMIT_S, kill=True)
            return self._members()
        finally:
            self._kill_strays()
            self._hearing.cancel()
            await asyncio.gather(self._hearing, return_exceptions=True)
            for pipe in self._pipes:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    async def _none_left(self, limit_s: float, *, kill: bool = False) -> bool:
        """Return whether none is left, at the latest after so long.

        Args:
            kill: at each look, for one may have been started by another that was just being killed.
        """
        until_s, look_s = self._clock.monotonic() + limit_s, FIRST_LOOK_S
        while self._members():
            if self._clock.monotonic() >= until_s:
                return False
            if kill:
                self._send(signal.SIGKILL)
            await self._clock.sleep(look_s)
            look_s = min(2 * look_s, LONGEST_LOOK_S)
        return True

    def _members(self) -> tuple[int, ...]:
        """Return who is left; the first of them also until it was waited for."""
        found = set(members_of(self.session))
        return tuple(sorted(found | ({self.session} if self._process.poll() is None else set())))

    def _send(self, number: signal.Signals) -> None:
        for pid in self._members():
            with contextlib.suppress(ProcessLookupError):
                self._kill(pid, number)

    def _kill_strays(self) -> None:
        """Kill what left the session, as daemons do, and holds a pipe of ours still."""
        for pid in holders_of(self._names):
            with contextlib.suppress(OSError):
                self._kill(pid, signal.SIGKILL)

    async def _hear_errors(self) -> None:
        while piece := await read_some(self._stderr):
            self._errors = (self._errors + piece)[-ERRORS_BYTES:]


def members_of(session: int) -> Iterator[int]:
    """Yield the processes of a session that have not ended."""
    for entry in os.listdir("/proc"):  # noqa: PTH208 # some thousand names, of which no Path is needed
        if entry.isdecimal() and _is_member(head(f"/proc/{entry}/stat"), session):
            yield int(entry)


def _is_member(stat: bytes, session: int) -> bool:
    """Return whether a process is of the session and has not ended. One whose first thread has ended may still have
    others, that hang in a driver."""
    words = stat.rpartition(b") ")[2].split()
    if len(words) <= THREADS_FIELD or int(words[SESSION_FIELD]) != session:
        return False
    return words[0] not in ENDED_STATES or int(words[THREADS_FIELD]) > 1


def parsed(text: bytes) -> Line:
    """Return the line that a benchmark said.

    Raises:
        Malformed: it is none.
    """
    if len(text) > LONGEST_LINE_BYTES:
        raise Malformed(f"a line of more than {LONGEST_LINE_BYTES >> 10} KiB")
    try:
        line: Line = LINES.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"{text[:200]!r}: {error}") from error
    return line
