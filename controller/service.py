"""One running controller: everything put together, and the order in which it starts and stops."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import structlog
from aiohttp import web

from controller.access.admitting import Access
from controller.adapters import NodeSchedule
from controller.api.app import create_app
from controller.api.enrolling import Enrolling
from controller.cell import Cell
from controller.desk import FrontDesk
from controller.engine.orders import OrderDesk
from controller.evidence.choosing import Counter
from controller.housekeeping import Housekeeping
from controller.intake import Intake
from controller.leadership import Leadership
from controller.listening import Listener, runner_of
from controller.metrics.scrape import Metrics
from controller.policy.belief import Belief
from controller.policy.rules import Rules
from controller.schedulers import choosing
from controller.schedulers.none import NoScheduler
from controller.sealing import Sealing
from controller.settings import ControllerSettings
from controller.store.log import StoreError
from controller.store.seals import Signer
from controller.vitals import Vitals
from controller.watch import ScheduleWatch
from wire.transport import MqttTransport

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


async def _nothing() -> None:
    """There is nothing to end."""


@dataclass(frozen=True, slots=True)
class Part:
    """Something that works beside the cell while this controller leads.

    Attributes:
        run: works until cancelled; `None` for what only hears.
        resume: takes up what was under way, once belief is whole and the scheduler was looked at.
        close: ends what it has begun, whether it ever ran or not.
    """

    name: str
    run: Callable[[], Coroutine[Any, Any, None]] | None = None
    resume: Callable[[], object] = lambda: None
    close: Callable[[], Awaitable[None]] = _nothing


@dataclass(frozen=True, slots=True)
class Anew:
    """What a running controller goes by once its files were read anew."""

    settings: ControllerSettings
    rules: Rules
    signer: Signer
    access: Access


@dataclass(slots=True)
class Controller:
    """A controller that was put together and not yet started.

    Attributes:
        transport: connected to every node's event, status and presence channels.
        parts: all others, which do no more than run while it leads.
        vitals: what systemd is told.
        leads: whether the standing by is over.
    """

    settings: ControllerSettings
    cell: Cell
    transport: MqttTransport
    intake: Intake
    desk: OrderDesk
    watch: ScheduleWatch
    front: FrontDesk
    leadership: Leadership
    housekeeping: Housekeeping
    metrics: Metrics
    sealing: Sealing
    parts: Sequence[Part]
    counter: Counter = field(default_factory=Counter)
    access: Access = field(default_factory=Access)
    enrolling: Enrolling | None = None
    vitals: Vitals = field(default_factory=Vitals)
    url: str = ""
    leads: bool = False
    started: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Serve until cancelled.

        Raises:
            StoreError: the event log cannot be written.
            LeadershipLost: another controller may lead from now on; this one has stopped acting.
            OSError: the HTTP port is taken, or its certificate cannot be used.
        """
        runner = runner_of(self._app(), shutdown_s=SHUTDOWN_LIMIT_S)
        await runner.setup()
        tls = self.settings.http.tls()
        listener = Listener(runner, tls.context() if tls is not None else None)
        uploads: web.AppRunner | None = None
        self.cell.came_round = self.vitals.came_round
        feeding = asyncio.create_task(self.vitals.feed(), name="watchdog")
        with contextlib.suppress(StoreError):  # said by who needs it to lead
            await self.housekeeping.measure()
        try:
            uploads = await self.counter.listen()
            host, port = await listener.start(self.settings.http.host, self.settings.http.port)
            self.url = f"{self.settings.http.scheme}://{host}:{port}"
            log.info("controller.started", url=self.url, cell=self.settings.cell)
            await self._stand_by()
            await self._serve()
        finally:
            self.vitals.stopping()
            feeding.cancel()
            for part in self.parts:
                await part.close()
            if self.enrolling is not None:
                await self.enrolling.desk.refusals.close()
            await choosing.close(self.watch.scheduler)
            await listener.stop()
            if uploads is not None:
                await uploads.cleanup()
            if self.leadership.leads():
                await self.sealing.seal()
            await self.leadership.close()
            self.cell.log.close()

    def _app(self) -> web.Application:
        hosts = {self.settings.http.host, urlsplit(self.settings.http.public_url).hostname or ""} - {""}
        return create_app(
            self.front,
            hosts=hosts | self.counter.hosts(),
            evidence=self.counter.evidence,
            uploads=self.counter.on_api_port(),
            metrics=self.metrics,
            access=self.access,
            enrolling=self.enrolling,
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
            self.vitals.came_round()
            tell = self.vitals.say if troubled else self.vitals.ready
            tell(_standing_by(self.leadership, troubled=troubled))
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
            self.front.traces.begin()
            self.leads = True
            self.sealing.check()
            self.cell.load_rules()
            group.create_task(self.leadership.keep(), name="leadership")
            group.create_task(self.cell.run(), name="cell")
            group.create_task(self.housekeeping.run(), name="housekeeping")
            group.create_task(self.sealing.run(), name="sealing")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.settings.scheduler.deadline_s):
                    await self.watch.look()
            for part in self.parts:
                part.resume()
            group.create_task(self.watch.run(), name="schedule-watch")
            group.create_task(
                self.transport.run(on_message=self.intake.take, on_connected=self._connected), name="mqtt"
            )
            group.create_task(self.intake.acknowledge_stored(), name="acknowledgements")
            group.create_task(self.intake.watch_silence(), name="silence")
            group.create_task(self.desk.keep_sending(), name="orders")
            group.create_task(self.counter.evidence.run(), name="evidence")
            for part in self.parts:
                if part.run is not None:
                    group.create_task(part.run(), name=part.name)
            self.started.set()
            self.vitals.ready(f"Leads the cell {self.settings.cell}, term {self.desk.term}.")

    def follow(self, anew: Anew) -> None:
        """Decide, sign and let people in by this from here on.

        Of the settings it takes over what `controller.reloading` lists.
        """
        settings, signer = anew.settings, anew.signer
        self.desk.sign_with(signer)
        self.counter.evidence.sign_with(signer.key)
        self.sealing.signer = signer
        self.front.charge(settings.report.prices())
        self.access.follow(anew.access)
        self.settings, self.cell.rules = settings, anew.rules
        self.intake.silent_after_s = settings.silence.silent_after_s
        if self.leads:
            self.cell.load_rules("The controller was told to read its files anew: they hold other rules.")

    async def _connected(self) -> None:
        log.info("cell.connected", broker=str(self.transport.address), cell=self.settings.cell)


def _standing_by(leadership: Leadership, *, troubled: bool) -> str:
    if troubled:
        return "Stands by; the event log cannot be reached."
    return f"Stands by; {leadership.leader_url or 'nobody that it knows of'} leads."


def _holds(belief: Belief) -> dict[str, NodeSchedule]:
    """Return the nodes that are out, as the last look at the scheduler and our own acts since have it."""
    return {
        name: NodeSchedule(False, node.hold_id if node.held_since else "", node.foreign_reason)
        for name, node in belief.nodes.items()
        if node.held_since or node.foreign_reason
    }
