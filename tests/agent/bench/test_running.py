"""The processes of a benchmark: what they say, and that they end, whoever dies first."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import aclosing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.bench.child import LINES, Line, Progress
from agent.bench.lock import NotLocked, locked
from agent.bench.running import LONGEST_LINE_BYTES, Malformed, Running, members_of, parsed
from checks.bench_result import Benchmark, BenchResult
from tests.support.bench_site import BENCHMARK, fast_clock, is_alive
from tests.support.eventually import eventually
from wire.bench import BenchWish

WISH = BenchWish("lease-1", Benchmark.GEMM, 1, 30.0, 0.0, "slurm")


def started(tmp_path: Path, *command: str, held: int) -> Running:
    """Return the processes of a program that is no benchmark."""
    return Running(command or (sys.executable, str(BENCHMARK), "stubborn", str(tmp_path / "processes")), held=held)


async def heard(running: Running) -> list[Line]:
    """Return all lines."""
    async with aclosing(running.lines(WISH)) as lines:
        return [line async for line in lines]


async def test_the_wish_comes_whole_and_the_result_is_the_last_line(tmp_path: Path) -> None:
    with locked(tmp_path) as held:
        running = started(tmp_path, sys.executable, str(BENCHMARK), "measures", "", held=held)
        said = await heard(running)
        assert await running.end() == ()
    assert [type(line) for line in said] == [Progress] * 5 + [BenchResult]
    assert isinstance(said[-1], BenchResult)
    assert said[-1].benchmark is Benchmark.GEMM


@pytest.mark.parametrize("length", [LONGEST_LINE_BYTES + 10, 2 * LONGEST_LINE_BYTES])
@pytest.mark.parametrize("end", ["", "\\n"])
async def test_a_line_without_end_is_not_kept(tmp_path: Path, length: int, end: str) -> None:
    with locked(tmp_path) as held:
        running = started(tmp_path, "sh", "-c", f"head -c {length} /dev/zero; printf '{end}'; sleep 60", held=held)
        with pytest.raises(Malformed, match="a line of more than 192 KiB"):
            await heard(running)
        assert await running.end() == ()


async def test_errors_are_kept_by_their_end(tmp_path: Path) -> None:
    script = "head -c 100000 /dev/zero | tr '\\0' x >&2; echo the end >&2"
    with locked(tmp_path) as held:
        running = started(tmp_path, "sh", "-c", script, held=held)
        assert await heard(running) == []
        await eventually("the errors are heard", lambda: running.last_errors.endswith("the end"))
        assert await running.end() == ()
    assert len(running.last_errors) <= 2048


async def test_what_not_even_sigkill_ends_is_told_and_keeps_the_next_out(tmp_path: Path) -> None:
    sent: list[int] = []

    def harmless(_: int, number: int) -> None:
        sent.append(number)

    with locked(tmp_path) as held:
        command = (sys.executable, str(BENCHMARK), "stubborn", str(tmp_path / "processes"))
        running = Running(command, held=held, clock=fast_clock(), kill=harmless)
        hearing = asyncio.create_task(heard(running))
        await eventually("it runs", (tmp_path / "processes").exists)
        guard, benchmark, tool = (int(pid) for pid in (tmp_path / "processes").read_text().split())
        hearing.cancel()
        await asyncio.gather(hearing, return_exceptions=True)
        assert {benchmark, tool} <= set(await running.end())
    assert {signal.SIGTERM, signal.SIGKILL} == set(sent)
    await eventually("the guard has seen that nobody hears it, and ended all", lambda: not running._members())
    assert not any(members_of(guard))


async def test_all_of_the_group_ends_with_the_agent_and_the_lock_is_free(tmp_path: Path) -> None:
    script = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from agent.bench.lock import locked\n"
        "from tests.agent.bench.test_running import heard, started\n"
        "async def run():\n"
        "    with locked(Path(sys.argv[1])) as held:\n"
        "        await heard(started(Path(sys.argv[1]), held=held))\n"
        "asyncio.run(run())\n"
    )
    agent = subprocess.Popen(  # noqa: ASYNC220 # it is killed, and not waited for
        [sys.executable, "-c", script, str(tmp_path)], cwd=Path.cwd()
    )
    try:
        await eventually("it runs", (tmp_path / "processes").exists, limit_s=60.0)
        processes = tuple(int(pid) for pid in (tmp_path / "processes").read_text().split())
        assert len(processes) == 3
        with pytest.raises(NotLocked), locked(tmp_path):
            pass
    finally:
        agent.send_signal(signal.SIGKILL)
        agent.wait()
    began = time.monotonic()
    await eventually("all are gone", lambda: not any(map(is_alive, processes)))
    assert time.monotonic() - began < 2.0
    with locked(tmp_path):
        pass


async def test_a_benchmark_whose_guard_is_killed_dies_with_it(tmp_path: Path) -> None:
    with locked(tmp_path) as held:
        running = started(tmp_path, held=held)
        hearing = asyncio.create_task(heard(running))
        await eventually("it runs", (tmp_path / "processes").exists)
        guard, benchmark, tool = (int(pid) for pid in (tmp_path / "processes").read_text().split())
        os.kill(guard, signal.SIGKILL)
        await hearing
        await eventually("the benchmark is gone", lambda: not is_alive(benchmark))
        assert is_alive(tool)
        assert await running.end() == ()
    assert not is_alive(tool)


async def test_a_program_that_is_not_there_ends_without_a_line(tmp_path: Path) -> None:
    with locked(tmp_path) as held:
        running = started(tmp_path, "/no/such/program", held=held)
        assert await heard(running) == []
        await eventually("the reason is heard", lambda: "/no/such/program" in running.last_errors)
        assert await running.end() == ()


@given(st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
def test_any_bytes_are_a_line_or_malformed(text: bytes) -> None:
    try:
        line = parsed(text)
    except Malformed:
        return
    assert line == LINES.decode(text)


@pytest.mark.parametrize("depth", [100_000])
def test_a_deep_line_is_malformed(depth: int) -> None:
    with pytest.raises(Malformed):
        parsed(b'{"type":"result","machine":' + b"[" * depth)
