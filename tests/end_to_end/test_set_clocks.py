"""Somebody sets the clock of a controller, or of a node, by a day: processes, a real broker, a clock that is set.

Nobody falls silent by it, faults are answered, and no order is carried out twice or refused for ever.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Sized
from functools import partial
from pathlib import Path

import pytest

from agent.simulation import states
from agent.simulation.kernel_log import KernelLogFiles
from agent.simulation.machine import XID_SEVERITY, SimulatedMachine
from cli.broker import CONTROLLER
from controller.events import PresenceChanged
from controller.store.sqlite import SqliteLog
from tests.support.agent_site import KEY, NODE, Controller, Site
from tests.support.broker import listening, running_broker, settings
from tests.support.controllers import ControllerProcess, CountingScheduler, nodes_at, until
from tests.support.set_clock import SetClock
from wire import messages, topics
from wire.messages import FindingRaised, OrderEnded, Status
from wire.orders import Order, OrderAction
from wire.signatures import sign

DAY_S = 86_400
NAMES = ("n1", "n2", "n3", "n4")

pytestmark = [pytest.mark.broker, pytest.mark.timeout(240)]


async def test_a_controllers_clock_makes_nobody_silent_and_faults_are_answered(tmp_path: Path) -> None:
    clock, scheduler = SetClock(tmp_path / "clock"), CountingScheduler(tmp_path / "scheduler")
    prefix = ("env", *(f"{name}={value}" for name, value in clock.environment.items()))
    async with running_broker(tmp_path / "broker") as broker, nodes_at(broker) as nodes:
        username, password = broker.credentials(CONTROLLER)
        secret = tmp_path / "broker.password"
        secret.touch(mode=0o600)
        secret.write_text(password)
        tables = {
            "broker": {"url": broker.url, "username": username, "password_file": str(secret)},
            "scheduler": {"kind": "command", "hook": str(scheduler.hook), "interval_s": 1.0},
            "budget": {"percent": 100.0},
            "breakers": [],
            "domains": [],
        }
        controller = ControllerProcess(tmp_path / "controller", tables, prefix)
        try:
            controller.start()
            await controller.is_role("leader", limit_s=90.0)
            for name in NAMES:
                nodes.say(name, messages.AgentStarted(False, "", "0.1.0", time.time()))
            await until(lambda: not nodes.outbox)
            for number, ahead_s in enumerate((DAY_S, -DAY_S, 0), 1):
                clock.set(ahead_s)
                await _until_count(lambda: controller.said("clock.stepped"), number)
                nodes.lose_gpu(NAMES[number - 1])
                await _until_count(scheduler.times_cordoned, number)
            assert not controller.said("Traceback")
            controller.signal(signal.SIGTERM)
            await controller.ended()
        finally:
            controller.end()
    assert scheduler.times_cordoned() == dict.fromkeys(NAMES[:3], 1)
    log = SqliteLog(tmp_path / "controller" / "events.sqlite")
    states = {entry.event.state for entry in log.read() if isinstance(entry.event, PresenceChanged)}
    log.close()
    assert states == {"online"}


async def test_a_nodes_clock_loses_no_finding_and_does_nothing_twice(tmp_path: Path) -> None:
    clock = SetClock(tmp_path / "clock")
    async with (
        running_broker(tmp_path / "broker") as broker,
        listening(settings(broker), f"{topics.ROOT}/main/node/+/+") as listener,
    ):
        machine = SimulatedMachine.create(tmp_path / "machine", name=NODE, seed=1, speedup=3_600.0)
        site, controller = Site(tmp_path, broker, machine), Controller(listener)
        try:
            await site.start(**clock.environment)
            await controller.bodies(Status)
            done = await controller.order(OrderAction.RUN_CHECKS, "i1/verify/1", checks="gpu.xid")
            assert done.outcome == "done"
            for number, ahead_s in enumerate((DAY_S, -DAY_S), 2):
                clock.set(ahead_s)
                at = time.time() + ahead_s
                await controller.bodies(Status, partial(_is_about, at))
                refused = await controller.order(OrderAction.RUN_CHECKS, f"i1/verify/{number}", checks="gpu.xid")
                assert refused.outcome == "refused", refused
                _xid(machine, 10_000 + number)
                code = str(10_000 + number)
                await controller.bodies(FindingRaised, partial(_has_code, code))
            clock.set(0)
            await controller.bodies(Status, lambda status: abs(status.observed_at - time.time()) < 99, count=2)
            assert (await controller.order(OrderAction.RUN_CHECKS, "i1/verify/9", checks="gpu.xid")).outcome == "done"
            await _again(controller, "i1/verify/1")
            again = await controller.bodies(
                OrderEnded, lambda ended: ended.order_id == "i1/verify/1", count=2, repeats=True
            )
            assert {ended.started_at for ended in again} == {done.started_at}, "it was not carried out a second time"
            assert "Traceback" not in site.log()
        finally:
            await site.end(signal.SIGKILL)


async def _until_count(listed: Callable[[], Sized], count: int) -> None:
    await until(lambda: len(listed()) == count)


def _is_about(at: float, status: Status) -> bool:
    return abs(status.observed_at - at) < 99.0


def _has_code(code: str, raised: FindingRaised) -> bool:
    return raised.finding.code == code


def _xid(machine: SimulatedMachine, code: int) -> None:
    gpu = machine.hardware().gpus[0]
    line = f"NVRM: Xid (PCI:{gpu.pci}): {code}, chaos"
    with states.locked(machine.directory):
        booted_at = machine.state().booted_at
        KernelLogFiles(machine.directory).append([line], severity=XID_SEVERITY, booted_at=booted_at)


async def _again(controller: Controller, order_id: str) -> None:
    now = time.time()
    order = Order(order_id, NODE, OrderAction.RUN_CHECKS, now, now + 60.0, 1, parameters={"checks": "gpu.xid"})
    await controller.say(topics.Channel.ORDER, sign(order, key_id="test", key=KEY))
    await asyncio.sleep(0)
