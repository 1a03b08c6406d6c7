"""A benchmark's process as the agent runs it: a wish in, lines out, in a group of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from agent.bench.child import LINES, Line, Progress
from checks.bench_result import Benchmark, BenchResult
from tests.support.checkout import ROOT
from wire.bench import BenchWish


def wish_for(
    benchmark: Benchmark, options: Mapping[str, str] | None = None, *, tier: int = 2, limit_s: float = 60.0
) -> BenchWish:
    """Return a wish of one node by itself."""
    return BenchWish("lease-1", benchmark, tier, limit_s, 2_000_000_000.0, "slurm", options=dict(options or {}))


@dataclass(slots=True)
class Said:
    """What a benchmark said, in place of a pipe."""

    lines: list[Line] = field(default_factory=list)

    def __call__(self, line: Line) -> None:
        """Keep the line."""
        self.lines.append(line)

    @property
    def progress(self) -> list[float]:
        """How far it said that it was, each time."""
        return [line.share for line in self.lines if isinstance(line, Progress)]


class BenchProcess:
    """The process, which the `with` statement ends with its whole group."""

    def __init__(self, wish: BenchWish, *, code: str = "", environment: Mapping[str, str] | None = None) -> None:
        """Start it and send the wish.

        Args:
            code: Python that is the process, in place of the benchmark's own module.
        """
        module = ["-c", code] if code else ["-m", f"agent.bench.children.{wish.benchmark}"]
        command = [sys.executable, *module]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
        assert self._process.stdin is not None
        with self._process.stdin as pipe:
            pipe.write(msgspec.json.encode(wish) + b"\n")

    def __enter__(self) -> BenchProcess:
        """Give the process."""
        return self

    def __exit__(self, *_: object) -> None:
        """End what is left of its group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process.wait(timeout=10)

    @property
    def pid(self) -> int:
        """The process id, which is its group's too."""
        return self._process.pid

    def next_line(self) -> Line | None:
        """Return the next line, `None` once it has closed its pipe."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return LINES.decode(line) if line else None

    def result(self) -> BenchResult:
        """Return the result after every other line."""
        while (line := self.next_line()) is not None:
            if isinstance(line, BenchResult):
                return line
        raise AssertionError("it ended without a result")

    def end_group(self, with_signal: signal.Signals) -> int:
        """Send a signal to the whole group, and return how the process ended (negative: the signal)."""
        os.killpg(self._process.pid, with_signal)
        return self._process.wait(timeout=10)


def has_life(pid: int) -> bool:
    """Return whether a process runs; one that ended and that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1] not in ("Z", "X")
    except OSError:
        return False


def members(group: int) -> set[int]:
    """Return the processes of a group that still run."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            of_group = os.getpgid(int(folder.name))
        except ProcessLookupError:
            continue
        if of_group == group and has_life(int(folder.name)):
            found.add(int(folder.name))
    return found
