"""A process that measures one thing for a benchmark's process, which outlives it whatever becomes of it."""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Final

import msgspec

from agent.bench.child import LINES, Broken, Line, Say
from agent.bench.lifeline import die_with_parent
from agent.bench.watch import Watch
from agent.sources.child import whereabouts
from checks.bench_result import BenchResult
from wire.bench import BenchWish

LOOK_S: Final = 0.25
READ_BYTES: Final = 1 << 16
MOST_BYTES: Final = 8 << 20
"""Of what a process says. Source: our choice; a result of 8 GPUs has 20 kB."""

KILL_S: Final = 1.0
"""How long a process may take to die of SIGKILL. Source: our choice."""


class Late(Broken):
    """The process did not end in time, and was killed."""


def result_of(
    command: Sequence[str], wish: BenchWish, environment: Mapping[str, str], *, say: Say, watch: Watch
) -> BenchResult:
    """Return the result that a benchmark's process says, and pass on its other lines.

    Raises:
        Broken: it ended without one, or did not end in time.
    """
    results: list[BenchResult] = []

    def take(text: bytes) -> None:
        line = _decoded(text)
        if isinstance(line, BenchResult):
            results.append(line)
        elif line is not None:
            say(line)

    code = run_to_end(command, environment, watch, given=msgspec.json.encode(wish) + b"\n", take=take)
    if not results:
        raise Broken(f"the process that measures {ending(code)} without a result")
    return results[-1]


def run_to_end(
    command: Sequence[str],
    environment: Mapping[str, str],
    watch: Watch,
    *,
    given: bytes = b"",
    take: Callable[[bytes], None] = lambda _: None,
) -> int:
    """Return how a program ended (negative: the signal). It stays in this process's group, and dies with it.

    Args:
        given: what it reads.
        take: called with every line that it prints.

    Raises:
        Broken: it cannot be started, says too much, or does not end in time; then it is killed.
    """
    try:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=dict(environment),
            preexec_fn=die_with_parent,
        )
    except OSError as error:
        raise Broken(f"{command[0]} cannot be started: {error}") from error
    try:
        _give(process.stdin, given)
        _follow(process, take, watch)
        return process.wait(max(KILL_S, watch.left_s))
    except subprocess.TimeoutExpired as error:
        raise _late(process) from error
    finally:
        _end(process)


def ending(code: int) -> str:
    """Return how a process ended, to go on with a sentence."""
    return f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"


def _give(pipe: IO[bytes] | None, text: bytes) -> None:
    if pipe is not None:
        with contextlib.suppress(BrokenPipeError), pipe:
            pipe.write(text)


def _follow(process: subprocess.Popen[bytes], take: Callable[[bytes], None], watch: Watch) -> None:
    """Take every line until the process closes its pipe."""
    if process.stdout is None:
        return
    rest, taken = b"", 0
    with selectors.DefaultSelector() as ready:
        ready.register(process.stdout, selectors.EVENT_READ)
        while piece := _next_piece(process, ready, watch):
            taken += len(piece)
            if taken > MOST_BYTES:
                raise Broken(f"the process that measures says more than {MOST_BYTES >> 20} MiB")
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                take(line)


def _next_piece(process: subprocess.Popen[bytes], ready: selectors.BaseSelector, watch: Watch) -> bytes:
    while not ready.select(min(LOOK_S, watch.left_s)):
        if watch.left_s <= 0.0:
            raise _late(process)
    return os.read(process.stdout.fileno(), READ_BYTES) if process.stdout is not None else b""


def _late(process: subprocess.Popen[bytes]) -> Late:
    return Late(f"the process that measures did not end in time: it {whereabouts(process.pid)}, and was killed")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill what still runs. One that does not die of it sits in the kernel, and is left to who watches this process."""
    if process.poll() is None:
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(KILL_S)
    if process.stdout is not None:
        process.stdout.close()


def _decoded(text: bytes) -> Line | None:
    """Return what a line says, `None` for one that a library printed in between."""
    try:
        line: Line = LINES.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return line
