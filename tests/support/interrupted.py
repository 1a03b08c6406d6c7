"""A controller that dies where it is told to, in a world that remembers every effect.

The log is a real one, messages are really encoded, signed and checked. The world outside (scheduler, node,
ticket and page receivers) lives on when the controller dies and counts what was done to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from checks.finding import Finding
from controller.adapters import Answer, Filed, Heard, Hold, NodeSchedule, Notice, PowerSeen
from controller.benching.desk import BenchDesk
from controller.cell import Cell
from controller.engine.effects import Effects
from controller.engine.orders import OrderDesk
from controller.errors import InDoubt, Permanent, Retryable
from controller.events import Logged, NodeSeen, OperatorActed, PresenceChanged
from controller.intake import Intake
from controller.policy import folding
from controller.policy.approvals import asked, question
from controller.policy.benching.fitness import NO_SCHEDULER
from controller.policy.incident import Incident
from controller.policy.playbook import ROLLOUT
from controller.policy.rules import Rules
from controller.power.none import NoPower
from controller.receipts import Receipts
from controller.store.log import EventLog, Receipt
from controller.tracing import current
from controller.tracing.traces import NoTraces, Traces
from controller.watch import ScheduleWatch
from tests.support.bench_policy import result_like
from tests.support.eventually import SOON_S
from tests.support.noticing import desk_of
from wire import messages, topics
from wire.bench import from_parameters
from wire.orders import Order, OrderAction
from wire.signatures import verify
from wire.transport import Received


class Died(BaseException):
    """The process was killed here."""


@dataclass(slots=True)
class Fuse:
    """Burns down by one at every boundary and kills at the chosen one; a dead process crosses no further boundary."""

    burns_at: int
    crossed: list[str] = field(default_factory=list)
    died: asyncio.Event = field(default_factory=asyncio.Event)

    def cross(self, where: str) -> None:
        if self.died.is_set():
            raise Died(where)
        self.crossed.append(where)
        if len(self.crossed) == self.burns_at:
            self.died.set()
            raise Died(where)


@dataclass(slots=True)
class World:
    """What outlives the controller.

    Attributes:
        effects: what was really done, by key; nothing may be done twice.
        unanswered: how often each outside thing must still fail, in a way that passes, before it works.
        half_done: a cordon happens, and the scheduler says that it failed.
        person: somebody answers every question with yes, as often as it is asked.
        measures: the node runs benchmarks when it is ordered to, and all of them pass.
        traceparents: what each notice said of the span that it was sent on account of.
        mail: tickets and pages are followed to their end.
        tells_repeats: their receivers know a key again.
        broken: what stays found until people mend it.
        shelves: what is at each receiver: reference → whether it is open there.
    """

    node: str
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    held: dict[str, str] = field(default_factory=dict)
    effects: Counter[str] = field(default_factory=Counter)
    in_order: list[str] = field(default_factory=list)
    outbox: dict[int, tuple[str, messages.EventBody]] = field(default_factory=dict)
    seq: int = 0
    boot: int = 1
    orders_done: dict[str, messages.OrderEnded] = field(default_factory=dict)
    unanswered: dict[str, int] = field(default_factory=dict)
    half_done: bool = False
    person: bool = False
    has_bmc: bool = False
    measures: bool = False
    traceparents: list[str] = field(default_factory=list)
    mail: bool = False
    tells_repeats: bool = False
    broken: Finding | None = None
    shelves: dict[str, dict[str, bool]] = field(default_factory=dict)

    def done(self, what: str, key: str) -> None:
        self.effects[f"{what} {key}"] += 1
        self.in_order.append(what)

    def fail_for_now(self, what: str) -> None:
        """Fail as often as it was said to, in a way that passes."""
        if self.unanswered.get(what, 0):
            self.unanswered[what] -= 1
            raise Retryable(f"{what} is not there now", after_s=0.01)

    def switch_off_and_on(self, key: str, finding: Finding) -> None:
        """Do what a BMC does, and come back well."""
        self.done("power_cycle", key)
        self.come_back()
        self.put(messages.FindingCleared(finding.key, "healthy after the power cycle", time.time()))

    def put(self, body: messages.EventBody) -> None:
        self.seq += 1
        self.outbox[self.seq] = (f"boot-{self.boot}", body)

    def come_back(self) -> None:
        """Start the agent on another boot."""
        self.boot += 1
        self.put(messages.AgentStarted(True, f"boot-{self.boot - 1}", "1", time.time()))

    def open_mail(self) -> list[str]:
        """Return what is open at the receivers."""
        return [name for shelf in self.shelves.values() for name, is_open in shelf.items() if is_open]

    def mend(self) -> None:
        """Have what was found be gone, by a person's hand."""
        if self.broken is not None:
            self.put(messages.FindingCleared(self.broken.key, "another part is in its place", time.time()))
            self.broken = None

    def obey(self, order: Order, finding: Finding) -> None:
        """Carry an order out as a node does: once per id; a repeat gets the recorded answer."""
        if order.order_id in self.orders_done:
            self.put(self.orders_done[order.order_id])
            return
        now = time.time()
        self.done(order.action, order.order_id)
        if order.action is OrderAction.BENCH:
            wish = from_parameters(order.parameters)
            self.put(messages.BenchEnded(wish.lease, result_like("pass", wish.benchmark), now, now))
        evidence = {finding.check: "ok"} if order.action is OrderAction.RUN_CHECKS else {}
        outcome = "accepted" if order.action is OrderAction.REBOOT else "done"
        self.orders_done[order.order_id] = messages.OrderEnded(order.order_id, outcome, "so", now, now, evidence)
        self.put(self.orders_done[order.order_id])
        if order.action is OrderAction.REBOOT:
            self.come_back()
            self.put(messages.FindingCleared(finding.key, "healthy after the reboot", time.time()))


@dataclass(slots=True)
class Scheduler:
    """Looks first, then acts, as every adapter must."""

    world: World
    fuse: Fuse
    name: str = "counting"

    async def observe(self) -> Mapping[str, NodeSchedule]:
        holder = self.world.held.get(self.world.node, "")
        return {self.world.node: NodeSchedule(not holder, holder)}

    async def cordon(self, node: str, hold: Hold) -> str:
        self.fuse.cross("before cordon")
        self.world.fail_for_now("cordon")
        if self.world.held.get(node) != hold.incident_id:
            self.world.held[node] = hold.incident_id
            self.world.done("cordon", hold.key)
        self.fuse.cross("after cordon")
        if self.world.half_done:
            raise Permanent("the scheduler broke down after it had done it")
        return "held"

    async def drain(self, node: str, hold: Hold, *, jobs: str) -> tuple[str, ...]:
        assert (node, jobs) == (self.world.node, "wait") and hold.key
        self.fuse.cross("during drain")
        return ()

    async def uncordon(self, node: str, hold: Hold) -> str:
        self.fuse.cross("before uncordon")
        self.world.fail_for_now("uncordon")
        if self.world.held.get(node) == hold.incident_id:
            del self.world.held[node]
            self.world.done("uncordon", hold.key)
        self.fuse.cross("after uncordon")
        return "free"


@dataclass(slots=True)
class Receiver:
    """Takes tickets or pages, and cannot tell a repeat."""

    world: World
    fuse: Fuse
    name: str
    repeatable: bool = False

    async def send(self, notice: Notice) -> Filed:
        self.fuse.cross(f"before {self.name}")
        self.world.traceparents.append(current.headers().get("traceparent", ""))
        self.world.fail_for_now(self.name)
        self.world.done(self.name, notice.key)
        self.fuse.cross(f"after {self.name}")
        return Filed("ref-1")


@dataclass(slots=True)
class Followed(Receiver):
    """Takes what is new, too, and says how its notices stand. Somebody closes each ticket once they were paged."""

    async def send(self, notice: Notice) -> Filed:
        self.fuse.cross(f"before {self.name}")
        shelf = self.world.shelves.setdefault(self.name, {})
        if not self.repeatable or notice.key not in shelf:
            shelf[notice.key] = True
            self.world.done(self.name, notice.key)
        self.fuse.cross(f"after {self.name}")
        return Filed(notice.key)

    async def update(self, reference: str, notice: Notice) -> None:
        self._change("told", reference, notice, is_open=True)

    async def close(self, reference: str, notice: Notice) -> None:
        self._change("closed", reference, notice, is_open=False)

    def _change(self, what: str, reference: str, notice: Notice, *, is_open: bool) -> None:
        self.fuse.cross(f"before {self.name} {what}")
        effect = f"{self.name} {what}"
        if not self.repeatable or not self.world.effects[f"{effect} {notice.key}"]:
            self.world.done(effect, notice.key)
            self.world.shelves[self.name][reference] = is_open
        self.fuse.cross(f"after {self.name} {what}")

    async def look(self, references: Sequence[str]) -> Mapping[str, Answer]:
        if self.name == "page":
            return {each: Answer(Heard.ACKNOWLEDGED, "ann") for each in references}
        if "page" not in self.world.shelves:
            return {}
        self.world.mend()
        return {each: Answer(Heard.CLOSED, "ann", "swapped it") for each in references}


def receivers(world: World, fuse: Fuse) -> tuple[Receiver, Receiver]:
    """Return who takes tickets and who takes pages."""
    kind = Followed if world.mail else Receiver
    ticket, page = (kind(world, fuse, name, repeatable=world.tells_repeats) for name in ("ticket", "page"))
    return ticket, page


@dataclass(slots=True)
class Bmc:
    """Switches the node off and on, and cannot tell a repeat."""

    world: World
    fuse: Fuse
    finding: Finding
    name: str = "bmc"
    repeatable: bool = False

    async def look(self, node: str) -> PowerSeen:
        return PowerSeen("on", f"{node} has power.")

    def is_half_done(self, key: str) -> bool:
        del key
        return False

    async def take_up(self, node: str, *, key: str, fencing_token: int) -> str:
        raise InDoubt(f"{self.name} cannot say whether {node} was switched for {key} under {fencing_token}.")

    async def evidence(self, node: str) -> dict[str, str]:
        return {"bmc/power": f"{node} has power"}

    async def cycle(self, node: str, *, key: str, fencing_token: int, cold: bool) -> str:
        assert node == self.world.node and fencing_token and not cold
        self.fuse.cross("before power")
        self.world.fail_for_now("power")
        self.world.switch_off_and_on(key, self.finding)
        self.fuse.cross("after power")
        return "The BMC took it."


@dataclass(slots=True)
class Log:
    """The real log between two boundaries."""

    real: EventLog
    fuse: Fuse

    async def append(self, entries: list[Logged], receipts: list[Receipt]) -> None:
        self.fuse.cross("before commit")
        await self.real.append(entries, receipts)
        self.fuse.cross("after commit")

    async def back(self, *, before: int, after: int, kinds: Sequence[str]) -> list[Logged]:
        return await self.real.back(before=before, after=after, kinds=kinds)

    async def of_node(self, node: str, *, kinds: Sequence[str], limit: int) -> list[Logged]:
        return await self.real.of_node(node, kinds=kinds, limit=limit)

    async def timeline(self, *, node: str = "", incident_id: str = "", limit: int = 500) -> list[Logged]:
        return await self.real.timeline(node=node, incident_id=incident_id, limit=limit)


@dataclass(slots=True)
class Wire:
    """Carries encoded messages between the controller and the node."""

    world: World
    fuse: Fuse
    finding: Finding
    connected: bool = True

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        assert not retain
        self.tell(topic, payload)

    def tell(self, topic: str, payload: bytes) -> None:
        address = topics.parse(topic)
        body = messages.decode(payload, address).body
        self.fuse.cross(f"before {address.channel}")
        if isinstance(body, messages.Stored):
            for seq in body.seqs:
                self.world.outbox.pop(seq, None)
        elif isinstance(body, messages.SignedOrder):
            trusted = {body.key_id: self.world.key.public_key().public_bytes_raw()}
            self.world.obey(verify(body, trusted=trusted), self.finding)
        self.fuse.cross(f"after {address.channel}")


async def live(
    store: Callable[[], EventLog],
    world: World,
    rules: Rules,
    finding: Finding,
    fuse: Fuse,
    *,
    until: float,
    traced: Callable[[Cell], Traces] = lambda _: NoTraces(),
) -> Cell:
    """Run a controller on a store until its incident closed or handed over, or until it dies; return its cell."""
    real = store()
    term = real.begin_term()
    cell = Cell(Log(real, fuse), rules, busy_tick_s=SOON_S)  # type: ignore[arg-type]
    for entry in real.read():
        folding.apply(cell.belief, entry)
    wire = Wire(world, fuse, finding)
    desk = OrderDesk(wire, "main", "k1", world.key, term, time.time)  # type: ignore[arg-type]
    scheduler = Scheduler(world, fuse)
    notices = desk_of(cell, *receivers(world, fuse), time.time, term=term)
    power = Bmc(world, fuse, finding) if world.has_bmc else NoPower()
    effects = Effects(cell, scheduler, notices, desk, time.time, power=power)
    intake = Intake(cell, wire, Receipts.recall(real), "main", 60.0, time.time)  # type: ignore[arg-type]
    intake.on_order_ended = lambda event: desk.ended(event.order_id)
    bench = BenchDesk(cell, desk, ScheduleWatch(cell, replace(scheduler, name=NO_SCHEDULER), time.time), time.time)
    intake.on_bench_ended = bench.ended
    traces = effects.traces = notices.courier.traces = traced(cell)
    intake.on_arrival = traces.arrived

    def act(entry: Logged) -> None:
        effects.act(entry)
        bench.act(entry)
        traces.act(entry)

    cell.act = act
    tasks = [
        asyncio.create_task(cell.run()),
        asyncio.create_task(intake.acknowledge_stored()),
        asyncio.create_task(_resend(world, intake)),
        asyncio.create_task(_answer(world, cell)),
        *([asyncio.create_task(notices.run())] if world.mail else []),
    ]
    try:
        traces.begin()
        cell.load_rules()
        if world.measures:
            facts = messages.NodeFacts(gpu_count=8, orders_allowed=["bench"])
            seen = NodeSeen(world.node, f"boot-{world.boot}", facts)
            cell.submit([seen, PresenceChanged(world.node, "online", "it connected")])
        effects.resume()
        bench.resume()
        await _until_over(cell, fuse, tasks, until, mail=world.mail)
        await _until_committed(cell, fuse)
    finally:
        await effects.close()
        await notices.close()
        await bench.close()
        await traces.close()
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError, Died):
                await task
        real.close()
    return cell


async def _until_over(cell: Cell, fuse: Fuse, tasks: list[asyncio.Task[None]], until: float, *, mail: bool) -> None:
    while time.monotonic() < until and not fuse.died.is_set():
        incidents, has_open_mail = list(cell.belief.incidents.values()), bool(cell.belief.notices.open_threads)
        is_over = all(i.state == "closed" or (_rests(i) and not mail) for i in incidents)
        if incidents and is_over and not (mail and has_open_mail):
            return
        await asyncio.sleep(0.005)
        for task in tasks:
            if task.done() and not fuse.died.is_set():
                task.result()


async def _until_committed(cell: Cell, fuse: Fuse) -> None:
    """Wait until what is believed is in the log, too, unless it dies before."""
    either = {asyncio.create_task(cell.caught_up()), asyncio.create_task(fuse.died.wait())}
    _, waiting = await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()


def _rests(incident: Incident) -> bool:
    """Whether nothing more is done about it by itself."""
    at_rest = incident.state == "handed_over" or incident.fault_class == ROLLOUT
    return at_rest and incident.step() is None and incident.intent is None


async def _answer(world: World, cell: Cell) -> None:
    """Say yes to whatever is asked, and once more when it is asked again."""
    while True:
        await asyncio.sleep(0.01)
        for incident in list(cell.belief.open_incidents.values()) if world.person else []:
            what = asked(incident)
            if question(incident) and what not in incident.approvals:
                yes = OperatorActed("approve", incident.id, "kim", "", what, time.time() + 60.0)
                await cell.submit([yes])


async def _resend(world: World, intake: Intake) -> None:
    """Send what the controller has not called stored, again and again, as an agent's outbox does."""
    topic = topics.Address("main", world.node, topics.Channel.EVENT).topic
    while True:
        for seq, (boot, body) in sorted(world.outbox.items()):
            envelope = messages.Envelope(messages.VERSION, world.node, boot, seq, time.time(), body)
            await intake.take(Received(topic, messages.encode(envelope), False, lambda: None))
        await asyncio.sleep(0.01)
