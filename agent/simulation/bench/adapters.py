"""`rdma` of a simulated machine: bandwidth and latency of each adapter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from agent.bench.child import NotHere
from agent.simulation.bench.speeds import LINE_RATE_PERCENT, WRITE_LATENCY_US
from agent.simulation.bench.subject import Subject
from agent.simulation.hardware import ACTIVE, SimulatedPort
from checks.bench_outcome import Outcome
from checks.bench_result import Benchmark, BenchNumber, BenchResult

BANDWIDTH, LATENCY = "rdma_write", "rdma_write_latency"

TAKES_S: Final = 25.0
"""In simulated seconds. Source: the budget of the first tier."""


def run(subject: Subject) -> BenchResult:
    """Measure each adapter whose port is up.

    Raises:
        NotHere: there is none.
    """
    ports = tuple(port for port in subject.hardware().ports if port.is_listed)
    up = tuple(port for port in ports if port.state == ACTIVE)
    if not up:
        raise NotHere("no adapter of this node has a port that is up")
    subject.spend(TAKES_S, f"writes over {len(up)} adapters")
    numbers = tuple(number for port in up for number in _of_port(subject, port))
    down = tuple(f"{port.name} is down and was not measured" for port in ports if port not in up)
    because = f"{len(up)} adapters were measured."
    return BenchResult(
        Benchmark.RDMA,
        Outcome.PASS,
        because,
        numbers,
        machine=subject.measured_on(len(subject.hardware().gpus)),
        notes=down,
    )


def _of_port(subject: Subject, port: SimulatedPort) -> Iterator[BenchNumber]:
    device = port.name.partition("/")[0]
    yield subject.number(BANDWIDTH, LINE_RATE_PERCENT * port.share, device=device)
    yield subject.number(LATENCY, WRITE_LATENCY_US, device=device)
