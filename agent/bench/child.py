"""What a benchmark's process and the agent say to each other: a wish in, lines out, the last of which is the result.

Every benchmark is a process of its own, `python -m agent.bench.children.<name>`: never the daemon, which must hold no
CUDA context and must not hang. Whatever it starts stays in its process group, so that ending the group ends all.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from typing import Final

import msgspec

from agent.bench.lifeline import die_with_parent
from checks.bench_outcome import Outcome
from checks.bench_result import BenchResult
from wire.bench import BenchWish


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """How far it is. `share`: of the whole, from 0 to 1."""

    share: float
    text: str = ""


class Rendezvous(msgspec.Struct, frozen=True, tag="rendezvous"):
    """Rank 0 waits for the others. `unique_id`: NCCL's, in hexadecimal."""

    unique_id: str


Line = Progress | Rendezvous | BenchResult
Say = Callable[[Line], None]

LINES: Final = msgspec.json.Decoder(Line)
_wish = msgspec.json.Decoder(BenchWish)
_encoder = msgspec.json.Encoder()


class Broken(Exception):
    """The test itself cannot be carried out, which says nothing of the hardware; the text is its sentence."""


class NotHere(Exception):
    """The host has nothing to test, or not the means; the test is skipped, and the text says why."""


def carry_out(benchmark: Callable[[BenchWish, Say], BenchResult]) -> None:
    """Be the process of one benchmark: read the wish, run it, say the result.

    What the libraries and programs behind it print goes to where errors go: the lines are ours alone. The process ends
    with the one that started it.
    """
    die_with_parent()
    lines = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def say(line: Line) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(lines, _encoder.encode(line) + b"\n")

    wish = _wish.decode(sys.stdin.buffer.readline())
    try:
        result = benchmark(wish, say)
    except NotHere as reason:
        result = BenchResult(wish.benchmark, Outcome.SKIP, str(reason))
    except Broken as failure:
        result = BenchResult(wish.benchmark, Outcome.ERROR, str(failure))
    except Exception as error:
        result = BenchResult(wish.benchmark, Outcome.ERROR, f"the benchmark's process failed: {error!r}")
    say(result)
