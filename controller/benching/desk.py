"""Runs of benchmarks on their way: what was granted is ordered from nodes, taken back, and heard of.

What is to be run stands in the log before anything is ordered, and the order has the name of lease and node: a node
carries it out once, however often a controller that died in between sends it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

import structlog

from checks.bench_outcome import Outcome
from checks.bench_result import Benchmark, BenchResult
from controller.bench_events import BenchEnded, LeaseEnded, LeaseGranted
from controller.cell import Cell
from controller.engine.orders import OrderDesk
from controller.events import Logged
from controller.policy.benching.book import Lease
from controller.policy.benching.fitness import NO_SCHEDULER
from controller.policy.benching.golden import handed_out
from controller.policy.benching.orders import order_id, stop_id
from controller.watch import ScheduleWatch
from wire.bench import BenchWish, Rank, to_parameters, to_stop
from wire.messages import BenchProgress, BenchRendezvous
from wire.orders import Order, OrderAction

log = structlog.get_logger()

LOOKS_MISSED = 3
FRESH_S = 60.0
"""After so many intervals without an answer of the scheduler, and so long at least, what it said proves nothing.
Source: our choice, as a node counts as silent after three levels; one look may last until its deadline."""

STOP_LIMIT_S = 120.0
"""How long a node may take to hear that a lease is taken back; by itself the run ends with its lease."""

PROGRESS_KEPT = 1_000
"""Leases whose last word on how far they are is kept; the oldest is forgotten first."""


@dataclass(slots=True)
class BenchDesk:
    """Orders what was granted, takes back what ended early, and keeps how far it is.

    Attributes:
        on_group: called when a group's lease was granted; whoever hears it sends the orders by `order`.
        on_result: called with every result that was committed.
        on_rendezvous: called with the node and what its rank 0 said; kept by nobody.
        progress: lease → node → the last word on how far it is.
    """

    cell: Cell
    orders: OrderDesk
    watch: ScheduleWatch
    clock: Callable[[], float]
    on_group: Callable[[LeaseGranted], None] = lambda _: None
    on_result: Callable[[BenchEnded], None] = lambda _: None
    on_rendezvous: Callable[[str, BenchRendezvous], None] = lambda _node, _said: None
    progress: dict[str, dict[str, BenchProgress]] = field(default_factory=dict)
    _under_way: set[asyncio.Task[None]] = field(default_factory=set)

    def act(self, entry: Logged) -> None:
        """Hear what was committed: order what was granted, and take back what ended early. Does not block."""
        match entry.event:
            case LeaseGranted() as granted if self._is_group(granted.run_id):
                self.on_group(granted)
            case LeaseGranted() as granted:
                self.order(granted.lease_id, granted.nodes[0])
            case LeaseEnded() as ended:
                self._end(ended)
            case _:
                return

    def resume(self) -> None:
        """Order again what was under way when a controller ended; nodes that have it already answer once more.

        What becomes of a group is for whoever hands its ranks out: the unique id went with the controller.
        """
        for lease in list(self.cell.belief.bench.leases.values()):
            if not self._is_group(lease.run_id):
                self.order(lease.lease_id, lease.nodes[0])

    def order(self, lease_id: str, node: str, rank: Rank | None = None) -> None:
        """Order a node's part under a lease, if the lease is open and the node has not come back yet.

        A node that the scheduler says nothing of, or works again, is not asked: that comes back as its result.
        """
        self._spawn(self._order(lease_id, node, rank), f"bench {lease_id}")

    async def _order(self, lease_id: str, node: str, rank: Rank | None) -> None:
        lease = self.cell.belief.bench.leases.get(lease_id)
        if lease is None or node not in lease.nodes or node in lease.results or node in lease.judged:
            return
        unknown = self.why_unknown(node)
        if unknown:
            await self._skip(lease, node, unknown)
            return
        wish = self._wish(lease, node, rank)
        await self.orders.send(
            Order(
                order_id(lease_id, node),
                node,
                OrderAction.BENCH,
                self.clock(),
                lease.expires_at,
                self.orders.term,
                incident_id=lease.incident_id,
                parameters=to_parameters(wish),
            )
        )

    def why_unknown(self, node: str) -> str:
        """Return why the scheduler's word on this node proves nothing now, or speaks against it; empty when it is good.

        What is believed of a node says what changed last; whether anybody still looks is known here alone.
        """
        name = self.watch.scheduler.name
        if name == NO_SCHEDULER:
            return ""
        if self.watch.error:
            return f"the scheduler ({name}) cannot be asked whether it is idle: {self.watch.error}"
        silent_s = self.clock() - self.watch.seen_at
        if silent_s > max(FRESH_S, LOOKS_MISSED * self.watch.interval_s):
            return f"the scheduler ({name}) has not said for {silent_s:.0f} s whether it is idle"
        view = self.watch.seen.get(node)
        if view is None:
            return f"the scheduler ({name}) does not know it"
        return f"nobody can tell whether it is idle: {view.jobs_unknown}" if view.jobs_unknown else ""

    def ended(self, event: BenchEnded) -> None:
        """A result is committed."""
        self.on_result(event)

    def met(self, node: str, said: BenchRendezvous) -> None:
        """Rank 0 of a group waits for the others; what is no lease of the node's is nobody's."""
        lease = self.cell.belief.bench.leases.get(said.lease)
        if lease is not None and node in lease.nodes:
            self.on_rendezvous(node, said)

    def heard(self, node: str, said: BenchProgress) -> None:
        """Keep how far a benchmark is, for a lease that the node has."""
        lease = self.cell.belief.bench.leases.get(said.lease)
        if lease is None or node not in lease.nodes:
            return
        self.progress.setdefault(said.lease, {})[node] = said
        while len(self.progress) > PROGRESS_KEPT:
            del self.progress[next(iter(self.progress))]

    async def close(self) -> None:
        """Order nothing more."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    def _wish(self, lease: Lease, node: str, rank: Rank | None) -> BenchWish:
        bench, rules = self.cell.belief.bench, self.cell.rules.bench
        facts = self.cell.belief.nodes[node].facts
        options = dict(bench.runs[lease.run_id].options)
        skus = {facts.gpu_model, rules.limits.sku_of(facts.gpu_model)} - {""}
        golden = handed_out(bench, skus=skus, driver=facts.driver_version)
        if lease.benchmark == Benchmark.GEMM and golden:
            options["golden"] = golden
        return BenchWish(
            lease.lease_id,
            Benchmark(lease.benchmark),
            lease.tier,
            rules.tier_limit_s[lease.tier - 1],
            lease.expires_at,
            self.watch.scheduler.name,
            rank,
            options,
        )

    def _is_group(self, run_id: str) -> bool:
        run = self.cell.belief.bench.runs.get(run_id)
        return run is not None and run.together

    def _end(self, ended: LeaseEnded) -> None:
        """Forget the orders of a lease, and tell its nodes when it ended before they did."""
        run = self.cell.belief.bench.runs.get(ended.run_id)
        nodes = [ended.node] if ended.node else list(run.nodes) if run is not None else []
        self.progress.pop(ended.lease_id, None)
        for node in nodes:
            self.orders.ended(order_id(ended.lease_id, node))
            if ended.outcome == "revoked":
                self._spawn(self._take_back(ended.lease_id, node), f"bench {ended.lease_id} taken back")

    async def _take_back(self, lease_id: str, node: str) -> None:
        now = self.clock()
        order = Order(
            stop_id(lease_id, node),
            node,
            OrderAction.BENCH,
            now,
            now + STOP_LIMIT_S,
            self.orders.term,
            parameters=to_stop(lease_id),
        )
        await self.orders.send(order)

    async def _skip(self, lease: Lease, node: str, because: str) -> None:
        now = self.clock()
        result = BenchResult(Benchmark(lease.benchmark), Outcome.SKIP, f"{node}: {because}.")
        await self.cell.submit([BenchEnded(node, lease.lease_id, result, now, now)])

    def _spawn(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._under_way.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("bench.failed", because=repr(task.exception()), exc_info=task.exception())
