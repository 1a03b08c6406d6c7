"""Ranks of a group on simulated machines: real processes that find each other, wait, and see when one dies."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
import pytest

from agent.bench.child import LINES, Line, Progress, Rendezvous
from agent.simulation.machine import SimulatedMachine
from checks.bench_outcome import Outcome
from checks.bench_result import Benchmark, BenchResult
from wire.bench import BenchWish, Rank

NODES = ("n1", "n2", "n3")
STRANGE_IDS = ("", "00", "zz" * 128)


class Cell:
    """Simulated machines side by side, and the benchmarks' processes on them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.machines = {
            name: SimulatedMachine.create(directory / name, name=name, seed=1, speedup=360.0) for name in NODES
        }
        self.processes: list[asyncio.subprocess.Process] = []

    async def start(self, node: str, wish: BenchWish) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "agent.simulation.bench", str(self.directory / node)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        self.processes.append(process)
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(wish) + b"\n")
        process.stdin.close()
        return process

    async def group(self, *ranks: int, limit_s: float = 60.0) -> list[asyncio.subprocess.Process]:
        """Start these ranks, rank 0 first, with the id that it says."""
        first = await self.start(NODES[0], wish_of(0, limit_s=limit_s))
        line = await line_of(first)
        assert isinstance(line, Rendezvous)
        others = [
            await self.start(NODES[number], wish_of(number, line.unique_id, limit_s=limit_s))
            for number in ranks
            if number
        ]
        return [first, *others]

    def left_behind(self) -> list[str]:
        """Return what lies in the groups' folder."""
        return [path.name for path in (self.directory / "groups").glob("*")]


def wish_of(number: int, unique_id: str = "", *, limit_s: float = 60.0) -> BenchWish:
    rank = Rank(number, NODES, unique_id, lanes=True)
    return BenchWish("lease-1", Benchmark.NCCL_ALL_REDUCE, 2, limit_s=limit_s, lease_ends_at=0.0, rank=rank)


async def line_of(process: asyncio.subprocess.Process) -> Line:
    assert process.stdout is not None
    line: Line = LINES.decode(await process.stdout.readline())
    return line


async def result_of(process: asyncio.subprocess.Process) -> BenchResult:
    async with asyncio.timeout(30):
        while not isinstance(line := await line_of(process), BenchResult):
            pass
        await process.wait()
    return line


async def results_of(processes: Sequence[asyncio.subprocess.Process]) -> list[BenchResult]:
    return await asyncio.gather(*map(result_of, processes))


@pytest.fixture
async def cell(tmp_path: Path) -> AsyncIterator[Cell]:
    cell = Cell(tmp_path)
    yield cell
    for process in cell.processes:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def values(result: BenchResult) -> dict[str, float]:
    return {number.lane: number.value or 0.0 for number in result.numbers}


async def test_a_group_measures_all_lanes_and_leaves_nothing(cell: Cell) -> None:
    results = await results_of(await cell.group(0, 1, 2))
    for result in results:
        assert (result.outcome, result.faults, result.missing) == (Outcome.PASS, (), ())
        assert {number.metric for number in result.numbers} == {"group_all_reduce", "lane_all_reduce"}
        assert set(values(result)) == {"all", *map(str, range(8))}
        assert values(result)["all"] == pytest.approx(386.0, rel=0.02)
        assert values(result)["4"] == pytest.approx(48.2, rel=0.02)
    assert cell.left_behind() == []


async def test_a_group_is_as_fast_as_its_slowest_adapter_and_its_rail_says_which(cell: Cell) -> None:
    await cell.machines["n3"].inject_fault("slow-nic", device="mlx5_6/1", parameters={})
    for result in await results_of(await cell.group(0, 1, 2)):
        shares = {lane: value / (386.0 if lane == "all" else 48.2) for lane, value in values(result).items()}
        slow = {lane for lane, share in shares.items() if share < 0.85}
        assert slow == {"all", "6"}
        assert shares["6"] == pytest.approx(0.5, rel=0.02)


async def test_a_slow_nvlink_slows_the_whole_group_and_no_rail(cell: Cell) -> None:
    await cell.machines["n2"].inject_fault("slow-nvlink", device="", parameters={})
    for result in await results_of(await cell.group(0, 1, 2)):
        assert values(result)["all"] < 0.85 * 386.0
        assert min(value for lane, value in values(result).items() if lane != "all") > 0.95 * 48.2


async def test_wrong_sums_of_one_rank_are_seen_by_all(cell: Cell) -> None:
    await cell.machines["n2"].inject_fault("wrong-sums", device="", parameters={})
    results = await results_of(await cell.group(0, 1, 2))
    assert {(result.outcome, result.faults[0].code) for result in results} == {(Outcome.FAIL, "wrong_result")}


async def test_a_rank_that_never_arrives_is_named_by_all_others(cell: Cell) -> None:
    results = await results_of(await cell.group(0, 2, limit_s=4.0))
    for result in results:
        assert (result.outcome, result.missing, result.numbers) == (Outcome.ERROR, ("n2",), ())
        assert result.because == "the rank of n2 never arrived within 2 s."
    assert cell.left_behind() == []


async def test_a_rank_that_is_killed_in_the_middle_is_named_by_all_others(cell: Cell) -> None:
    first, second, third = await cell.group(0, 1, 2)
    while not isinstance(line := await line_of(second), Progress):
        assert not isinstance(line, BenchResult)
    second.send_signal(signal.SIGKILL)
    for result in await results_of([first, third]):
        assert (result.outcome, result.missing) == (Outcome.ERROR, ("n2",))
    assert cell.left_behind() == []


@pytest.mark.parametrize(("number", "unique_id"), [(0, "00" * 128), *((1, text) for text in STRANGE_IDS)])
async def test_a_group_without_a_sound_id_is_an_error_of_the_test(cell: Cell, number: int, unique_id: str) -> None:
    result = await result_of(await cell.start(NODES[number], wish_of(number, unique_id)))
    assert result.outcome is Outcome.ERROR
    assert "cannot begin with the id" in result.because
