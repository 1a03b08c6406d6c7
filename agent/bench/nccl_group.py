"""An all-reduce over the GPUs of several nodes, of which this is one: all together, then each rail by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

import msgspec

from agent.bench.all_reduce import Lot, Party, Table, Vote
from agent.bench.all_reduce_plan import LEAST_BYTES, Plan
from agent.bench.child import Rendezvous, Say
from agent.bench.nccl import Nccl
from agent.bench.nccl_node import bus_bandwidth, measure_sizes, seats_of, wrong_results
from agent.bench.rig import Found, Rig
from agent.bench.roll_call import RankMissing, Roll, answer_roll, call_from
from agent.bench.watch import Overdue, Watch
from checks.bench_result import BenchNumber
from wire.bench import Rank

ARRIVAL_SHARE: Final = 0.6
ARRIVAL_MOST_S: Final = 120.0
"""How much of the time the other ranks have to arrive. Source: our choice; an order reaches a node within seconds, and
the node's gate watches for ten seconds that it is idle."""

LATER_S: Final = 5.0
"""How much longer the others wait for what rank 0 says than it waits for them. Source: our choice."""

SETTLE_S: Final = 30.0
"""How long NCCL may take to bring ranks together that are there, and to part them. Source: our choice; it takes about a
second for a few nodes."""

PAIR: Final = "two_node_all_reduce"
GROUP: Final = "group_all_reduce"
LANE: Final = "lane_all_reduce"
ALL_LANES: Final = "all"


class Group:
    """This node's part of a group."""

    def __init__(self, rig: Rig, nccl: Nccl, rank: Rank, say: Say) -> None:
        """Meet nobody yet."""
        self._rig, self._nccl, self._rank, self._say = rig, nccl, rank, say
        self._gpus = len(rig.contexts)

    def measure(self, plan: Plan, found: Found) -> None:
        """Meet the other ranks, measure all GPUs together and, where that is wished, each rail.

        Raises:
            RankMissing: other ranks did not arrive.
            Broken: NCCL or CUDA failed, or an all-reduce hangs.
        """
        watch = self._rig.watch
        arrival = watch.within(min(ARRIVAL_MOST_S, ARRIVAL_SHARE * watch.left_s))
        unique_id = self._meet(arrival)
        seats = seats_of(self._rig, plan.largest_bytes)
        first, ranks = self._rank.number * self._gpus, len(self._rank.nodes) * self._gpus
        world = Party(self._nccl.of_group(self._rig.contexts, unique_id, ranks=ranks, first=first), seats, first)
        with self._at(world) as table:
            self._settle(table, arrival)
            vote = Vote(world.clique, seats, watch)
            plan = _agreed(plan, vote)
            self._measure_all(table, plan, vote, found)
            if self._rank.lanes:
                self._measure_lanes(world, plan, vote, found)

    def _meet(self, arrival: Watch) -> bytes:
        """Return NCCL's unique id once every rank has said that it is here."""
        rank = self._rank
        if rank.number != 0:
            call = call_from(rank.unique_id)
            watch = self._rig.watch.within(arrival.left_s + LATER_S)
            answer_roll(call, rank.number, rank.nodes, watch, gpus=self._gpus)
            return call.unique_id
        roll = Roll(self._nccl.unique_id(), self._gpus)
        self._say(Rendezvous(roll.call.to_text()))
        roll.wait(rank.nodes, arrival)
        return roll.call.unique_id

    def _settle(self, table: Table, arrival: Watch) -> None:
        """Wait until NCCL has brought the ranks together.

        Raises:
            RankMissing: it has not; of two nodes the other one is missing.
        """
        try:
            table.settle("bringing the ranks together", self._rig.watch.within(arrival.left_s + SETTLE_S))
        except Overdue as overdue:
            others = tuple(node for number, node in enumerate(self._rank.nodes) if number != self._rank.number)
            who = f"the rank of {others[0]}" if len(others) == 1 else f"a rank of {', '.join(others)}"
            raise RankMissing(f"{overdue}: {who} never arrived", others if len(others) == 1 else ()) from overdue

    def _measure_all(self, table: Table, plan: Plan, vote: Vote, found: Found) -> None:
        ranks, metric = len(self._rank.nodes) * self._gpus, PAIR if len(self._rank.nodes) == 2 else GROUP
        measure_sizes(
            self._rig,
            table,
            plan,
            found,
            self._say,
            number=lambda size, times: _number(metric, ALL_LANES, bus_bandwidth(metric, size, times, ranks)),
            agreed=vote.least,
        )

    def _measure_lanes(self, world: Party, plan: Plan, vote: Vote, found: Found) -> None:
        """Measure every rail, all at the same time: the first GPU of each node, the second, ..."""
        if not self._nccl.can_split:
            found.notes.append(f"NCCL {self._nccl.version} cannot split a group, so rails were not measured.")
            return
        nodes, size = len(self._rank.nodes), plan.largest_bytes
        cliques = world.clique.lanes()
        lanes = [Party(clique, (seat,), self._rank.number) for clique, seat in zip(cliques, world.seats, strict=True)]
        with self._at(*lanes) as table:
            # What goes wrong while the rails are made is said by the communicator that they are made of.
            self._rig.watch.within(SETTLE_S).until(
                lambda: world.clique.is_settled() and table.is_settled(), "splitting the group into rails"
            )
            each = table.timed(size, Lot(plan.repetitions, plan.budget_s, vote.least))
            found.numbers += [
                _number(LANE, str(number), bus_bandwidth(LANE, size, times, nodes)) for number, times in enumerate(each)
            ]
            wrong = table.wrong_sums(size, stage=self._rig.stage, whole=False)
            found.faults += wrong_results(wrong, self._gpus, size)

    @contextmanager
    def _at(self, *parties: Party) -> Iterator[Table]:
        """Give a table of these parties, whose communicators are given back at the end, or aborted."""
        table = Table(self._nccl, parties, self._rig.watch)
        try:
            yield table
            for party in parties:
                party.clique.finish()
            table.settle("leaving the other ranks", self._rig.watch.within(SETTLE_S))
        except BaseException:
            table.abort()
            raise
        for party in parties:
            party.clique.destroy()


def _agreed(plan: Plan, vote: Vote) -> Plan:
    """Return the plan as far as it fits into the memory of every rank."""
    most = vote.least(plan.largest_bytes // LEAST_BYTES) * LEAST_BYTES
    sizes = tuple(size for size in plan.sizes_bytes if size <= most)
    return replace(plan, sizes_bytes=sizes or (most,))


def _number(metric: str, lane: str, number: BenchNumber) -> BenchNumber:
    return msgspec.structs.replace(number, metric=metric, lane=lane)
