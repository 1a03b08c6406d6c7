"""A controller with benchmarks that dies where it is told to; the node lives on and counts what it ran."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from checks.bench_result import BenchResult
from checks.finding import Action, Finding, Verdict
from controller.bench_events import BenchAsked
from controller.benching.desk import BenchDesk
from controller.cell import Cell
from controller.engine.orders import OrderDesk
from controller.intake import Intake
from controller.policy import folding
from controller.policy.rules import Rules
from controller.receipts import Receipts
from controller.store.log import EventLog
from controller.watch import ScheduleWatch
from tests.support.eventually import SOON_S
from tests.support.interrupted import Fuse, Log, Scheduler, Wire, World
from wire import messages, topics
from wire.bench import from_parameters, stopped_lease
from wire.orders import Order, OrderAction
from wire.transport import Received

UNUSED = Finding("gpu.xid", "GPU-0", "79", Verdict.FAILED, Action.REBOOT, "No such thing happens here.")


@dataclass(slots=True)
class BenchWorld(World):
    """A node that runs benchmarks: each order once, and its result is told before its end.

    Attributes:
        results: what it comes back with, one after the other.
        stopped: leases that were taken back.
    """

    results: list[BenchResult] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)

    def obey(self, order: Order, finding: Finding) -> None:
        """Run what is asked for, or answer a repeat with what was recorded."""
        if order.action is not OrderAction.BENCH or order.order_id in self.orders_done:
            World.obey(self, order, finding)
            return
        now = time.time()
        if lease := stopped_lease(order.parameters):
            self.stopped.append(lease)
        else:
            self.done("bench", order.order_id)
            self.put(messages.BenchEnded(from_parameters(order.parameters).lease, self.results.pop(0), now, now))
        self.orders_done[order.order_id] = messages.OrderEnded(order.order_id, "done", "so", now, now)
        self.put(self.orders_done[order.order_id])


async def bench_life(
    store: Callable[[], EventLog], world: World, rules: Rules, fuse: Fuse, asked: BenchAsked, *, until: float
) -> Cell:
    """Run a controller on a store until the run that is asked for ended, or until it dies; return its cell."""
    real = store()
    cell = Cell(Log(real, fuse), rules, busy_tick_s=SOON_S)  # type: ignore[arg-type]
    term = real.begin_term()
    for entry in real.read():
        folding.apply(cell.belief, entry)
    wire = Wire(world, fuse, UNUSED)
    orders = OrderDesk(wire, "main", "k1", world.key, term, time.time)  # type: ignore[arg-type]
    watch = ScheduleWatch(cell, Scheduler(world, fuse), time.time)
    bench = BenchDesk(cell, orders, watch, time.time)
    intake = Intake(cell, wire, Receipts.recall(real), "main", 60.0, time.time)  # type: ignore[arg-type]
    intake.on_order_ended = lambda event: orders.ended(event.order_id)
    cell.act = bench.act
    tasks = [
        asyncio.create_task(cell.run()),
        asyncio.create_task(intake.acknowledge_stored()),
        asyncio.create_task(_resend(world, intake)),
    ]
    try:
        await watch.look()
        bench.resume()
        await _until_over(cell, fuse, tasks, asked, until)
    finally:
        await bench.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        real.close()
    return cell


async def _until_over(cell: Cell, fuse: Fuse, tasks: list[asyncio.Task[None]], asked: BenchAsked, until: float) -> None:
    while time.monotonic() < until and not fuse.died.is_set():
        known = all(node in cell.belief.nodes for node in asked.nodes)
        run = cell.belief.bench.runs.get(asked.run_id)
        if run is None and known:
            cell.hand_in([asked], [], lambda _: None)
        if run is not None and run.ended_at:
            with contextlib.suppress(TimeoutError):  # whoever died while it committed never ends that
                async with asyncio.timeout(0.2):
                    await cell.caught_up()
            await asyncio.sleep(0.03)
            return
        await asyncio.sleep(0.005)
        for task in tasks:
            if task.done() and not fuse.died.is_set():
                task.result()


async def _resend(world: World, intake: Intake) -> None:
    """Send what the controller has not called stored, again and again, as an agent's outbox does."""
    topic = topics.Address("main", world.node, topics.Channel.EVENT).topic
    while True:
        for seq, (boot, body) in sorted(world.outbox.items()):
            envelope = messages.Envelope(messages.VERSION, world.node, boot, seq, time.time(), body)
            await intake.take(Received(topic, messages.encode(envelope), False, lambda: None))
        await asyncio.sleep(0.01)
