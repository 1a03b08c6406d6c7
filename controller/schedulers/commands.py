"""Runs an outside program to its end: with a deadline, with bounded output, and never longer than its caller lives."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from controller.errors import Permanent, Retryable
from wire.readiness import for_programs

log = structlog.get_logger()

KILL_LIMIT_S = 2.0
"""How long a killed program may take to be gone. One that hangs in the kernel (D state) is left behind after it."""

MAX_ERROR_BYTES = 65_536
STDOUT_FILENO, STDERR_FILENO = 1, 2


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a program may run and how much it may print to its standard output."""

    deadline_s: float
    output_bytes: int
    retry_after_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended.

    Attributes:
        command: what was run, for messages.
        code: exit status; negative is the signal that ended it.
        errors: the end of its standard error.
    """

    command: str
    code: int
    output: bytes
    errors: str

    @property
    def last_words(self) -> str:
        """The last line that says something, of standard error or else of standard output."""
        said = self.errors.strip() or self.output[-MAX_ERROR_BYTES:].decode(errors="replace").strip()
        return said.splitlines()[-1].strip() if said else f"exit code {self.code} and no word"


class _Printed(asyncio.SubprocessProtocol):
    """What a program prints, kept within its limits.

    Attributes:
        over: nothing more is to be waited for: it ended with all its output, or it printed too much.
        gone: the process has ended and its pipes are closed.
    """

    def __init__(self, limits: Limits) -> None:
        self.output, self.errors = bytearray(), b""
        self.over, self.gone = asyncio.Event(), asyncio.Event()
        self._limits = limits

    @property
    def too_much(self) -> bool:
        """It printed more to its standard output than it may."""
        return len(self.output) > self._limits.output_bytes

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == STDERR_FILENO:
            self.errors = (self.errors + data)[-MAX_ERROR_BYTES:]
        elif not self.too_much:
            self.output += data
        if self.too_much:
            self.over.set()

    def connection_lost(self, _error: Exception | None) -> None:
        self.over.set()
        self.gone.set()


async def run(command: Sequence[str], limits: Limits, environment: Mapping[str, str] | None = None) -> Ended:
    """Return how the program ended; `environment` is added to ours.

    The program gets a process group of its own, which is killed as a whole when this call does not end well.

    Raises:
        Retryable: it was not done by the deadline.
        Permanent: it cannot be started, or printed more than it may.
    """
    transport, printed = await _started(command, limits, environment or {})
    try:
        async with asyncio.timeout(limits.deadline_s):
            await printed.over.wait()
    except TimeoutError as error:
        late = f"{_named(command)} was not done after {limits.deadline_s:g} s and was killed"
        raise Retryable(late, after_s=limits.retry_after_s) from error
    finally:
        await _end(transport, printed)
    if printed.too_much:
        raise Permanent(f"{_named(command)} printed more than {limits.output_bytes} bytes; it was killed")
    code = transport.get_returncode()
    assert code is not None
    return Ended(_named(command), code, bytes(printed.output), printed.errors.decode(errors="replace"))


async def _started(
    command: Sequence[str], limits: Limits, environment: Mapping[str, str]
) -> tuple[asyncio.SubprocessTransport, _Printed]:
    """Start it, and end it when the caller is cancelled meanwhile.

    asyncio would kill its first process alone, and wait for as long as others hold the pipes.
    """
    starting = asyncio.ensure_future(_start(command, limits, environment))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        with contextlib.suppress(Permanent, Retryable):
            await _end(*await starting)
        raise


async def _start(
    command: Sequence[str], limits: Limits, environment: Mapping[str, str]
) -> tuple[asyncio.SubprocessTransport, _Printed]:
    try:
        return await asyncio.get_running_loop().subprocess_exec(
            lambda: _Printed(limits),
            *command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**for_programs(os.environ), **environment},
            start_new_session=True,
        )
    except (FileNotFoundError, PermissionError, NotADirectoryError) as error:
        raise Permanent(f"{command[0]} cannot be run: {error.strerror}") from error
    except OSError as error:
        raise Retryable(f"{command[0]} could not be started: {error.strerror}", after_s=5.0) from error


async def _end(transport: asyncio.SubprocessTransport, printed: _Printed) -> None:
    """Kill what did not end by itself, and close our ends of the pipes, whoever else still holds theirs."""
    if not printed.gone.is_set():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(transport.get_pid(), signal.SIGKILL)
    for descriptor in (STDOUT_FILENO, STDERR_FILENO):
        pipe = transport.get_pipe_transport(descriptor)
        if pipe is not None:
            pipe.close()
    try:
        async with asyncio.timeout(KILL_LIMIT_S):
            await printed.gone.wait()
    except TimeoutError:
        log.warning("program.left_behind", pid=transport.get_pid(), took_s=KILL_LIMIT_S)
    finally:
        transport.close()


def _named(command: Sequence[str]) -> str:
    return " ".join(command)[:200]
