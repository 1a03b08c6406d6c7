"""`storage` of a simulated machine: how fast its scratch file system is read."""

from __future__ import annotations

import signal
from typing import Final

from agent.bench.child import NotHere
from agent.simulation.bench.speeds import SCRATCH_READ
from agent.simulation.bench.subject import SKU, Subject
from agent.simulation.faults import SCRATCH
from checks.bench_outcome import Outcome
from checks.bench_result import BenchMachine, Benchmark, BenchResult

METRIC: Final = "storage_read"
FILESYSTEM: Final = "xfs"

TAKES_S: Final = 20.0
"""In simulated seconds. Source: the budget of the first tier."""

BLOCK_GB: Final = 0.004194304
"""Of one read: 4 MiB."""


def run(subject: Subject) -> BenchResult:
    """Read a scratch file; for ever, where the file system never answers.

    Raises:
        NotHere: another file system is asked for.
    """
    path = subject.wish.options.get("path", SCRATCH)
    if path != SCRATCH:
        raise NotHere(f"a simulated machine has {SCRATCH} alone to be read, and not {path}")
    host = subject.hardware().host
    while host.hung_mount == SCRATCH:
        signal.pause()
    subject.spend(TAKES_S, f"reading a file of {SCRATCH}")
    number = subject.number(METRIC, SCRATCH_READ * host.scratch_share, device=SCRATCH, amount=BLOCK_GB)
    because = f"A file of {SCRATCH} was read, and is as it was written."
    machine = BenchMachine(SKU, topology=f"{FILESYSTEM} at {SCRATCH}")
    return BenchResult(Benchmark.STORAGE, Outcome.PASS, because, (number,), machine=machine)
