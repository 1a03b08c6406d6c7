"""Programs that a benchmark's process starts: each ends with its deadline, with its parent, and with the whole group.

They stay in the group of the benchmark's process, but for one that must not be killed before it was asked to end; all
are in its session. What they print goes into memory and not into a pipe, so that one that leaves a process of its own
behind keeps nobody waiting.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.bench.child import Broken, NotHere

END_LIMIT_S: Final = 1.5
"""From TERM to KILL. Source: our choice, within the 2 s after which the agent ends the whole group."""

LOOK_S: Final = 0.5
MOST_BYTES: Final = 8 << 20
"""More is not a vendor's report. Source: our choice."""

SIGNALLED: Final = 128
PARENT_DEATH_SIGNAL: Final = 1
"""PR_SET_PDEATHSIG. Source: prctl(2), linux/prctl.h."""

_told_to_end = threading.Event()
"""Set beside the exception that TERM raises: one that comes while Python forks is lost in its hooks."""

_prctl = ctypes.CDLL(None).prctl


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended: its exit code (negative: the signal that ended it) and what it printed."""

    code: int
    text: str
    errors: str

    @property
    def first_words(self) -> str:
        """What it said of itself, on one line, for a sentence."""
        return " ".join((self.errors or self.text).split())[:300] or "no word"


class Program:
    """One program that runs. The `with` statement ends it."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        pass_files: Sequence[int] = (),
        environment: Mapping[str, str] | None = None,
        apart: bool = False,
    ) -> None:
        """Start it, in the C locale and with nothing to read.

        Args:
            environment: all that it gets of one, in place of this process's own.
            apart: in a group of its own, so that whoever kills that of the benchmark's process does not kill it: the
                death of its parent asks it to end.

        Raises:
            NotHere: it is not installed.
            Broken: it cannot be started.
        """
        self.name = Path(command[0]).name
        self._out, self._errors = os.memfd_create("out"), os.memfd_create("errors")
        try:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=self._out,
                stderr=self._errors,
                env={**(os.environ if environment is None else environment), "LC_ALL": "C"},
                pass_fds=tuple(pass_files),
                process_group=0 if apart else None,
                preexec_fn=_die_with_parent(os.getpid()),
            )
        except FileNotFoundError as error:
            self._close()
            raise NotHere(f"{self.name} is not installed on this host") from error
        except (OSError, subprocess.SubprocessError) as error:
            self._close()
            raise Broken(f"{self.name} cannot be started: {error}") from error

    def __enter__(self) -> Program:
        """Give the program."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it if it still runs."""
        self.end()
        self._close()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def poll(self) -> int | None:
        """Return its exit code, `None` while it runs."""
        return self._process.poll()

    def wait(self, limit_s: float) -> int | None:
        """Return its exit code, `None` when it still runs after the time.

        Raises:
            Broken: it prints without end.
            SystemExit: this process was told to end.
        """
        _end_if_told()
        try:
            return self._process.wait(limit_s)
        except subprocess.TimeoutExpired:
            _end_if_told()
        if max(os.fstat(file).st_size for file in (self._out, self._errors)) > MOST_BYTES:
            raise Broken(f"{self.name} printed more than {MOST_BYTES >> 20} MiB")
        return None

    def ended(self, code: int) -> Ended:
        """Return how it ended with a code."""
        return Ended(code, read_all(self._out), read_all(self._errors))

    def end(self) -> None:
        """Ask it to end, and end it when it does not."""
        if self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(END_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(END_LIMIT_S)

    def _close(self) -> None:
        for file in (self._out, self._errors):
            os.close(file)


def run_program(
    command: Sequence[str],
    *,
    limit_s: float,
    pass_files: Sequence[int] = (),
    environment: Mapping[str, str] | None = None,
    apart: bool = False,
    meanwhile: Callable[[float], None] = lambda _: None,
    monotonic: Callable[[], float] = time.monotonic,
) -> Ended:
    """Return how a program ended.

    Args:
        pass_files, apart: as of `Program`.
        meanwhile: called every now and then with the seconds that it has run.

    Raises:
        NotHere: it is not installed.
        Broken: it cannot be started, prints without end, or does not end in time, after which it is gone.
    """
    with Program(command, pass_files=pass_files, environment=environment, apart=apart) as program:
        began_s = monotonic()
        while (code := program.wait(LOOK_S)) is None:
            ran_s = monotonic() - began_s
            if ran_s >= limit_s:
                raise Broken(f"{program.name} did not end within {limit_s:g} s and was ended")
            meanwhile(ran_s)
        return program.ended(code)


def read_all(file: int) -> str:
    """Return what a file in memory holds, from its beginning."""
    return os.pread(file, MOST_BYTES, 0).decode("utf-8", "replace")


def end_with_term() -> None:
    """Let this process end its programs before itself when it is told to end."""

    def end(*_: object) -> None:
        if not _told_to_end.is_set():
            _told_to_end.set()
            _end_if_told()

    signal.signal(signal.SIGTERM, end)


def _end_if_told() -> None:
    if _told_to_end.is_set():
        raise SystemExit(SIGNALLED + signal.SIGTERM)


def _die_with_parent(parent: int) -> Callable[[], None]:
    """Return what a new process does before it becomes the program: be told to end when its parent is gone."""

    def arrange() -> None:
        _prctl(PARENT_DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(SIGNALLED + signal.SIGTERM)

    return arrange
