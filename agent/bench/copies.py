"""Copies within, to, from and between GPUs: how fast they are, and whether what arrives is what was sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from agent.bench.cuda import Context
from agent.bench.laps import Laps, repeated
from agent.bench.samples import number_of
from agent.bench.sums import WORD_BYTES, WRONG_RESULT, fill, first_wrong, poison
from agent.bench.watch import Watch
from checks.bench_result import BenchFault, BenchNumber

GIGABYTE: Final = 1e9
MIB: Final = 1 << 20

WARM_UP: Final = 3
"""Copies that do not count: an idle GPU lets its clocks and its PCI Express link sleep. Source: our choice."""

COPY_S: Final = 20.0
"""After which a copy hangs. Source: our choice; a chunk of copies takes one second."""

MOST_BYTES: Final = 512 * MIB
"""Source: nvbandwidth 0.8, whose buffers have 512 MiB; many times the GPU's caches."""

SHARE_OF_MEMORY: Final = 1 / 8


@dataclass(frozen=True, slots=True)
class Copying:
    """How much is copied, how often, and for how long at most."""

    size_bytes: int
    repetitions: int
    budget_s: float


PLANS: Final = {1: (20, 0.2), 2: (50, 1.0), 3: (200, 5.0)}
"""Tier → how often a copy is repeated, and for how long at most. Source: our choice, after nvbandwidth's 10 in
azurehpc-health-checks; eight GPUs and the 56 ways between them take a third of the tier's time."""


def copying_of(tier: int, *, memory_bytes: int) -> Copying:
    """Return what fits into the smallest GPU's memory."""
    size = min(MOST_BYTES, int(memory_bytes * SHARE_OF_MEMORY)) // MIB * MIB
    return Copying(max(size, MIB), *PLANS[min(max(tier, 1), 3)])


@dataclass(frozen=True, slots=True)
class Copied:
    """What copies gave."""

    numbers: tuple[BenchNumber, ...]
    faults: tuple[BenchFault, ...] = ()


class Copier:
    """Two buffers on one GPU, and a stream to copy on.

    Attributes:
        device: the GPU's UUID.
    """

    def __init__(self, context: Context, copying: Copying, watch: Watch) -> None:
        """Take the memory, and write the pattern.

        Raises:
            Broken: there is not enough.
        """
        self.context, self.device = context, context.gpu.uuid
        self.stream = context.stream()
        self.source, self.target = (context.allocate(copying.size_bytes) for _ in range(2))
        self._copying, self._watch, self._laps = copying, watch, Laps([self.stream])
        self._words = copying.size_bytes // WORD_BYTES
        fill(self.stream, self.source, self._words, 0)

    def within(self, stage: int) -> Copied:
        """Return how fast the GPU copies in its own memory; bytes read and written count together.

        Args:
            stage: address of `sums.STAGE_BYTES` of the host's memory.
        """
        self.poison()
        number = self.timed("memory_copy", lambda: self.stream.copy_within(self.target, self.source, self.size_bytes))
        both = msgspec.structs.replace(number, value=number.value and 2 * number.value)
        return Copied((both,), self.wrong(stage, self.device, "within its memory"))

    def to_host(self, host: int, stage: int) -> Copied:
        """Return how fast the GPU copies to the host's memory, and from there.

        Args:
            host: address of as much memory of the host.
            stage: address of `sums.STAGE_BYTES` more.
        """
        self.poison()
        out = self.timed("device_to_host", lambda: self.stream.copy_out(host, self.source, self.size_bytes))
        back = self.timed("host_to_device", lambda: self.stream.copy_in(self.target, host, self.size_bytes))
        return Copied((out, back), self.wrong(stage, self.device, "to the host's memory and back"))

    def to_peer(self, other: Copier, stage: int) -> Copied:
        """Return how fast the GPU copies to the memory of another one, which it must be able to reach."""
        self.context.let_copy_to(other.context)
        other.poison()
        way = f"{self.device}>{other.device}"
        number = self.timed(
            "peer_copy",
            lambda: self.stream.copy_to(other.context, other.target, self.source, self.size_bytes),
            device=way,
        )
        return Copied((number,), other.wrong(stage, way, "from one GPU to the other"))

    @property
    def size_bytes(self) -> int:
        """Of a buffer."""
        return self._copying.size_bytes

    def poison(self) -> None:
        """Write to the target what is no pattern."""
        poison(self.stream, self.target, self._words)
        self._watch.within(COPY_S).until(self.stream.is_idle, f"writing to the memory of {self.device}")

    def timed(self, metric: str, copy: Callable[[], None], *, device: str = "") -> BenchNumber:
        """Return how fast a copy of a buffer is that is queued on the stream.

        Raises:
            Broken: it failed, or hangs.
        """
        device, watch = device or self.device, self._watch

        def timed(count: int) -> list[list[float]]:
            return self._laps.timed(copy, count, watch.within(COPY_S), what=f"{metric} on {device}")

        timed(WARM_UP)
        (times,) = repeated(timed, self._copying.repetitions, budget_s=self._copying.budget_s)
        number = number_of(metric, self.size_bytes / GIGABYTE, times, device=device)
        return msgspec.structs.replace(number, size_bytes=self.size_bytes)

    def wrong(self, stage: int, device: str, way: str) -> tuple[BenchFault, ...]:
        """Return the fault, when the target does not hold the pattern."""
        found = first_wrong(self.stream, self.target, self._words, ranks=1, stage=stage, whole=False, watch=self._watch)
        if found is None:
            return ()
        return (
            BenchFault(
                WRONG_RESULT,
                f"A copy {way} changed the data: {found}.",
                device,
            ),
        )
