"""Runs an outside program to its end: with a deadline, with bounded output, and never longer than its caller lives."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from controller.errors import Permanent, Retryable

KILL_LIMIT_S = 2.0
"""How long a killed program may take to be gone. One that hangs in the kernel (D state) is left behind after it."""

MAX_ERROR_BYTES = 65_536
CHUNK_BYTES = 65_536


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


async def run(command: Sequence[str], limits: Limits, environment: Mapping[str, str] | None = None) -> Ended:
    """Return how the program ended; `environment` is added to ours.

    The program gets a process group of its own, which is killed as a whole when this call does not end well.

    Raises:
        Retryable: it was not done by the deadline.
        Permanent: it cannot be started, or printed more than it may.
    """
    process = await _start(command, environment or {})
    try:
        async with asyncio.timeout(limits.deadline_s):
            output, errors = await asyncio.gather(_all_of(process, limits), _end_of(process))
            code = await process.wait()
    except BaseException as error:
        await _kill(process)
        if isinstance(error, TimeoutError):
            late = f"{_named(command)} was not done after {limits.deadline_s:g} s and was killed"
            raise Retryable(late, after_s=limits.retry_after_s) from error
        raise
    return Ended(_named(command), code, output, errors)


async def _start(command: Sequence[str], environment: Mapping[str, str]) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **environment},
            start_new_session=True,
        )
    except (FileNotFoundError, PermissionError, NotADirectoryError) as error:
        raise Permanent(f"{command[0]} cannot be run: {error.strerror}") from error
    except OSError as error:
        raise Retryable(f"{command[0]} could not be started: {error.strerror}", after_s=5.0) from error


async def _all_of(process: asyncio.subprocess.Process, limits: Limits) -> bytes:
    assert process.stdout is not None
    output = bytearray()
    while chunk := await process.stdout.read(CHUNK_BYTES):
        output += chunk
        if len(output) > limits.output_bytes:
            raise Permanent(f"a program printed more than {limits.output_bytes} bytes; it was killed")
    return bytes(output)


async def _end_of(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    errors = b""
    while chunk := await process.stderr.read(CHUNK_BYTES):
        errors = (errors + chunk)[-MAX_ERROR_BYTES:]
    return errors.decode(errors="replace")


async def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(KILL_LIMIT_S):
            await process.wait()


def _named(command: Sequence[str]) -> str:
    return " ".join(command)[:200]
