"""Disposable child processes: whoever asks something that can hang asks it here, with a deadline.

A process that misses its deadline is killed with its whole group, and with what left the group and holds its pipes. One
that even SIGKILL does not end within two seconds hangs in the kernel (state D): it is abandoned, and until it is gone
nothing is started behind it. No thread and no asyncio child watcher is needed for that, so a process that never ends
keeps nothing of the agent waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, TypeVar

from agent.sources.pipe_holders import holders_of, names_of
from wire.readiness import for_programs

T = TypeVar("T")

KILL_LIMIT_S: Final = 2.0
"""How long a process may take to die of SIGKILL. Source: our choice; a process that runs at all dies in milliseconds,
and what does not sits in an uninterruptible sleep of the kernel, which may last for ever."""

FIRST_TO_GO: Final = b"500"
"""How much more than the agent its children are to blame when memory runs out: one that takes too much is ended, and
not the agent, nor a job. Source: proc_pid_oom_score_adj(5); our choice, half of what can be said."""

FIRST_LOOK_S: Final = 0.001
LONGEST_LOOK_S: Final = 0.05
MAX_ANSWER_BYTES: Final = 4 << 20
READ_BYTES: Final = 1 << 16


class DeadlineMissed(Exception):
    """The process did not answer in time and was killed."""


class Stuck(Exception):
    """A process does not die of SIGKILL, and nothing is started behind it."""


class ChildEnded(Exception):
    """The process ended, or answered too much, in place of answering."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended.

    Attributes:
        code: its exit code; negative: the signal that ended it.
        text: what it printed, errors included unless they were asked for apart.
        errors: what it printed as errors, where they were asked for apart.
    """

    code: int
    text: str
    errors: str = ""


class Slot:
    """Room for one process: never a second one behind one that cannot be killed."""

    def __init__(self, *, kill: Callable[[int, int], None] = os.kill, kill_limit_s: float = KILL_LIMIT_S) -> None:
        """Start nothing yet. `kill` is given a process, or a group as a negative number, and a signal."""
        self._kill, self._kill_limit_s = kill, kill_limit_s
        self._process: subprocess.Popen[bytes] | None = None
        self._leaving: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        """The process in the slot."""
        return self._process

    @property
    def stuck(self) -> bool:
        """Whether a process that was killed is still there."""
        if self._leaving is not None and self._leaving.poll() is not None:
            self._leaving = None
        return self._leaving is not None

    def start(
        self, command: Sequence[str], *, environment: Mapping[str, str] | None = None, stderr: int | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a process in a group of its own, with pipes that never block.

        Raises:
            Stuck: the one before is still there.
            OSError: the program cannot be started.
        """
        if self._leaving is not None and self.stuck:
            raise Stuck(f"process {self._leaving.pid} does not die of SIGKILL: it {whereabouts(self._leaving.pid)}")
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=dict(environment) if environment is not None else None,
            start_new_session=True,
        )
        for pipe in _pipes(self._process):
            os.set_blocking(pipe.fileno(), False)
        with contextlib.suppress(OSError):
            Path(f"/proc/{self._process.pid}/oom_score_adj").write_bytes(FIRST_TO_GO)
        return self._process

    def abandon(self) -> None:
        """Kill the process and its whole group without waiting for them to be gone."""
        process, self._process = self._process, None
        if process is None:
            return
        pipes = _pipes(process)
        names = names_of(pipes) if process.returncode is None else frozenset()
        for pipe in pipes:
            pipe.close()
        self._leaving = process
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._kill(-process.pid, signal.SIGKILL)
        for holder in holders_of(names):
            with contextlib.suppress(OSError):
                self._kill(holder, signal.SIGKILL)

    async def end(self) -> int:
        """Kill the process and return its exit code (negative: the signal), 0 when there was none.

        Raises:
            Stuck: it does not die.
        """
        self.abandon()
        leaving = self._leaving
        if leaving is None:
            return 0
        code = await _reaped(leaving, self._kill_limit_s)
        if code is None:
            raise Stuck(f"process {leaving.pid} does not die of SIGKILL: it {whereabouts(leaving.pid)}")
        self._leaving = None
        return code


class Child:
    """A long-lived process that answers each line it is sent with one line."""

    def __init__(self, command: Sequence[str], slot: Slot, *, environment: Mapping[str, str] | None = None) -> None:
        """Start nothing yet: the first question does."""
        self._command, self._slot, self._environment = tuple(command), slot, environment
        self._turn = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        """The process id, `None` while none runs."""
        return self._slot.process.pid if self._slot.process is not None else None

    @property
    def stuck(self) -> bool:
        """Whether a process of it can neither be used nor killed."""
        return self._slot.stuck

    async def ask(self, question: bytes, *, deadline_s: float) -> bytes:
        """Return the answer, without its newline. A process that is not there is started first.

        Raises:
            DeadlineMissed: it was killed.
            Stuck: it cannot be killed.
            ChildEnded: it ended without an answer.
            OSError: it cannot be started.
        """
        async with self._turn:
            process = self._slot.process or self._slot.start(self._command, environment=self._environment)
            answer = await _patiently(self._slot, deadline_s, _exchange(process, question))
            if answer is None:
                code = await _reaped(process, KILL_LIMIT_S)
                await self._slot.end()
                raise ChildEnded(f"{' '.join(self._command[1:])} ended with code {code} without an answer")
            return answer

    async def close(self) -> None:
        """End the process. One that does not die is left behind."""
        async with self._turn:
            with contextlib.suppress(Stuck):
                await self._slot.end()


class Command:
    """A program that is run to its end, one at a time."""

    def __init__(self, slot: Slot) -> None:
        """Run nothing yet."""
        self._slot = slot
        self._turn = asyncio.Lock()

    @property
    def stuck(self) -> bool:
        """Whether the last one can neither be waited for nor killed."""
        return self._slot.stuck

    async def run(self, command: Sequence[str], *, deadline_s: float, errors_apart: bool = False) -> Ended:
        """Return how the program ended, in the C locale and with nothing to read.

        Args:
            errors_apart: keep what it prints as errors out of the text.

        Raises:
            DeadlineMissed: it was killed.
            Stuck: it, or one before it, cannot be killed.
            ChildEnded: it printed more than anybody reads.
            OSError: it cannot be started.
        """
        stderr = subprocess.PIPE if errors_apart else subprocess.STDOUT
        async with self._turn:
            process = self._slot.start(command, environment={**for_programs(os.environ), "LC_ALL": "C"}, stderr=stderr)
            ended = await _patiently(self._slot, deadline_s, _run_to_end(process))
            await self._slot.end()
            return ended

    async def close(self) -> None:
        """End what still runs. A program that does not die is left behind."""
        with contextlib.suppress(Stuck):
            await self._slot.end()


async def _patiently(slot: Slot, deadline_s: float, work: Awaitable[T]) -> T:
    """Return what the work on the process returns; kill the process when it is late, fails, or nobody waits for it."""
    try:
        async with asyncio.timeout(deadline_s):
            return await work
    except TimeoutError as late:
        where = whereabouts(slot.process.pid) if slot.process is not None else "has ended"
        await slot.end()
        raise DeadlineMissed(f"no answer within {deadline_s:g} s: the process {where} and was killed") from late
    except BaseException:
        slot.abandon()
        raise


async def _run_to_end(process: subprocess.Popen[bytes]) -> Ended:
    if process.stdin is not None:
        process.stdin.close()
    text, errors = await _read_both(process)
    code = await _reaped(process, math.inf)
    return Ended(code or 0, text.decode("utf-8", "replace"), errors.decode("utf-8", "replace"))


async def _exchange(process: subprocess.Popen[bytes], question: bytes) -> bytes | None:
    """Send one line and return the line that comes back, `None` when the process ends before that."""
    if process.stdin is None or process.stdout is None:
        raise ChildEnded("the process has no pipes")
    try:
        await write_all(process.stdin.fileno(), question + b"\n")
    except BrokenPipeError:
        return None
    answer = bytearray()
    while not answer.endswith(b"\n"):
        piece = await read_some(process.stdout.fileno())
        if not piece:
            return None
        _extend(answer, piece)
    return bytes(answer[:-1])


async def _read_both(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    """Return all that the process prints and all that it prints as errors, read together so that neither fills up."""
    try:
        async with asyncio.TaskGroup() as tasks:
            text = tasks.create_task(_read_all(process.stdout))
            errors = tasks.create_task(_read_all(process.stderr))
    except* ChildEnded as ended:
        raise ended.exceptions[0] from ended
    return text.result(), errors.result()


async def _read_all(pipe: IO[bytes] | None) -> bytes:
    if pipe is None:
        return b""
    text = bytearray()
    while piece := await read_some(pipe.fileno()):
        _extend(text, piece)
    return bytes(text)


def _extend(text: bytearray, piece: bytes) -> None:
    text += piece
    if len(text) > MAX_ANSWER_BYTES:
        raise ChildEnded(f"the process answered with more than {MAX_ANSWER_BYTES >> 20} MiB and was killed")


async def write_all(descriptor: int, text: bytes) -> None:
    """Write to a pipe that never blocks, as fast as it is read."""
    loop = asyncio.get_running_loop()
    while text:
        try:
            text = text[os.write(descriptor, text) :]
        except BlockingIOError:
            await _until_ready(lambda call: loop.add_writer(descriptor, call), lambda: loop.remove_writer(descriptor))


async def read_some(descriptor: int) -> bytes:
    """Return what comes next from a pipe that never blocks, nothing at its end."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            return os.read(descriptor, READ_BYTES)
        except BlockingIOError:
            await _until_ready(lambda call: loop.add_reader(descriptor, call), lambda: loop.remove_reader(descriptor))


async def _until_ready(watch: Callable[[Callable[[], None]], None], forget: Callable[[], bool]) -> None:
    ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def note() -> None:
        if not ready.done():
            ready.set_result(None)

    watch(note)
    try:
        await ready
    finally:
        forget()


async def _reaped(
    process: subprocess.Popen[bytes], limit_s: float, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> int | None:
    """Return the exit code, `None` when the process is still there after about `limit_s`.

    The kernel is asked again and again, since waiting for a process in state D would never end.
    """
    waited_s, look_s = 0.0, FIRST_LOOK_S
    while (code := process.poll()) is None and waited_s < limit_s:
        await sleep(look_s)
        waited_s, look_s = waited_s + look_s, min(2 * look_s, LONGEST_LOOK_S)
    return code


def _pipes(process: subprocess.Popen[bytes]) -> list[IO[bytes]]:
    pipes = (process.stdin, process.stdout, process.stderr)
    return [pipe for pipe in pipes if pipe is not None and not pipe.closed]


def whereabouts(pid: int) -> str:
    """Return what a process is doing as the kernel says it, to end a sentence that begins with "it"."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1]
        channel = Path(f"/proc/{pid}/wchan").read_text()
    except OSError:
        return "has ended"
    return f"is in state {state}" + (f" in {channel}" if channel not in ("", "0") else "")
