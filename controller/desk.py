"""The front desk: what the API and the status page may see and ask of a running controller."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from controller.api.map_keeper import MapKeeper
from controller.api.moments import iso
from controller.api.shapes import StoreUse
from controller.cell import Cell
from controller.changes import Changes
from controller.counters import Counters
from controller.engine.orders import OrderDesk
from controller.errors import NotLeading, Refused
from controller.events import DrillStarted, Event, Logged, OrderEnded
from controller.intake import Intake
from controller.policy.belief import Belief
from controller.policy.budget import over_budget
from controller.policy.drilling import why_no_drill
from controller.policy.reporting.asked import Asked, Prices
from controller.policy.reporting.shapes import Report
from controller.policy.rules import Rules
from controller.policy.scopes import FLEET
from controller.policy.silence import frozen_by
from controller.reporting import Reporter
from controller.tracing.traces import NoTraces, Traces
from controller.watch import ScheduleWatch
from wire.certificate import Life
from wire.messages import BenchProgress
from wire.orders import Order, OrderAction
from wire.transport import Transport

DAY_S = 86_400.0
DRILL_LIMIT_S = 60.0
READ_AGAIN = 5
"""So often a timeline is read again because more was decided meanwhile: what is shown beside it comes from belief, and
an incident that is closed must not be shown without its end. A cell that never rests is shown as it is."""


@dataclass(slots=True)
class FrontDesk:
    """Implements the API's view of the cell.

    Attributes:
        acted: called when something that a person did is in the log.
    """

    cell: Cell
    intake: Intake
    orders: OrderDesk
    watch: ScheduleWatch
    transport: Transport
    clock: Callable[[], float]
    cell_name: str
    leads: Callable[[], bool] = lambda: True
    leader_url: Callable[[], str] = lambda: ""
    store_use: Callable[[], dict[str, object]] = dict
    topology_errors: Mapping[str, str] = field(default_factory=dict)
    notice_errors: Callable[[], Mapping[str, str]] = dict
    settings_error: str = ""
    certificate: Callable[[], Life | None] = lambda: None
    progress: Mapping[str, Mapping[str, BenchProgress]] = field(default_factory=dict)
    changes: Changes = field(default_factory=Changes)
    traces: Traces = field(default_factory=NoTraces)
    prices: Prices = field(default_factory=Prices)
    counters: Counters = field(init=False)
    acted: Callable[[], None] = lambda: None
    _awaited: dict[str, asyncio.Future[OrderEnded]] = field(default_factory=dict)
    _drills: int = 0
    _began: float = 0.0
    _map: MapKeeper = field(init=False)
    _reporter: Reporter = field(init=False)

    def __post_init__(self) -> None:
        self._began, self.counters = self.clock(), Counters(self.clock)
        self._map, self._reporter = MapKeeper(self.changes), Reporter(self.cell, self.prices)
        self.cell.told = lambda entry: self.changes.note(entry, self.belief)

    @property
    def belief(self) -> Belief:
        """What is believed now."""
        return self.cell.belief

    @property
    def rules(self) -> Rules:
        """What decisions go by."""
        return self.cell.rules

    def now(self) -> float:
        """Return the controller's time, Unix seconds."""
        return self.clock()

    def last_seen(self, node: str) -> float:
        """Return when a node was last heard of, Unix seconds, 0 for never since this controller started."""
        return self.intake.last_seen.get(node, 0.0)

    async def timeline(self, *, node: str = "", incident_id: str = "", limit: int = 500) -> list[Logged]:
        """Return the newest log entries about a node or an incident, newest last."""
        for _ in range(READ_AGAIN):
            await self.cell.caught_up()
            before = self.belief.last_event_id
            entries = await self.cell.log.timeline(node=node, incident_id=incident_id, limit=limit)
            if self.belief.last_event_id == before:
                return entries
        return await self.cell.log.timeline(node=node, incident_id=incident_id, limit=limit)

    async def back(self, *, before: int, after: int, kinds: Sequence[str]) -> list[Logged]:
        """Return the entries of these kinds between two ids, neither of them included, newest first."""
        await self.cell.caught_up()
        return await self.cell.log.back(before=before, after=after, kinds=kinds)

    async def of_node(self, node: str, *, kinds: Sequence[str], limit: int) -> list[Logged]:
        """Return the newest log entries of these kinds that name a node, newest last."""
        await self.cell.caught_up()
        return await self.cell.log.of_node(node, kinds=kinds, limit=limit)

    def deleted_through(self) -> int:
        """Return up to which id entries may be gone from the log, 0 while it is whole."""
        return msgspec.convert(self.store_use(), StoreUse).deleted_through

    async def entry(self, event_id: int) -> Logged | None:
        """Return one log entry, `None` when the log has it no longer."""
        await self.cell.caught_up()
        found = await self.cell.log.follow(after=event_id - 1, limit=1)
        return found[0] if found and found[0].event_id == event_id else None

    def fleet_map(self) -> msgspec.Raw:
        """Return every node as the map draws it, as JSON."""
        return self._map.encoded(self.belief, self.clock())

    async def report(self, asked: Asked, *, whole: bool) -> Report:
        """Return what the log says about a span of time, in the cell's own prices.

        Raises:
            NotTold: the log tells of a part of it alone, and the whole is wanted.
        """
        return await self._reporter.report(asked, whole=whole)

    def charge(self, prices: Prices) -> None:
        """Have reports reckon in these prices from here on."""
        self.prices = self._reporter.prices = prices

    def bench_progress(self) -> Mapping[str, Mapping[str, BenchProgress]]:
        """Return how far benchmarks are: lease → node → its last word."""
        return self.progress

    def trace_of(self, incident_id: str) -> tuple[str, str]:
        """Return the trace of an incident, and where people see it; empty where there is none."""
        found = self.traces.trace_id(incident_id)
        return found, self.traces.url(found)

    async def submit(self, event: Event) -> Logged:
        """Put what a person did into the log; it is committed on return."""
        entries = await self.cell.submit([event])
        self.acted()
        return entries[0]

    def check_cordon(self, node: str) -> None:
        """Return if a person may take this node out by fleetmend now.

        Raises:
            Refused: the budget is used up, or somebody else holds the node.
        """
        full = over_budget(self.belief, self.cell.rules, node)
        if full is not None:
            raise Refused(full[1].because.removeprefix("Waiting: "))
        foreign = self.belief.nodes[node].foreign_reason
        if foreign:
            raise Refused(f"{node} is already held by somebody else: {foreign}")

    def check_leading(self) -> None:
        """Return if this controller may change anything.

        Raises:
            NotLeading: it stands by, and another one leads.
        """
        if not self.leads():
            raise NotLeading(self.leader_url())

    async def start_drill(self, node: str, fault: str, parameters: dict[str, str], by: str) -> str:
        """Have a fault injected into a node; return the id of the order.

        Raises:
            Refused: the node is unknown, not online, or does not take part in drills.
        """
        known = self.belief.nodes.get(node)
        if known is None:
            raise Refused(f"no node is called {node!r}")
        because = why_no_drill(known)
        if because:
            raise Refused(because)
        self._drills += 1
        now = self.clock()
        order_id = f"drill/{self.orders.term}/{self._drills}"
        self._awaited[order_id] = asyncio.get_running_loop().create_future()
        await self.cell.submit([DrillStarted(node, fault, order_id, parameters, by)])
        self.acted()
        await self.orders.send(
            Order(
                order_id,
                node,
                OrderAction.INJECT_FAULT,
                now,
                now + DRILL_LIMIT_S,
                self.orders.term,
                device=parameters.get("device", ""),
                parameters={"fault": fault, **parameters},
            )
        )
        return order_id

    async def order_outcome(self, order_id: str, timeout_s: float) -> OrderEnded | None:
        """Return how a drill's order ended, `None` when the node has not said so in time."""
        awaited = self._awaited.get(order_id)
        if awaited is None:
            return None
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.shield(awaited)
        except TimeoutError:
            return None
        finally:
            self._awaited.pop(order_id, None)

    def order_ended(self, event: OrderEnded) -> None:
        """A node said how an order ended."""
        self.orders.ended(event.order_id)
        awaited = self._awaited.get(event.order_id)
        if awaited is not None and not awaited.done():
            awaited.set_result(event)

    def overview(self) -> dict[str, object]:
        """Return what the top of the status page shows."""
        held, fleet = self.belief.held, len(self.belief.nodes)
        budget = self.cell.rules.budget
        frozen = frozen_by(self.belief)
        return {
            "cell": self.cell_name,
            "uptime_s": round(self.clock() - self._began, 1),
            "budget": {"limit": budget.limit(fleet), "held": len(held), "text": budget.text(fleet)},
            "broker_connected": self.transport.connected,
            "scheduler": self.watch.scheduler.name,
            "scheduler_error": self.watch.error,
            "paused": self.belief.pauses.get(FLEET, ""),
            "pauses": {str(scope): by for scope, by in self.belief.pauses.items()},
            "topology_errors": dict(self.topology_errors),
            "notice_errors": dict(self.notice_errors()),
            "settings_error": self.settings_error,
            "frozen": frozen.because if frozen else "",
            "rejected_messages": dict(self.intake.rejected),
            "lag_s": round(self.intake.lag_s(self.clock()), 3),
            "term": self.orders.term,
            "role": "leader" if self.leads() else "standby",
            "leader_url": self.leader_url(),
            "store": self.store_use(),
            "traces": self.traces.use(),
            "certificate": self._certificate(),
        }

    def _certificate(self) -> dict[str, object]:
        """Return how long the certificate is good that the broker is shown, nothing without one."""
        life, now = self.certificate(), self.clock()
        if life is None:
            return {}
        return {
            "ends_at": iso(life.ends_at),
            "days_left": round(life.left_s(now) / DAY_S, 1),
            "is_short": life.is_short(now),
        }
