"""An all-reduce over the GPUs of this process, alone or together with other nodes: how long it takes, and its sums."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from agent.bench.laps import Laps, repeated
from agent.bench.nccl import Clique, Nccl, Seat
from agent.bench.sums import WORD_BYTES, WrongSum, fill, first_wrong, poison
from agent.bench.watch import Overdue, Watch

HANG_S: Final = 60.0
"""After which an all-reduce hangs. Source: our choice: a chunk of them takes one second, and a single one of 16 GiB
takes less than that over a link of 1 GB/s."""

WARM_UP: Final = 2
"""Source: our choice: the first one connects, the second one fills the caches; nccl-tests has one."""

PAGE_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Party:
    """A clique and its seats. `rank`: of the first of them in the clique's world."""

    clique: Clique
    seats: tuple[Seat, ...]
    rank: int


@dataclass(frozen=True, slots=True)
class Lot:
    """How often to repeat, and who has a say in it.

    Attributes:
        budget_s: how long it may take.
        agreed: what all ranks do of what this one would; they must repeat equally often.
    """

    repetitions: int
    budget_s: float
    agreed: Callable[[int], int] = lambda count: count


class Table:
    """Parties that reduce at the same time: one, of all GPUs, or one for each rail."""

    def __init__(self, nccl: Nccl, parties: Sequence[Party], watch: Watch) -> None:
        """Give each seat its marks."""
        self._nccl, self._parties, self._watch = nccl, tuple(parties), watch
        self._laps = Laps([seat.stream for party in parties for seat in party.seats])

    def settle(self, what: str, watch: Watch | None = None) -> None:
        """Wait until every communicator is at rest, which a new one is once all ranks came.

        Raises:
            Broken: one of them failed, or is not by the deadline.
        """
        (watch or self._watch).until(self.is_settled, what)

    def is_settled(self) -> bool:
        """Return whether every communicator is at rest.

        Raises:
            NcclFailed: one of them is broken.
        """
        return all([party.clique.is_settled() for party in self._parties])  # noqa: C419  each of them is to be asked

    def timed(self, size_bytes: int, lot: Lot) -> list[list[float]]:
        """Return the seconds of each all-reduce of this size, one list for each party.

        Raises:
            Broken: NCCL or CUDA failed, or an all-reduce hangs.
        """
        words = size_bytes // WORD_BYTES
        self._fill(words)
        self._chunk(words, WARM_UP)
        each = repeated(
            lambda count: self._chunk(words, count), lot.repetitions, budget_s=lot.budget_s, agreed=lot.agreed
        )
        return self._by_party(each)

    def wrong_sums(self, size_bytes: int, *, stage: int, whole: bool) -> list[tuple[Seat, WrongSum]]:
        """Return the GPUs that hold wrong sums after `timed`, with the first of them.

        Args:
            stage: address of `sums.STAGE_BYTES` of the host's memory.
            whole: look at every word.
        """
        words, found = size_bytes // WORD_BYTES, []
        for party in self._parties:
            ranks = party.clique.ranks
            for seat in party.seats:
                wrong = first_wrong(
                    seat.stream, seat.receive, words, ranks=ranks, stage=stage, whole=whole, watch=self._watch
                )
                found += [(seat, wrong)] if wrong is not None else []
        return found

    def abort(self) -> None:
        """Leave whatever is under way."""
        for party in self._parties:
            party.clique.abort()

    def _fill(self, words: int) -> None:
        for party in self._parties:
            for number, seat in enumerate(party.seats):
                fill(seat.stream, seat.send, words, party.rank + number)
                poison(seat.stream, seat.receive, words)

    def _chunk(self, words: int, count: int) -> list[list[float]]:
        what = f"an all-reduce of {words * WORD_BYTES / 2**20:g} MiB over {self._parties[0].clique.ranks} GPUs"
        watch = self._watch.within(HANG_S)
        try:
            return self._laps.timed(lambda: self._reduce(words, watch, what), count, watch, what=what, look=self._look)
        except Overdue as overdue:
            self.abort()
            raise Overdue(f"{overdue}: it hangs, and was aborted") from overdue

    def _reduce(self, words: int, watch: Watch, what: str) -> None:
        with self._nccl.grouped():
            for party in self._parties:
                party.clique.all_reduce(party.seats, words)
        # Marks that follow would come before the work, as long as NCCL still connects in a thread of its own.
        self.settle(what, watch)

    def _look(self) -> None:
        """Ask the communicators how they are while their work is waited for.

        Raises:
            NcclFailed: one of them is broken, so that the work will never be done.
        """
        self.is_settled()

    def _by_party(self, each: Sequence[Sequence[float]]) -> list[list[float]]:
        """Return, for each party, how long its slowest GPU took each time."""
        rest = iter(each)
        seats = [[next(rest) for _ in party.seats] for party in self._parties]
        return [[max(times) for times in zip(*mine, strict=True)] for mine in seats]


class Vote:
    """How the ranks of a group agree on a number, the least that any of them gives."""

    def __init__(self, clique: Clique, seats: Sequence[Seat], watch: Watch) -> None:
        """Take a page of each GPU for it, and of the host."""
        self._clique, self._watch = clique, watch
        self._seats = [_page_of(seat) for seat in seats]
        self._answer = self._seats[0].stream.context.allocate_host(PAGE_BYTES)

    def least(self, number: int) -> int:
        """Return the least number.

        Raises:
            Broken: another rank does not answer.
        """
        what, watch = "agreeing with the other ranks", self._watch.within(HANG_S)
        for seat in self._seats:
            seat.stream.fill(seat.send, number, 1)
        self._clique.all_reduce(self._seats, 1, least=True)
        watch.until(self._clique.is_settled, what)
        first = self._seats[0]
        watch.until(first.stream.is_idle, what)
        first.stream.copy_out(self._answer, first.receive, WORD_BYTES)
        watch.until(first.stream.is_idle, what)
        return ctypes.c_int32.from_address(self._answer).value


def _page_of(seat: Seat) -> Seat:
    page = seat.stream.context.allocate(PAGE_BYTES)
    return Seat(seat.stream, page, page + PAGE_BYTES // 2)
