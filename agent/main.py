"""The agent of one node: put together, started, stopped.

The outbox is opened first, for everything that must survive stands in it; then what the last run left open is told;
then the level goes out while the first readings are taken.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import os
import platform
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Final, Protocol

import structlog

from agent import boots
from agent.benches import Benches
from agent.bundles.keeper import Keeper, Whose
from agent.clock import Clock
from agent.deeds import Deeds
from agent.desk import Desk
from agent.hold_flag import FOLDER, OURS, HoldFlag
from agent.holding import Holding
from agent.node import Node, node_of
from agent.orders import Orders
from agent.publisher import HEARD_AT, Attendance, Identity, Publisher, subscriptions
from agent.reaching import own_address
from agent.recorder import NOBODY, Observer, header_of, record_beside
from agent.reloading import Reloading, rules_of
from agent.runner import KernelLog, Runner
from agent.settings import EX_CONFIG, Settings, SettingsError, load_settings
from agent.simulation.states import MachineBroken
from agent.telling import Telling
from agent.watched import watched
from checks.check import Check
from checks.readings import LastEnd
from checks.registry import CHECKS
from wire.logs import configure_logging, set_level
from wire.messages import AgentStarted, EvidenceEnded, NodeFacts
from wire.orders import OrderAction
from wire.readiness import READY, STOPPING, WATCHDOG, Readiness, of_this_process, stay_until_ready
from wire.transport import BrokerSettings, MqttTransport

log = structlog.get_logger()


LISTENER: Final = "agent.metrics.listener"
LOOK: Final = "agent.metrics.look"
"""Imported where metrics are scraped: other nodes do not carry the library for it."""


class Listening(Protocol):
    """Whoever answers scrapes."""

    async def run(self) -> None:
        """Answer until cancelled; whatever goes wrong with a port or a scrape is logged."""
        ...


@dataclass(slots=True)
class Ending:
    """Why and how the process ends: told to by a signal, or because its machine goes down."""

    code: int = 0
    wanted: asyncio.Event = field(default_factory=asyncio.Event)

    def end(self, code: int = 0) -> None:
        """End with this exit code."""
        self.code = code
        self.wanted.set()


@dataclass(slots=True)
class Doorbell:
    """Rings at the publisher, which is put together after those who ring."""

    answer: Callable[[], None] = lambda: None

    def ring(self) -> None:
        """The outbox holds something new."""
        self.answer()


@dataclass(frozen=True, slots=True)
class Agent:
    """Everything that runs on one node."""

    node: Node
    runner: Runner
    orders: Orders
    publisher: Publisher
    readiness: Readiness
    clock: Clock
    observer: Observer
    bundles: Keeper
    holding: Holding | None = None
    metrics: Listening | None = None

    async def run(self, ending: Ending) -> None:
        """Work until the end is wanted, then stop in order.

        Raises:
            Exception: what a part failed with; everything is stopped then, too.
        """
        publishing = asyncio.create_task(self.publisher.run(), name="publishing")
        working = asyncio.create_task(self._work(), name="working")
        waiting = asyncio.create_task(ending.wanted.wait(), name="waiting for the end")
        try:
            self.bundles.start()
            self.readiness.tell(READY)
            done, _ = await asyncio.wait({publishing, working, waiting}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self.readiness.tell(STOPPING)
            await _end(waiting, working)
            await self.orders.close()
            await self.publisher.stop()
            await _end(publishing)
            await asyncio.gather(*(source.close() for source in self.node.sources), return_exceptions=True)
            boots.leave(self.node.outbox, now=self.clock.wall())
            self.node.outbox.close()
            self.observer.close()

    def reloading(self, config: Path, settings: Settings) -> Reloading:
        """Return who reads the settings anew."""
        told = (self.holding is not None, self.publisher.publish_status, self.readiness)
        return Reloading(config, settings, self.orders, self.runner, *told)

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.orders.recover())
            if self.holding is not None:
                tasks.create_task(self.holding.watch())
            if self.metrics is not None:
                tasks.create_task(self.metrics.run())
            tasks.create_task(self.runner.run())
            tasks.create_task(self._tell_first_look())
            tasks.create_task(self._feed_watchdog())

    async def _tell_first_look(self) -> None:
        """Send the level as soon as every source was read: until then every check is `unknown`."""
        await self.runner.first_look.wait()
        self.publisher.publish_status()

    async def _feed_watchdog(self) -> None:
        """Feed systemd's watchdog while every source meets its budget."""
        while self.readiness.watchdog_interval_s:
            if self.runner.meets_budget:
                self.readiness.tell(WATCHDOG)
            await self.clock.sleep(self.readiness.watchdog_interval_s)


def assemble(
    settings: Settings, node: Node, *, clock: Clock, readiness: Readiness, checks: Sequence[Check] = CHECKS
) -> Agent:
    """Return the agent of a node, with its past taken up from the outbox and nothing running."""
    version = importlib.metadata.version("fleetmend")
    boot_id, bell = node.machine.boot_id(), Doorbell()
    last_end, started = announce(node, boot_id, version=version, clock=clock)
    observer = _observer(settings, boot_id, now=clock.wall())
    desk = Desk(checks, journal=node.outbox, boot_id=boot_id, notify=bell.ring, clock=clock, observer=observer)
    desk.note_event(started)
    log_settings = settings.kernel_log
    runner = Runner(
        desk,
        sources=node.sources,
        kernel_log=KernelLog(node.kernel_log, log_settings.state_interval_s, log_settings.accept_userspace_records),
        outbox=node.outbox,
        facts=_facts(settings, node, version),
        last_end=last_end,
        clock=clock,
    )
    holding = _holding(settings, node, runner, clock=clock)
    bundles = Keeper(
        settings.state_directory / "evidence",
        settings.evidence,
        Whose(settings.node, boot_id, version, node.machine.simulated),
        tell=partial(_tell_ended, node, desk, bell),
        clock=clock,
        inventory=settings.approved_inventory,
    )
    telling = Telling(node.outbox, desk, bell.ring)
    benches = Benches(node.bench, runner, telling, clock)
    deeds = Deeds(node.machine, runner, desk, clock, holding=holding, bundles=bundles, bench=benches)
    orders = Orders(rules_of(settings), deeds, telling, clock)
    attendance = Attendance(Identity(settings.cell, settings.node, boot_id), clock)
    publisher = Publisher(
        _transport(settings, attendance),
        node.outbox,
        attendance,
        runner.status,
        orders.receive,
        status_interval_s=settings.status_interval_s,
        clock=clock,
    )
    bell.answer, benches.say = publisher.notify, publisher.say
    if holding is not None:
        holding.publish = publisher.publish_status
    metrics = _metrics(settings, attendance.identity, version, desk, runner, node.outbox, publisher, clock)
    return Agent(node, runner, orders, publisher, readiness, clock, observer, bundles, holding, metrics)


def _metrics(settings: Settings, *parts: object) -> Listening | None:
    """Return who answers scrapes of these parts, which are those of a Look; `None` where nobody scrapes."""
    if settings.metrics.port is None:
        return None
    *others, clock = parts
    look = import_module(LOOK).Look(*others, clock, settings.broker.tls().known_life)
    listener: Listening = import_module(LISTENER).Listener(
        settings.metrics.host, settings.metrics.port, look.values, clock=clock
    )
    return listener


def _holding(settings: Settings, node: Node, runner: Runner, *, clock: Clock) -> Holding | None:
    """Return what holds the node where a controller may order it, `None` on a node that a scheduler holds."""
    if not settings.orders_allowed & {OrderAction.HOLD, OrderAction.RELEASE}:
        return None
    flag = HoldFlag(node.root / FOLDER, settings.state_directory / OURS, boot_id=node.machine.boot_id)
    holding = Holding(flag, node.targets, runner, node.forget_gpus, clock)
    runner.hold = holding.level
    return holding


def announce(node: Node, boot_id: str, *, version: str, clock: Clock) -> tuple[LastEnd | None, int]:
    """Put into the outbox that the agent started; return how the boot before ended, and the event's number."""
    previous, now = boots.previous_boot_id(node.outbox), clock.wall()
    start = boots.begin(node.outbox, boot_id, now=now, up_s=clock.monotonic(), root=node.root)
    seq = node.outbox.put(AgentStarted(previous not in ("", boot_id), previous, version, now), now)
    boots.keep(node.outbox, start)
    how = start.last_end.how if start.last_end is not None else ""
    log.info("agent.started", version=version, boot_id=boot_id, previous_boot_id=previous, last_end=how)
    return start.last_end, seq


async def run(settings: Settings, config: Path) -> int:
    """Run the agent until a signal or its machine ends it; return the exit code.

    Args:
        config: the file of the settings, which SIGHUP has read anew.

    Raises:
        SettingsError: the state directory cannot be made.
        MachineBroken: there is no simulated machine in its directory.
    """
    ending, clock = Ending(), Clock()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.end)
    ours = watched(settings)
    node = node_of(settings, programs=ours.programs, end_process=ending.end)
    agent = assemble(settings, node, clock=clock, readiness=of_this_process(), checks=ours.checks)
    loop.add_signal_handler(signal.SIGHUP, agent.reloading(config, settings).ask)
    await agent.run(ending)
    log.info("agent.stopped", code=ending.code)
    return ending.code


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command `fleetmend-agent`."""
    asked = _parse(arguments)
    try:
        settings = load_settings(asked.config)
        if asked.check:
            print(f"{asked.config}: valid")
            return
        configure_logging()
        set_level(settings.log_level)
        stay_until_ready()
        structlog.contextvars.bind_contextvars(node=settings.node)
        sys.exit(asyncio.run(run(settings, asked.config)))
    except (SettingsError, MachineBroken) as error:
        print(error, file=sys.stderr)
        sys.exit(EX_CONFIG)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("fleetmend-agent", description="Watch this node and report to its controller.")
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="the configuration, TOML")
    parser.add_argument("--check", action="store_true", help="only say whether the configuration is valid")
    return parser.parse_args(arguments)


def _tell_ended(node: Node, desk: Desk, bell: Doorbell, ended: EvidenceEnded) -> None:
    desk.note_event(node.outbox.put(ended, ended.observed_at))
    bell.ring()


def _observer(settings: Settings, boot_id: str, *, now: float) -> Observer:
    recording = settings.recording
    if recording.file is None:
        return NOBODY
    believes = settings.kernel_log.accept_userspace_records
    header = header_of(settings.node, boot_id, accept_userspace=believes)
    return record_beside(recording.file, header, most_bytes=recording.most_bytes, now=now)


def _facts(settings: Settings, node: Node, version: str) -> NodeFacts:
    return NodeFacts(
        simulated=node.machine.simulated,
        agent_version=version,
        kernel=platform.release(),
        serial=node.serial,
        orders_allowed=sorted(settings.orders_allowed),
        places={kind: [names] if isinstance(names, str) else sorted(names) for kind, names in settings.places.items()},
        address=settings.address or ("" if node.machine.simulated else own_address(node.root, os.environ)),
    )


def _transport(settings: Settings, attendance: Attendance) -> MqttTransport:
    broker = settings.broker
    return MqttTransport(
        BrokerSettings(
            url=broker.url,
            client_id=f"fleetmend-{settings.cell}-{settings.node}",
            username=settings.username,
            password_file=broker.password_file,
            tls=broker.tls(),
        ),
        subscriptions=subscriptions(attendance.identity),
        will=attendance.last_will,
        qos=HEARD_AT,
    )


async def _end(*tasks: asyncio.Task[object]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    main()
