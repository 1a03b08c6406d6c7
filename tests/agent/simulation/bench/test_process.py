"""The process of a simulated benchmark keeps the contract: it ends on TERM, and hangs where the driver does."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from agent.bench.child import LINES, Progress
from agent.simulation.machine import SimulatedMachine
from checks.bench_outcome import Outcome
from checks.bench_result import Benchmark, BenchResult
from wire.bench import BenchWish

SOON_S = 2.0


def started(directory: Path, benchmark: Benchmark, tier: int = 1) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "agent.simulation.bench", str(directory)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdin is not None
    wish = BenchWish("lease-1", benchmark, tier, limit_s=60.0, lease_ends_at=0.0)
    process.stdin.write(msgspec.json.encode(wish) + b"\n")
    process.stdin.close()
    return process


@pytest.fixture
def machine(tmp_path: Path) -> SimulatedMachine:
    return SimulatedMachine.create(tmp_path / "n1", name="n1", seed=1, speedup=1.0)


def test_it_says_its_progress_and_ends_on_term_within_the_second(machine: SimulatedMachine) -> None:
    with started(machine.directory, Benchmark.DCGM, tier=3) as process:
        assert process.stdout is not None
        assert isinstance(LINES.decode(process.stdout.readline()), Progress)
        process.terminate()
        assert process.wait(SOON_S) == -signal.SIGTERM


async def test_it_hangs_where_every_call_into_the_driver_hangs(machine: SimulatedMachine) -> None:
    await machine.inject_fault("nvml-hang", device="", parameters={})
    with started(machine.directory, Benchmark.GEMM) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(SOON_S)
        process.kill()
        assert process.stdout is not None
        assert process.stdout.read() == b""


def test_a_damaged_machine_is_an_error_of_the_test(tmp_path: Path) -> None:
    with started(tmp_path, Benchmark.RDMA) as process:
        assert process.stdout is not None
        result = LINES.decode(process.stdout.readline())
    assert isinstance(result, BenchResult)
    assert result.outcome is Outcome.ERROR
    assert "machine.json" in result.because
