"""What an order to run a benchmark says, and how it travels in the order's parameters.

Whatever becomes of a wish that can be read is told by a `BenchEnded`, before the order ends as `done`: also when
nothing was run. The order is `refused` when the node runs no benchmarks, or the wish cannot be read. A lease is taken
back by an order with the parameter `stop`; the run under it ends, as it also does when the lease is over.
"""

from __future__ import annotations

import msgspec

from checks.bench_result import Benchmark
from wire.messages import Refused


class Rank(msgspec.Struct, frozen=True):
    """One node's part in a group.

    Attributes:
        number: from 0; rank 0 makes the unique id, and says it in a `BenchRendezvous`.
        nodes: of all ranks, in their order.
        unique_id: NCCL's, in hexadecimal; empty for rank 0.
        lanes: whether each rail is measured by itself too.
    """

    number: int
    nodes: tuple[str, ...]
    unique_id: str = ""
    lanes: bool = False


class BenchWish(msgspec.Struct, frozen=True):
    """What to run.

    Attributes:
        lease: under which it runs; the results name it.
        tier: 1 takes at most 30 s, 2 at most 5 min, 3 longer and on a cordoned node alone.
        limit_s: wall time after which it is ended.
        idle_by: who says that the node has no work, e.g. `slurm`; empty: nobody, and nothing is run.
        options: benchmark-specific, e.g. `path` of `storage`, `level` of `dcgm`, `golden` of `gemm`.
    """

    lease: str
    benchmark: Benchmark
    tier: int
    limit_s: float
    lease_ends_at: float
    idle_by: str = ""
    rank: Rank | None = None
    options: dict[str, str] = {}


WISH = "wish"
STOP = "stop"
"""Parameters of an order BENCH: what to run, or the lease that is taken back. One of the two."""


def to_stop(lease: str) -> dict[str, str]:
    """Return the parameters of an order that takes a lease back: what runs under it ends, and nothing more begins."""
    return {STOP: lease}


def stopped_lease(parameters: dict[str, str]) -> str:
    """Return the lease that an order takes back, empty when it asks for a run."""
    return parameters.get(STOP, "")


def to_parameters(wish: BenchWish) -> dict[str, str]:
    """Return the parameters of the order."""
    return {WISH: msgspec.json.encode(wish).decode()}


def from_parameters(parameters: dict[str, str]) -> BenchWish:
    """Return what to run.

    Raises:
        Refused: it is no such wish, with the field that is wrong.
    """
    try:
        return msgspec.json.decode(parameters.get(WISH, ""), type=BenchWish)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Refused(f"wish of a benchmark: {error}") from error
