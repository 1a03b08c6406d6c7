"""One running controller: everything put together, and the order in which it starts and stops."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import structlog
from aiohttp import web

from controller import keys, playbooks
from controller.adapters import NodeSchedule, Notifier, Power
from controller.api.app import create_app
from controller.cell import Cell
from controller.comparison import Comparison
from controller.desk import FrontDesk
from controller.engine.effects import Effects
from controller.engine.orders import OrderDesk
from controller.events import Logged, OrderEnded
from controller.evidence.choosing import Counter, counter_of
from controller.housekeeping import Housekeeping
from controller.intake import Intake
from controller.leadership import Leadership
from controller.notice_file import JsonLinesNotifier
from controller.notice_webhook import WebhookNotifier
from controller.policy.belief import Belief
from controller.policy.rules import DEFAULT_BREAKERS, DEFAULT_DOMAINS, RolloutRule, Rules
from controller.power.choosing import power_of
from controller.power.watch import PowerWatch
from controller.receipts import Receipts
from controller.schedulers import choosing
from controller.schedulers.node import NodeScheduler
from controller.schedulers.none import NoScheduler
from controller.sections.notices import NoticeSection
from controller.settings import ControllerSettings, SettingsError
from controller.store.choosing import leadership_of, open_store
from controller.store.log import StoreError
from controller.topology import scheduled
from controller.topology.configured import sources_of
from controller.topology.watch import TopologyWatch
from controller.watch import ScheduleWatch
from wire import topics
from wire.messages import Status
from wire.transport import BrokerSettings, MqttTransport

log = structlog.get_logger()


SHUTDOWN_LIMIT_S = 2.0
"""A request that waits for a node's answer must not hold up the end of the controller."""

STAND_BY_S = 0.5
"""How often a standby reads on and tries to lead."""


class AlreadyRunning(Exception):
    """Another controller uses the same state directory: two would fight over every node."""


def lock_state(state: Path) -> int:
    """Take the state directory for this process, for as long as it lives.

    Raises:
        AlreadyRunning: another process has it.
    """
    state.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(state / "controller.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise AlreadyRunning(f"another controller is running on {state}") from error
    return descriptor


def rules_of(settings: ControllerSettings) -> Rules:
    """Return what the policy goes by.

    Raises:
        PlaybookErrors: with every problem of every playbook file.
        SettingsError: `[modes]` names a playbook that is not there.
    """
    books = playbooks.load_directory(settings.playbooks) if settings.playbooks else playbooks.load_default()
    _refuse_unknown_playbooks(settings, {book.name for book in books})
    return Rules(
        playbooks=books,
        budget=settings.budget.budget(),
        limits=tuple(section.limit() for section in settings.limits),
        breakers=DEFAULT_BREAKERS if settings.breakers is None else tuple(s.rule() for s in settings.breakers),
        domains=DEFAULT_DOMAINS if settings.domains is None else tuple(s.rule() for s in settings.domains),
        freezes=tuple(section.freeze() for section in settings.freezes),
        agent_lost_after_s=settings.silence.agent_lost_after_s,
        mass_silence_nodes=settings.silence.freeze_nodes,
        mass_silence_share=settings.silence.freeze_share,
        simulated_speedup=settings.simulated_speedup,
        modes=settings.modes.modes(),
        rollout=RolloutRule(settings.rollout.canaries, settings.rollout.share),
        approval_valid_s=settings.approvals.valid_s,
        answer_within_s=settings.approvals.answer_within_s,
    )


def _refuse_unknown_playbooks(settings: ControllerSettings, known: set[str]) -> None:
    """A mode for a playbook of another name would hold nothing back."""
    unknown = [name for name in settings.modes.playbooks() if name not in known]
    if unknown:
        lines = [f"modes: no playbook is called {name!r}; there are {', '.join(sorted(known))}" for name in unknown]
        raise SettingsError("\n".join(lines))


def notifier_of(section: NoticeSection, default: Path) -> Notifier:
    """Return the adapter that the settings name."""
    if section.kind == "webhook":
        return WebhookNotifier(section.url, repeatable=section.deduplicates)
    return JsonLinesNotifier(section.path or default)


@dataclass(slots=True)
class Controller:
    """A controller that was put together and not yet started.

    Attributes:
        transport: connected to every node's event, status and presence channels.
    """

    settings: ControllerSettings
    cell: Cell
    transport: MqttTransport
    intake: Intake
    effects: Effects
    desk: OrderDesk
    watch: ScheduleWatch
    front: FrontDesk
    leadership: Leadership
    housekeeping: Housekeeping
    topology: TopologyWatch
    comparison: Comparison
    power_watch: PowerWatch
    counter: Counter = field(default_factory=Counter)
    url: str = ""
    started: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    def build(cls, settings: ControllerSettings) -> Controller:
        """Open the log, recall what is believed, and put the parts together; nothing runs yet.

        Raises:
            PlaybookErrors: with every problem of every playbook.
            Unreadable, SettingsError: with every problem of the files that say where nodes, or their BMCs, stand.
            KeyFileError: the signing key cannot be used.
            StoreError: the event log cannot be opened.
            SettingsError: the scheduler's cluster cannot be used.
        """
        places, power = sources_of(settings.topology), power_of(settings.power)
        event_log = open_store(settings.store, settings.state)
        cell = Cell(event_log, rules_of(settings))
        recalled = cell.recall()
        log.info("log.recalled", store=event_log.name, events=recalled, nodes=len(cell.belief.nodes))
        leadership = leadership_of(event_log, socket.gethostname(), _page_url(settings))
        transport = MqttTransport(_broker(settings), subscriptions=_subscriptions(settings.cell), will=None)
        desk = _order_desk(settings, transport, event_log.term, leadership)
        scheduler = choosing.scheduler_of(settings, settings.state, desk)
        watch = ScheduleWatch(cell, scheduler, time.time, settings.scheduler.interval_s)
        effects = _effects(settings, cell, watch, desk, leadership, power)
        receipts = Receipts.recall(event_log)
        intake = Intake(cell, transport, receipts, settings.cell, settings.silence.silent_after_s, time.time)
        housekeeping = Housekeeping(cell, receipts, settings, time.time)
        topology = TopologyWatch(cell, (*places, *scheduled.sources_of(scheduler, settings.topology.interval_s)))
        front = FrontDesk(
            cell,
            intake,
            desk,
            watch,
            transport,
            time.time,
            settings.cell,
            leads=leadership.leads,
            leader_url=lambda: leadership.leader_url,
            store_use=housekeeping.use,
            topology_errors=topology.errors,
        )
        counter = counter_of(
            settings,
            cell,
            key=desk.key,
            page_url=_page_url(settings),
            clock=time.time,
            check_leading=front.check_leading,
        )
        effects.evidence, intake.on_evidence_ended = counter.evidence, counter.evidence.ended
        comparison = Comparison(cell, time.time)
        intake.on_order_ended, intake.on_online = front.order_ended, desk.node_came_back
        intake.on_level = comparison.heard
        if isinstance(scheduler, NodeScheduler):
            _listen(scheduler, intake)
        power_watch = _listening(cell, effects, topology, settings)
        return cls(
            settings,
            cell,
            transport,
            intake,
            effects,
            desk,
            watch,
            front,
            leadership,
            housekeeping,
            topology,
            comparison,
            power_watch,
            counter,
        )

    async def run(self) -> None:
        """Serve until cancelled.

        Raises:
            StoreError: the event log cannot be written.
            LeadershipLost: another controller may lead from now on; this one has stopped acting.
            OSError: the HTTP port is taken.
        """
        runner = web.AppRunner(self._app(), access_log=None, shutdown_timeout=SHUTDOWN_LIMIT_S)
        await runner.setup()
        uploads: web.AppRunner | None = None
        with contextlib.suppress(StoreError):  # said by who needs it to lead
            await self.housekeeping.measure()
        try:
            uploads = await self.counter.listen()
            site = web.TCPSite(runner, self.settings.http.host, self.settings.http.port)
            await site.start()
            host, port = runner.addresses[0][:2]
            self.url = f"http://{host}:{port}"
            log.info("controller.started", url=self.url, cell=self.settings.cell)
            await self._stand_by()
            await self._serve()
        finally:
            await self.effects.close()
            await choosing.close(self.watch.scheduler)
            await runner.cleanup()
            if uploads is not None:
                await uploads.cleanup()
            await self.leadership.close()
            self.cell.log.close()

    def _app(self) -> web.Application:
        hosts = {self.settings.http.host, urlsplit(self.settings.http.public_url).hostname or ""} - {""}
        return create_app(
            self.front,
            hosts=hosts | self.counter.hosts(),
            evidence=self.counter.evidence,
            uploads=self.counter.on_api_port(),
        )

    async def _stand_by(self) -> None:
        """Follow the log until this controller leads, and then to its end: nobody else can write any more."""
        troubled = False
        while True:
            try:
                leading = await self.leadership.try_to_lead()
                await self.cell.catch_up()
                await self.housekeeping.measure()
                troubled = False
            except StoreError as error:
                leading = False
                if not troubled:
                    log.warning("store.unreachable", because=str(error))
                troubled = True
            if leading:
                break
            await asyncio.sleep(STAND_BY_S)
        if self.cell.log.deleted_through() > self.cell.belief.last_event_id:
            self.cell.recall()
        self.desk.term = self.cell.log.term
        self.cell.log.recall_taken()
        if self.leadership.took_over and isinstance(self.watch.scheduler, NoScheduler):
            await self.watch.scheduler.adopt(_holds(self.cell.belief))
        log.info("leadership.taken", term=self.desk.term, event_id=self.cell.belief.last_event_id)

    async def _serve(self) -> None:
        async with asyncio.TaskGroup() as group:
            self.cell.load_rules()
            group.create_task(self.leadership.keep(), name="leadership")
            group.create_task(self.cell.run(), name="cell")
            group.create_task(self.housekeeping.run(), name="housekeeping")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.settings.scheduler.deadline_s):
                    await self.watch.look()
            self.effects.resume()
            group.create_task(self.watch.run(), name="schedule-watch")
            group.create_task(self.topology.run(), name="topology-watch")
            group.create_task(
                self.transport.run(on_message=self.intake.take, on_connected=self._connected), name="mqtt"
            )
            group.create_task(self.intake.acknowledge_stored(), name="acknowledgements")
            group.create_task(self.intake.watch_silence(), name="silence")
            group.create_task(self.comparison.run(), name="comparison")
            group.create_task(self.power_watch.run(), name="power-watch")
            group.create_task(self.desk.keep_sending(), name="orders")
            group.create_task(self.counter.evidence.run(), name="evidence")
            self.started.set()

    async def _connected(self) -> None:
        log.info("cell.connected", broker=str(self.transport.address), cell=self.settings.cell)


def _page_url(settings: ControllerSettings) -> str:
    return settings.http.public_url or f"http://{settings.http.host}:{settings.http.port}"


def _order_desk(settings: ControllerSettings, transport: MqttTransport, term: int, leadership: Leadership) -> OrderDesk:
    key = keys.load_or_make(settings.signing_key or settings.state / "signing-key.pem")
    return OrderDesk(transport, settings.cell, keys.key_id(key), key, term, time.time, leadership.leads)


def _effects(
    settings: ControllerSettings,
    cell: Cell,
    watch: ScheduleWatch,
    desk: OrderDesk,
    leadership: Leadership,
    power: Power,
) -> Effects:
    return Effects(
        cell,
        watch.scheduler,
        notifier_of(settings.tickets, settings.state / "tickets.jsonl"),
        notifier_of(settings.pages, settings.state / "pages.jsonl"),
        desk,
        time.time,
        page_url=_page_url(settings),
        observe_now=watch.look_now,
        leads=leadership.leads,
        power=power,
    )


def _holds(belief: Belief) -> dict[str, NodeSchedule]:
    """Return the nodes that are out, as the last look at the scheduler and our own acts since have it."""
    return {
        name: NodeSchedule(False, node.hold_id if node.held_since else "", node.foreign_reason)
        for name, node in belief.nodes.items()
        if node.held_since or node.foreign_reason
    }


def _listening(cell: Cell, effects: Effects, topology: TopologyWatch, settings: ControllerSettings) -> PowerWatch:
    """Have the parts hear what the cell commits; return the one that looks at the power of silent nodes."""
    watch = PowerWatch(cell, effects.power, time.time, settings.power.interval_s, settings.power.at_once)
    cell.act = _each(effects.act, topology.note, watch.note)
    return watch


def _each(*listeners: Callable[[Logged], None]) -> Callable[[Logged], None]:
    """Return what tells each of them."""

    def tell(entry: Logged) -> None:
        for listener in listeners:
            listener(entry)

    return tell


def _listen(scheduler: NodeScheduler, intake: Intake) -> None:
    """Let the nodes be heard by what takes them out of service, too."""
    level, ended = intake.on_level, intake.on_order_ended

    def take_level(node: str, said: Status) -> None:
        level(node, said)
        scheduler.heard(node, said)

    def take_answer(event: OrderEnded) -> None:
        ended(event)
        scheduler.order_ended(event)

    intake.on_level, intake.on_order_ended = take_level, take_answer


def _broker(settings: ControllerSettings) -> BrokerSettings:
    section = settings.broker
    return BrokerSettings(
        url=section.url,
        client_id=f"fleetmend-controller-{settings.cell}",
        username=section.username,
        password=section.password_file.read_text("utf-8").strip() if section.password_file else "",
        ca_file=str(section.ca_file) if section.ca_file else "",
    )


def _subscriptions(cell: str) -> tuple[str, ...]:
    heard = (topics.Channel.EVENT, topics.Channel.STATUS, topics.Channel.PRESENCE)
    return tuple(topics.every_node(cell, channel) for channel in heard)
