"""Puts a controller together: the parts that the settings name, and who listens to whom."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec

import structlog

from checks.bench_limits import too_low
from controller import keys, playbooks
from controller.access.choosing import access_of
from controller.adapters import Power
from controller.benching.desk import BenchDesk
from controller.benching.planner import Planner
from controller.benching.sweeps import SweepDesk
from controller.cell import Cell
from controller.clock_steps import ClockSteps
from controller.comparison import Comparison
from controller.desk import FrontDesk
from controller.engine.effects import Effects
from controller.engine.orders import OrderDesk
from controller.enrolment.choosing import enrolling_of
from controller.evidence.choosing import Counter, counter_of
from controller.housekeeping import Housekeeping
from controller.intake import Intake
from controller.leadership import Leadership
from controller.metrics.scrape import Metrics
from controller.metrics.tally import Tally
from controller.notices.choosing import Destinations, destinations_of
from controller.notices.courier import Courier
from controller.notices.desk import NoticeDesk
from controller.peer_watch import PeerWatch
from controller.policy.rules import DEFAULT_BREAKERS, DEFAULT_DOMAINS, RolloutRule, Rules
from controller.power.choosing import power_of
from controller.power.watch import PowerWatch
from controller.receipts import Receipts
from controller.schedulers import choosing
from controller.schedulers.node import NodeScheduler
from controller.sealing import FILE as HEAD_FILE
from controller.sealing import Sealing
from controller.service import Controller, Part
from controller.settings import ControllerSettings, SettingsError
from controller.store.choosing import leadership_of, open_store
from controller.store.log import EventLog
from controller.store.seals import Signer
from controller.store.signing import key_file, signer_of
from controller.topology import scheduled
from controller.topology.configured import sources_of
from controller.topology.watch import TopologyWatch
from controller.tracing.calls import Peers
from controller.tracing.choosing import traces_of
from controller.watch import ScheduleWatch
from wire import topics
from wire.files import SecretError, check_secret
from wire.transport import BrokerSettings, MqttTransport

log = structlog.get_logger()
Heard = ParamSpec("Heard")


def assemble(settings: ControllerSettings) -> Controller:
    """Open the log, recall what is believed, and put a controller together; nothing runs yet.

    Raises:
        PlaybookErrors: with every problem of every playbook.
        Unreadable, SettingsError: with every problem of the files that say where nodes, or their BMCs, stand.
        KeyFileError: the signing key cannot be used.
        StoreError: the event log cannot be opened.
        SettingsError: the scheduler's cluster cannot be used, or a destination of tickets or pages, or what the port
            needs.
    """
    places, power = sources_of(settings.topology), power_of(settings.power)
    destinations = destinations_of(settings)
    _try_certificate(settings)
    _try_secrets(settings)
    access = access_of(settings)
    core = _core_of(settings)
    notices = _notices(core, destinations)
    effects = _effects(core, power, notices)
    receipts = Receipts.recall(core.cell.log)
    silent_after_s = settings.silence.silent_after_s
    intake = Intake(
        core.cell, core.transport, receipts, settings.cell, silent_after_s, time.time, monotonic=time.monotonic
    )
    housekeeping = Housekeeping(core.cell, receipts, settings, time.time)
    seen = scheduled.sources_of(core.watch.scheduler, settings.topology.interval_s)
    topology = TopologyWatch(core.cell, (*places, *seen))
    front = _front_desk(core, intake)
    front.store_use, front.topology_errors, front.notice_errors = housekeeping.use, topology.errors, notices.errors
    front.certificate = settings.broker.tls().known_life
    counter = _counter(core, front)
    effects.evidence, intake.on_evidence_ended = counter.evidence, counter.evidence.ended
    watching = (*_hearing(core, intake, front), *_listening(core, effects, topology))
    sealing = _sealing(core, front, housekeeping)
    measuring = _measuring(core, intake, front)
    metrics = _told(core, effects, intake, front)
    return Controller(
        settings,
        core.cell,
        core.transport,
        intake,
        core.desk,
        core.watch,
        front,
        core.leadership,
        housekeeping,
        metrics,
        sealing,
        parts=(
            Part("effects", resume=effects.resume, close=effects.close),
            Part("traces", close=front.traces.close),
            Part("notices", notices.run, close=notices.close),
            *measuring,
            Part("tally", resume=metrics.tally.resume),
            *watching,
        ),
        counter=counter,
        access=access,
        enrolling=enrolling_of(settings, front),
    )


@dataclass(frozen=True, slots=True)
class _Core:
    """What all others are put together from."""

    settings: ControllerSettings
    signer: Signer
    cell: Cell
    leadership: Leadership
    transport: MqttTransport
    desk: OrderDesk
    watch: ScheduleWatch


def _core_of(settings: ControllerSettings) -> _Core:
    event_log = open_store(settings.store, settings.state)
    cell = _recalled(event_log, rules_of(settings))
    leadership = leadership_of(event_log, socket.gethostname(), _page_url(settings))
    transport = MqttTransport(_broker(settings), subscriptions=_subscriptions(settings.cell), will=None)
    keys.load_or_make(key_file(settings))
    signer = signer_of(settings)
    desk = OrderDesk(transport, settings.cell, signer.key_id, signer.key, event_log.term, time.time, leadership.leads)
    scheduler = choosing.scheduler_of(settings, settings.state, desk)
    watch = ScheduleWatch(cell, scheduler, time.time, settings.scheduler.interval_s)
    return _Core(settings, signer, cell, leadership, transport, desk, watch)


def _try_secrets(settings: ControllerSettings) -> None:
    """Find out now what else the broker and the event log would, each by its own key."""
    section = settings.broker
    for key, read in (
        ("broker.password_file", _broker(settings).read_password),
        ("broker.certificate_file", section.tls().context if section.certificate_file else lambda: None),
        ("store.password_file", lambda: settings.store.password),
        ("http.key_file", lambda: check_secret(settings.http.key_file) if settings.http.key_file else None),
    ):
        try:
            read()
        except (SecretError, ValueError) as error:
            raise SettingsError(f"{key}: {error}") from error


def _try_certificate(settings: ControllerSettings) -> None:
    """Find out now what else the port would at the start."""
    try:
        settings.http.tls()
    except OSError as error:
        files = f"{settings.http.certificate_file} with {settings.http.key_file}"
        raise SettingsError(f"http.certificate_file: {files}: {error.strerror or error}") from error


def _recalled(event_log: EventLog, rules: Rules) -> Cell:
    """Return the cell with all that its log tells, and say what the operator should know of the rules."""
    for sentence in too_low(rules.bench.limits):
        log.warning("bench.floor_low", because=sentence)
    cell = Cell(event_log, rules, steps=ClockSteps(time.time, time.monotonic))
    recalled = cell.recall()
    log.info("log.recalled", store=event_log.name, events=recalled, nodes=len(cell.belief.nodes))
    return cell


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
        bench=settings.bench.rules(settings.scheduler.kind),
        when=settings.bench.when.rules(),
    )


def _refuse_unknown_playbooks(settings: ControllerSettings, known: set[str]) -> None:
    """A mode for a playbook of another name would hold nothing back."""
    unknown = [name for name in settings.modes.playbooks() if name not in known]
    if unknown:
        lines = [f"modes: no playbook is called {name!r}; there are {', '.join(sorted(known))}" for name in unknown]
        raise SettingsError("\n".join(lines))


def _page_url(settings: ControllerSettings) -> str:
    return settings.http.public_url or f"{settings.http.scheme}://{settings.http.host}:{settings.http.port}"


def _front_desk(core: _Core, intake: Intake) -> FrontDesk:
    return FrontDesk(
        core.cell,
        intake,
        core.desk,
        core.watch,
        core.transport,
        time.time,
        core.settings.cell,
        leads=core.leadership.leads,
        leader_url=lambda: core.leadership.leader_url,
        prices=core.settings.report.prices(),
    )


def _sealing(core: _Core, front: FrontDesk, housekeeping: Housekeeping) -> Sealing:
    """Return who signs the log; it hears when people act."""
    sealing = Sealing(core.cell.log, core.signer, core.settings.state / HEAD_FILE, time.time)
    housekeeping.trouble, front.acted = lambda: sealing.error, sealing.soon
    return sealing


def _notices(core: _Core, destinations: Destinations) -> NoticeDesk:
    courier = Courier(
        core.cell,
        destinations,
        time.time,
        _page_url(core.settings),
        leads=core.leadership.leads,
        term=lambda: core.cell.log.term,
    )
    return NoticeDesk(courier, listen_every_s=core.settings.notices.listen_every_s)


def _effects(core: _Core, power: Power, notices: NoticeDesk) -> Effects:
    return Effects(
        core.cell,
        core.watch.scheduler,
        notices,
        core.desk,
        time.time,
        observe_now=core.watch.look_now,
        leads=core.leadership.leads,
        power=power,
    )


def _counter(core: _Core, front: FrontDesk) -> Counter:
    return counter_of(
        core.settings,
        core.cell,
        key=core.signer.key,
        page_url=_page_url(core.settings),
        clock=time.time,
        check_leading=front.check_leading,
    )


def _measuring(core: _Core, intake: Intake, front: FrontDesk) -> tuple[Part, ...]:
    """Return who plans and orders benchmarks and hands out the ranks of groups; each hears what it has to."""
    cell, bench = core.cell, BenchDesk(core.cell, core.desk, core.watch, time.time)
    front.progress = bench.progress
    sweeps = SweepDesk(cell, bench)
    bench.on_group, bench.on_rendezvous = sweeps.granted, sweeps.met
    intake.on_bench_ended, intake.on_rendezvous, intake.on_progress = bench.ended, bench.met, bench.heard
    cell.act = _each(cell.act, bench.act, sweeps.act)
    planner = Planner(cell, time.time, bench.why_unknown, core.leadership.leads)
    return (
        Part("sweeps", resume=sweeps.resume),
        Part("bench", resume=bench.resume, close=bench.close),
        Part("bench-planner", planner.run),
    )


def _hearing(core: _Core, intake: Intake, front: FrontDesk) -> tuple[Part, ...]:
    """Return who compares nodes and who asks them about each other; have all hear what nodes say that need it."""
    comparison, peer_watch = Comparison(core.cell, time.time), PeerWatch(core.cell, core.desk, time.time)
    intake.on_order_ended = _each(front.order_ended, peer_watch.order_ended)
    intake.on_online = core.desk.node_came_back
    intake.on_level = _each(comparison.heard, front.counters.heard)
    scheduler = core.watch.scheduler
    if isinstance(scheduler, NodeScheduler):
        intake.on_level = _each(intake.on_level, scheduler.heard)
        intake.on_order_ended = _each(intake.on_order_ended, scheduler.order_ended)
    return Part("comparison", comparison.run), Part("peer-watch", peer_watch.run)


def _listening(core: _Core, effects: Effects, topology: TopologyWatch) -> tuple[Part, ...]:
    """Have the parts hear what the cell commits; return who looks at where nodes stand, and at the power of silent
    ones."""
    section = core.settings.power
    watch = PowerWatch(core.cell, effects.power, time.time, section.interval_s, section.at_once)
    core.cell.act = _each(effects.act, topology.note, watch.note)
    return Part("topology-watch", topology.run), Part("power-watch", watch.run)


def _told(core: _Core, effects: Effects, intake: Intake, front: FrontDesk) -> Metrics:
    """Have traces told, and return what Prometheus is told: both hear what happens last of all."""
    cell, courier = core.cell, effects.notices.courier
    traces = traces_of(core.settings, cell, Peers(effects.scheduler.name, effects.power.name), time.time)
    effects.traces = courier.traces = front.traces = traces
    if core.settings.traces.endpoint:
        intake.on_arrival, cell.act = traces.arrived, _each(cell.act, traces.act)
    tally = Tally(cell, courier.destinations.rules)
    cell.act = _each(cell.act, tally.note)
    return Metrics(front, tally, time.monotonic)


def _each(*listeners: Callable[Heard, None]) -> Callable[Heard, None]:
    """Return what tells each of them."""

    def tell(*said: Heard.args, **named: Heard.kwargs) -> None:
        for listener in listeners:
            listener(*said, **named)

    return tell


def _broker(settings: ControllerSettings) -> BrokerSettings:
    section = settings.broker
    return BrokerSettings(
        url=section.url,
        client_id=f"fleetmend-controller-{settings.cell}",
        username=section.username,
        password_file=section.password_file,
        tls=section.tls(),
    )


def _subscriptions(cell: str) -> tuple[str, ...]:
    heard = (topics.Channel.EVENT, topics.Channel.STATUS, topics.Channel.PRESENCE)
    return tuple(topics.every_node(cell, channel) for channel in heard)
