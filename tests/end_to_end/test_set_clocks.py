"""Somebody sets the clock of a controller, or of a node, by a day: processes, a real broker, a clock that is set.

Nobody falls silent by it, faults are answered, and no order is carried out twice or refused for ever.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Sized
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agent.simulation import states
from agent.simulation.kernel_log import KernelLogFiles
from agent.simulation.machine import XID_SEVERITY, SimulatedMachine
from cli.broker import Mosquitto
from cli.client import Client
from controller.events import PresenceChanged
from controller.store.sqlite import SqliteLog
from tests.support.agent_site import KEY, NODE, Controller, Site
from tests.support.broker import listening, running_broker, settings
from tests.support.controllers import HOOK, ControllerProcess, CountingScheduler, Nodes, broker_table, nodes_at, until
from tests.support.set_clock import SetClock
from wire import messages, topics
from wire.messages import FindingRaised, OrderEnded, Status
from wire.orders import Order, OrderAction
from wire.signatures import sign

DAY_S = 86_400
VALID_S = 20.0
"""Of a yes: longer than a machine under load takes to see that its clock was set."""
NAMES = ("n1", "n2", "n3", "n4")

pytestmark = [pytest.mark.broker, pytest.mark.timeout(240)]


async def test_a_controllers_clock_makes_nobody_silent_and_faults_are_answered(tmp_path: Path) -> None:
    clock, scheduler = SetClock(tmp_path / "clock"), CountingScheduler(tmp_path / "scheduler")
    async with running_broker(tmp_path / "broker") as broker, nodes_at(broker) as nodes:
        tables = {**_tables(broker, scheduler, tmp_path), "budget": {"percent": 100.0}}
        controller = ControllerProcess(tmp_path / "controller", tables, _under(clock))
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
            clock.set(-1)  # what Linux makes of an inserted leap second: the last second of the day comes twice
            nodes.lose_gpu(NAMES[3])
            await _until_count(scheduler.times_cordoned, 4)
            assert len(controller.said("clock.stepped")) == len(controller.said("clock.set")) == 3
            assert not controller.said("Traceback")
            controller.signal(signal.SIGTERM)
            await controller.ended()
        finally:
            controller.end()
    assert scheduler.times_cordoned() == dict.fromkeys(NAMES, 1)
    log = SqliteLog(tmp_path / "controller" / "events.sqlite")
    states = {entry.event.state for entry in log.read() if isinstance(entry.event, PresenceChanged)}
    log.close()
    assert states == {"online"}


async def test_what_is_under_way_keeps_its_time_and_no_yes_or_lease_is_good_for_longer(tmp_path: Path) -> None:
    """A step, a person's yes that waits for the budget, and a lease: set by a day, each goes on for what was left."""
    clock, scheduler = SetClock(tmp_path / "clock"), CountingScheduler(tmp_path / "scheduler")
    async with running_broker(tmp_path / "broker") as broker, nodes_at(broker) as nodes:
        tables = {
            **_tables(broker, scheduler, tmp_path),
            "budget": {"nodes": 1},
            "modes": {"playbook": {"gpu_lost": "ask"}},
            "approvals": {"valid_s": VALID_S},
        }
        knows_n4 = HOOK.replace('{"nodes": {', '{"nodes": {"n4": {"schedulable": true, "jobs": []}')
        scheduler.hook.write_text(knows_n4.replace("separator=\n", "separator=', '\n", 1))
        controller = ControllerProcess(tmp_path / "controller", tables, _under(clock))
        try:
            controller.start()
            await controller.is_role("leader", limit_s=90.0)
            client = Client(controller.url)
            for name in NAMES:
                nodes.say(name, messages.AgentStarted(False, "", "0.1.0", time.time()))
            await until(lambda: len(client.get("nodes")) == len(NAMES))
            client.post("bench", "runs", nodes=["n4"], benchmarks=["gemm"])
            await until(lambda: client.get("bench", "leases"))
            (lease,) = client.get("bench", "leases")
            await _ask_about(client, nodes, "n1", "inc-000001")
            await _approve(client, "inc-000001")
            await until(lambda: _drain(client)["state"] == "current")
            drain = _drain(client)
            await _ask_about(client, nodes, "n2", "inc-000002")
            for number, (set_to_s, by_s) in enumerate(((-DAY_S, -DAY_S), (DAY_S, 2 * DAY_S)), 1):
                approved_at = await _approve(client, "inc-000002")
                clock.set(set_to_s)
                await _until_count(lambda: controller.said("clock.set"), number)
                assert _shown(client, "inc-000002")["waiting_for"] == "budget"
                before, drain = drain, _drain(client)
                assert (drain["state"], drain["attempt"]) == ("current", before["attempt"])
                assert _seconds(before["ends_by"], drain["ends_by"]) == pytest.approx(by_s, abs=1.0)
                old, (lease,) = lease, client.get("bench", "leases")
                assert _seconds(old["expires_at"], lease["expires_at"]) == pytest.approx(by_s, abs=1.0)
                await until(lambda: _shown(client, "inc-000002")["waiting_for"] == "approval", limit_s=2 * VALID_S)
                assert time.monotonic() > approved_at + VALID_S - 1.0
            assert scheduler.times_cordoned() == {"n1": 1}
            assert not controller.said("Traceback")
        finally:
            controller.end()


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


def _under(clock: SetClock) -> tuple[str, ...]:
    return ("env", *(f"{name}={value}" for name, value in clock.environment.items()))


def _tables(broker: Mosquitto, scheduler: CountingScheduler, directory: Path) -> dict[str, Any]:
    return {
        "broker": broker_table(broker, directory),
        "scheduler": {"kind": "command", "hook": str(scheduler.hook), "interval_s": 1.0},
        "breakers": [],
        "domains": [],
    }


async def _ask_about(client: Client, nodes: Nodes, name: str, incident_id: str) -> None:
    """Break a node, and wait until people are asked about its plan."""
    nodes.lose_gpu(name)
    await until(lambda: _shown(client, incident_id).get("waiting_for") == "approval")


async def _approve(client: Client, incident_id: str) -> float:
    """Say yes, and wait until nobody is asked any more; return when that was, by the clock that nobody sets."""
    at = time.monotonic()
    client.post("incidents", incident_id, "approve", because="seen")
    await until(lambda: _shown(client, incident_id)["waiting_for"] != "approval")
    return at


def _shown(client: Client, incident_id: str) -> dict[str, Any]:
    """Return an incident as the API shows it, nothing before it is there."""
    rows = [row["id"] for row in client.get("incidents")]
    return dict(client.get("incidents", incident_id)) if incident_id in rows else {}


def _drain(client: Client) -> dict[str, Any]:
    """Return the drain of n1's incident."""
    return next(step for step in _shown(client, "inc-000001")["steps"] if step["step"] == "drain")


def _seconds(before: str, after: str) -> float:
    return (datetime.fromisoformat(after) - datetime.fromisoformat(before)).total_seconds()


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
