"""A whole controller in memory behind its real front desk: real log, real policy, real engine and real messages.

Only what lies outside is stood in for: a scheduler that knows who holds which node, the wire, and nodes that do at once
what signed orders ask of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from checks.bench_result import BenchResult
from checks.finding import Action, Finding, Verdict
from cli.ports import free_port
from controller.access.admitting import Access
from controller.adapters import Filed, Hold, NodeSchedule, Notice
from controller.api.app import create_app
from controller.api.enrolling import Enrolling
from controller.bench_events import BenchAsked
from controller.benching.desk import BenchDesk
from controller.cell import Cell
from controller.desk import FrontDesk
from controller.engine.effects import Effects
from controller.engine.orders import OrderDesk
from controller.errors import Refused
from controller.events import CheckLevelsChanged, Event, Logged, NodeSeen, PresenceChanged
from controller.evidence.desk import ControllerEvidence, Evidence, NoEvidence
from controller.evidence.receiving import Receiver
from controller.evidence.shelf import Quota, Shelf
from controller.intake import Intake
from controller.metrics.scrape import KEPT_S, Metrics
from controller.metrics.tally import Tally
from controller.notices.choosing import Destinations
from controller.policy.benching.bench_rules import BenchRules
from controller.policy.benching.orders import lease_of_order
from controller.policy.incident import Incident
from controller.policy.playbook import Answers, Mode, Playbook, Step, Verb
from controller.policy.rules import Budget, Rules
from controller.receipts import Receipts
from controller.sections.evidence import EvidenceSection
from controller.store.sqlite import SqliteLog
from controller.watch import ScheduleWatch
from tests.support.eventually import SOON_S
from tests.support.noticing import desk_of
from wire import messages, topics
from wire.bench import from_parameters, stopped_lease
from wire.messages import CheckLevel, NodeFacts
from wire.orders import Order, OrderAction
from wire.signatures import verify
from wire.transport import Received

START = 1_790_000_000.0
GPU = "GPU-5e0b29f4-7a31-4f52-9c07-31d6a2e8b9c1"
LIMIT_S = 30.0

_NOTICES = (
    Step("ticket", Verb.TICKET, 60.0, parameters={"team": "data-centre"}),
    Step("page", Verb.PAGE, 60.0, parameters={"severity": "critical"}),
)


def gpu_lost_playbook(*, mode: Mode = Mode.ACT) -> Playbook:
    """Return the playbook for a GPU that is off the bus."""
    return Playbook(
        name="gpu_lost",
        summary="A GPU has fallen off the bus.",
        fault_class="gpu_lost",
        severity="critical",
        precedence=10,
        answers=(Answers("gpu.xid", frozenset({"79"})),),
        steps=(
            Step("cordon", Verb.CORDON, 60.0, attempts=3),
            Step("drain", Verb.DRAIN, 600.0, parameters={"jobs": "wait"}),
            Step("collect", Verb.COLLECT, 120.0, on_failure="reboot"),
            Step("reboot", Verb.REBOOT, 1800.0),
            Step("verify", Verb.VERIFY, 300.0),
            Step("probation", Verb.PROBATION, 60.0, parameters={"for_s": "60"}),
            Step("uncordon", Verb.UNCORDON, 60.0, attempts=3),
        ),
        hand_over=_NOTICES,
        mode=mode,
        digest="5f2b8c1d90aa77e3",
        runbook="https://runbooks.example/gpu-lost",
    )


def disk_playbook() -> Playbook:
    """Return a playbook that asks a person before it does anything."""
    return Playbook(
        name="disk_full",
        summary="A file system is nearly full.",
        fault_class="disk_full",
        severity="warning",
        precedence=50,
        answers=(Answers("storage.space", verdicts=frozenset({Verdict.FAILED, Verdict.DEGRADED})),),
        steps=(Step("cordon", Verb.CORDON, 60.0), Step("drain", Verb.DRAIN, 600.0, parameters={"jobs": "wait"})),
        hand_over=_NOTICES,
        mode=Mode.ASK,
    )


def rules(*, nodes: int = 2) -> Rules:
    """Return both playbooks with a budget of so many nodes."""
    bench = BenchRules(idle_by="memory", again_after_s=0.0)
    return Rules((gpu_lost_playbook(), disk_playbook()), Budget(nodes=nodes), bench=bench)


def off_the_bus(device: str = GPU) -> Finding:
    """Return the finding of Xid 79."""
    return Finding(
        "gpu.xid",
        device,
        "79",
        Verdict.FAILED,
        Action.REBOOT,
        f"The driver reported Xid 79: GPU {device} has fallen off the bus; every job on it is lost.",
        pci="0000:3b:00",
        serial="1650324018533",
        evidence={"line": "NVRM: Xid (PCI:0000:3b:00): 79, pid=2311, GPU has fallen off the bus."},
    )


def disk_full() -> Finding:
    """Return the finding of a full file system."""
    return Finding("storage.space", "/", "", Verdict.DEGRADED, Action.NONE, "/ has 3 % free, at least 5 % are needed.")


@dataclass(slots=True)
class Clock:
    """Time that passes when told to."""

    now: float = START

    def __call__(self) -> float:
        return self.now


@dataclass(slots=True)
class Holds:
    """A scheduler: who holds which node, which jobs run where, what others say of it and where it stands."""

    name: str = "memory"
    held: dict[str, str] = field(default_factory=dict)
    foreign: dict[str, str] = field(default_factory=dict)
    down: set[str] = field(default_factory=set)
    jobs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    said: dict[str, tuple[Finding, ...]] = field(default_factory=dict)
    places: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    nodes: set[str] = field(default_factory=set)

    async def observe(self) -> Mapping[str, NodeSchedule]:
        return {name: self._seen(name) for name in self.nodes}

    def _seen(self, name: str) -> NodeSchedule:
        held, foreign = self.held.get(name, ""), self.foreign.get(name, "")
        schedulable = not held and not foreign and name not in self.down
        said, places = self.said.get(name, ()), self.places.get(name, {})
        return NodeSchedule(schedulable, held, foreign, self.jobs.get(name, ()), said=said, places=places)

    async def cordon(self, node: str, hold: Hold) -> str:
        if node in self.foreign:
            raise Refused(f"held by somebody else: {self.foreign[node]}")
        self.held[node] = hold.incident_id
        return f"{node} takes no new work."

    async def drain(self, node: str, hold: Hold, *, jobs: str) -> tuple[str, ...]:
        assert hold.key and jobs == "wait"
        return self.jobs.get(node, ())

    async def uncordon(self, node: str, hold: Hold) -> str:
        if self.held.pop(node, "") != hold.incident_id:
            raise Refused("the hold is not ours")
        return f"{node} takes work again."


@dataclass(slots=True)
class Notices:
    """Takes tickets or pages."""

    name: str
    repeatable: bool = True
    sent: list[Notice] = field(default_factory=list)

    async def send(self, notice: Notice) -> Filed:
        self.sent.append(notice)
        return Filed(f"{self.name}-{len(self.sent)}")


@dataclass(slots=True)
class Nodes:
    """The other end of the wire: nodes that obey signed orders at once.

    Attributes:
        mends: whether a reboot clears what was found.
        deaf: nodes that never answer an order.
        orders: every order that came; one to run a benchmark ends when a test says so.
    """

    key: Ed25519PrivateKey
    clock: Clock
    intake: Intake | None = None
    connected: bool = True
    mends: bool = True
    deaf: set[str] = field(default_factory=set)
    findings: dict[str, Finding] = field(default_factory=dict)
    orders: list[Order] = field(default_factory=list)
    _seq: int = 0
    _boots: int = 1

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        assert not retain
        address = topics.parse(topic)
        body = messages.decode(payload, address).body
        if isinstance(body, messages.SignedOrder) and address.node not in self.deaf:
            await self._obey(verify(body, trusted={body.key_id: self.key.public_key().public_bytes_raw()}))

    def tell(self, topic: str, payload: bytes) -> None:
        """No node here waits for what is stored."""
        assert isinstance(messages.decode(payload, topics.parse(topic)).body, messages.Stored)

    def mute(self, topics: Iterable[str]) -> None:
        """No node here floods."""
        assert not list(topics)

    async def run(self, **_: object) -> None:
        raise AssertionError("the wire in memory needs no connection")

    async def say(self, node: str, body: messages.EventBody) -> None:
        """Have a node say something."""
        assert self.intake is not None
        self._seq += 1
        self.clock.now += 0.001
        topic = topics.Address("main", node, topics.Channel.EVENT).topic
        envelope = messages.Envelope(messages.VERSION, node, f"boot-{self._boots}", self._seq, self.clock.now, body)
        await self.intake.take(Received(topic, messages.encode(envelope), False, lambda: None))

    async def find(self, node: str, finding: Finding) -> None:
        """Have a node find something."""
        self.findings[node] = finding
        await self.say(node, messages.FindingRaised(finding, self.clock.now))

    async def clear(self, node: str) -> None:
        """Have a node find it gone."""
        finding = self.findings.pop(node)
        await self.say(node, messages.FindingCleared(finding.key, "Fresh readings are healthy.", self.clock.now))

    async def tell_level(self, node: str, **counters: float) -> None:
        """Have a node tell its level, with these counters and nothing else that is new."""
        assert self.intake is not None
        known, now = self.intake.cell.belief.nodes[node], self.clock.now
        findings = [each.finding for each in known.findings.values()]
        level = messages.Status(known.facts, findings, dict(known.checks), 0, START, now, counters=counters)
        topic = topics.Address("main", node, topics.Channel.STATUS).topic
        envelope = messages.Envelope(messages.VERSION, node, known.boot_id, 0, now, level)
        await self.intake.take(Received(topic, messages.encode(envelope), False, lambda: None))

    async def progress(self, node: str, share: float, text: str) -> None:
        """Have a node say how far its benchmark is."""
        assert self.intake is not None
        wish = from_parameters((await self._measuring(node)).parameters)
        said = messages.BenchProgress(wish.lease, wish.benchmark, share, text, self.clock.now)
        topic = topics.Address("main", node, topics.Channel.STATUS).topic
        envelope = messages.Envelope(messages.VERSION, node, f"boot-{self._boots}", 0, self.clock.now, said)
        await self.intake.take(Received(topic, messages.encode(envelope), False, lambda: None))

    async def come_back(self, node: str, result: BenchResult) -> None:
        """Have a node end the benchmark that it was asked for, with this result."""
        order = await self._measuring(node)
        now = self.clock.now
        await self.say(node, messages.BenchEnded(from_parameters(order.parameters).lease, result, now, now))
        await self.say(node, messages.OrderEnded(order.order_id, "done", "It was run.", now, now))
        await self._until_judged(node, from_parameters(order.parameters).lease)

    async def _until_judged(self, node: str, lease_id: str) -> None:
        assert self.intake is not None
        bench = self.intake.cell.belief.bench
        async with asyncio.timeout(LIMIT_S):
            while True:
                lease = bench.leases.get(lease_id)
                if lease is None or node in lease.judged:
                    break
                await asyncio.sleep(0.005)
        await self.intake.cell.caught_up()

    async def _measuring(self, node: str) -> Order:
        """Return the order of the benchmark that a node runs under the lease that it has, once it is there."""
        assert self.intake is not None
        bench = self.intake.cell.belief.bench
        async with asyncio.timeout(LIMIT_S):
            while True:
                for order in self.orders:
                    if lease_of_order(order.order_id) == bench.leased.get(node) and order.node == node:
                        return order
                await asyncio.sleep(0.005)

    async def _obey(self, order: Order) -> None:
        self.orders.append(order)
        if order.action is OrderAction.BENCH and not stopped_lease(order.parameters):
            return
        outcome, because, evidence = self._answer(order)
        now = self.clock.now
        if order.action is OrderAction.REBOOT:
            self._boots += 1
            await self.say(order.node, messages.AgentStarted(True, "boot", "0.1.0", now))
            if self.mends and order.node in self.findings:
                await self.clear(order.node)
        await self.say(order.node, messages.OrderEnded(order.order_id, outcome, because, now, now, evidence))
        if order.action is OrderAction.INJECT_FAULT and outcome == "done":
            await self.find(order.node, off_the_bus())

    def _answer(self, order: Order) -> tuple[str, str, dict[str, str]]:
        match order.action:
            case OrderAction.RUN_CHECKS:
                verdict = "failed" if order.node in self.findings else "ok"
                return "done", "Every check was run.", {"gpu.xid": verdict}
            case OrderAction.COLLECT:
                return "done", "Collected 1 file.", {"dmesg.txt": "[ 812.4] NVRM: Xid (PCI:0000:3b:00): 79\n"}
            case OrderAction.REBOOT:
                return "accepted", "The reboot is under way.", {}
            case OrderAction.INJECT_FAULT if order.parameters["fault"] != "gpu-off-bus":
                return "refused", f"no fault is called {order.parameters['fault']!r}", {}
            case _:
                return "done", "A kernel-log record was written.", {}


@dataclass(slots=True)
class OpenCell:
    """A running cell and everything around it."""

    front: FrontDesk
    cell: Cell
    clock: Clock
    scheduler: Holds
    nodes: Nodes
    tickets: Notices
    pages: Notices
    bench: BenchDesk
    metrics: Metrics
    url: str = ""
    uploads: ControllerEvidence | None = None
    evidence: Evidence = field(default_factory=NoEvidence)
    access: Access | None = None
    enrolling: Enrolling | None = None
    served: list[web.AppRunner] = field(default_factory=list)

    @property
    def app(self) -> web.Application:
        """What answers now."""
        return self.served[-1].app

    async def hang_up(self) -> None:
        """Answer nobody any more; what was being answered is cut."""
        await self.served.pop().cleanup()

    async def answer(self) -> None:
        """Answer at the cell's address."""
        uploads = Receiver(self.uploads, self.front.check_leading) if self.uploads is not None else None
        app = create_app(
            self.front,
            evidence=self.evidence,
            uploads=uploads,
            metrics=self.metrics,
            access=self.access,
            enrolling=self.enrolling,
        )
        self.served.append(web.AppRunner(app, shutdown_timeout=0.1, auto_decompress=False))
        await self.served[-1].setup()
        address = urlsplit(self.url)
        await web.TCPSite(self.served[-1], address.hostname, address.port).start()

    async def add_nodes(self, *names: str, facts: NodeFacts | None = None) -> None:
        """Make nodes known and online."""
        self.scheduler.nodes |= set(names)
        what = facts or NodeFacts(True, "0.1.0", "6.8.0-45-generic", "580.65.06", "NVIDIA H100 80GB HBM3", 8, "S-4711")
        levels = {"gpu.xid": CheckLevel("ok", self.clock.now), "storage.space": CheckLevel("ok", self.clock.now)}
        for name in names:
            mine = msgspec.structs.replace(what, serial=f"{what.serial}-{name}")
            await self.tell(
                NodeSeen(name, "boot-1", mine),
                PresenceChanged(name, "online", "The agent connected."),
                CheckLevelsChanged(name, levels),
            )
            self.front.intake.last_seen[name] = self.clock.now

    async def tell(self, *events: Event) -> None:
        """Put events into the log and let the policy decide."""
        await self.cell.submit(list(events))

    async def ask_bench(self, *nodes: str, benchmark: str = "nccl_all_reduce", wait_s: float = 0.0) -> str:
        """Have nodes measured as a person would; return the run's id."""
        await self.until_seen(*nodes)
        run_id = f"run-{secrets.token_hex(4)}"
        because = "alice asked for it."
        await self.tell(BenchAsked(run_id, list(nodes), [benchmark], 2, "operator", "alice", because, wait_s=wait_s))
        return run_id

    async def until_seen(self, *nodes: str) -> None:
        """Wait until the scheduler has said something of these nodes."""
        await self.until_true(lambda: set(nodes) <= set(self.bench.watch.seen))

    async def until_true(self, is_so: Callable[[], bool]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(LIMIT_S):
            while not is_so():  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    async def until_busy(self, node: str) -> None:
        """Wait until it is known that a node has work."""
        await self.until_true(lambda: bool(self.cell.belief.nodes[node].jobs))

    async def until(self, node: str, state: str) -> Incident:
        """Wait until the newest incident of a node is in a state (`held` means confirmed), and return it."""
        async with asyncio.timeout(LIMIT_S):
            while True:
                found = [i for i in self.cell.belief.incidents.values() if i.node == node]
                if found and found[-1].state == state and not (state == "handed_over" and found[-1].step()):
                    return found[-1]
                await asyncio.sleep(0.005)

    async def until_foreign(self, node: str) -> None:
        """Wait until it is known that somebody else holds a node."""
        async with asyncio.timeout(LIMIT_S):
            while True:
                if self.cell.belief.nodes[node].foreign_reason:
                    return
                await asyncio.sleep(0.005)

    async def until_kept_out(self, node: str) -> None:
        """Wait until it is known that the scheduler places nothing on a node."""
        async with asyncio.timeout(LIMIT_S):
            while self.cell.belief.nodes[node].schedulable:  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    async def until_step(self, node: str, step: str) -> Incident:
        """Wait until a step of a node's newest incident is under way."""
        async with asyncio.timeout(LIMIT_S):
            while True:
                found = [i for i in self.cell.belief.open_incidents.values() if i.node == node]
                if found and found[-1].intent is not None and found[-1].intent.step == step:
                    return found[-1]
                await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def open_cell(
    state: Path,
    cell_rules: Rules | None = None,
    *,
    evidence: EvidenceSection | None = None,
    destinations: Destinations | None = None,
    access: Access | None = None,
) -> AsyncIterator[OpenCell]:
    """Run a cell and serve it over HTTP on a free port of loopback; with `evidence`, bundles are taken there, too.

    Tickets and pages go to the cell's own two receivers, or to `destinations`.
    """
    clock, key = Clock(), Ed25519PrivateKey.generate()
    log = SqliteLog(state / "events.sqlite")
    cell = Cell(log, cell_rules or rules(), clock=clock, busy_tick_s=SOON_S)
    nodes, scheduler = Nodes(key, clock), Holds()
    desk = OrderDesk(nodes, "main", "k1", key, log.begin_term(), clock)
    watch = ScheduleWatch(cell, scheduler, clock, interval_s=0.1)
    tickets, pages = Notices("ticket"), Notices("page")
    notices = desk_of(cell, tickets, pages, clock, term=desk.term, destinations=destinations)
    effects = Effects(cell, scheduler, notices, desk, clock, watch.look_now)
    intake = nodes.intake = Intake(cell, nodes, Receipts.recall(log), "main", 180.0, clock)
    front = FrontDesk(cell, intake, desk, watch, nodes, clock, "main", notice_errors=notices.errors)
    intake.on_level = front.counters.heard
    bench = BenchDesk(cell, desk, watch, clock)
    front.progress = bench.progress
    metrics = Metrics(front, Tally(cell, notices.courier.destinations.rules), count(0.0, KEPT_S).__next__)
    intake.on_bench_ended, intake.on_progress = bench.ended, bench.heard

    def act(entry: Logged) -> None:
        effects.act(entry)
        bench.act(entry)
        metrics.tally.note(entry)

    intake.on_order_ended, cell.act = front.order_ended, act
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    uploads = _uploads(evidence, cell, key, clock, url, state) if evidence and not evidence.s3 else None
    kept: Evidence = uploads or NoEvidence()
    if evidence is not None and evidence.s3 is not None:
        s3, store = (import_module(f"controller.evidence.{name}") for name in ("s3", "s3_store"))
        kept = s3.S3Evidence(cell, store.Bucket(evidence.s3), key, evidence, clock, url)
    effects.evidence, intake.on_evidence_ended = kept, kept.ended
    opened = OpenCell(front, cell, clock, scheduler, nodes, tickets, pages, bench, metrics, url, uploads, kept, access)
    tasks = [asyncio.create_task(each) for each in (cell.run(), watch.run(), notices.run())]
    try:
        await opened.answer()
        yield opened
    finally:
        for runner in opened.served:
            await runner.cleanup()
        await effects.close()
        await notices.close()
        await bench.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        log.close()


def _uploads(
    section: EvidenceSection, cell: Cell, key: Ed25519PrivateKey, clock: Clock, url: str, state: Path
) -> ControllerEvidence:
    shelf = Shelf(
        section.directory or state / "evidence",
        Quota(section.node_bytes, section.total_bytes, section.keep_free_bytes),
    )
    shelf.open()
    return ControllerEvidence(cell, shelf, key, section, clock, url=url, page_url=url)
