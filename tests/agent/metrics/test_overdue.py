"""Numbers of a source that does not answer any more are no numbers of now."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from agent.desk import Desk
from agent.metrics.look import Look
from agent.outbox import Outbox
from agent.publisher import Attendance, Identity, Publisher
from agent.runner import KernelLog, Runner
from checks.registry import CHECKS
from tests.support.agent_node import ManualClock, MemoryJournal, ScriptedLog, ScriptedSource, nvml
from wire.messages import NodeFacts
from wire.metrics import Values
from wire.transport import BrokerSettings, MqttTransport

IDENTITY = Identity("main", "n1", "boot-1")
NOWHERE = MqttTransport(BrokerSettings("mqtt://127.0.0.1:1", client_id="n1"), subscriptions=(), will=None)


@dataclass(slots=True)
class Watched:
    """An agent whose only source is NVML, in the test's hand."""

    outbox: Outbox
    clock: ManualClock = field(default_factory=ManualClock)
    gpus: ScriptedSource = field(init=False)
    runner: Runner = field(init=False)
    look: Look = field(init=False)

    def __post_init__(self) -> None:
        clock, journal = self.clock.clock, MemoryJournal()
        self.gpus = ScriptedSource("nvml", lambda: nvml(self.clock.now, temperature_celsius=41), clock=self.clock)
        desk = Desk(CHECKS, journal=journal, boot_id="boot-1", notify=lambda: None, clock=clock)
        log = KernelLog(ScriptedLog())
        facts = NodeFacts()
        self.runner = Runner(desk, sources=[self.gpus], kernel_log=log, outbox=self.outbox, facts=facts, clock=clock)
        attendance = Attendance(IDENTITY, clock)
        publisher = Publisher(NOWHERE, self.outbox, attendance, self.runner.status, _no_orders, clock=clock)
        self.look = Look(IDENTITY, "1", desk, self.runner, self.outbox, publisher, clock, lambda: None)


async def _no_orders(*_: object) -> None:
    raise AssertionError("nobody gives orders here")


async def test_readings_are_left_out_once_their_source_is_overdue(tmp_path: Path) -> None:
    watched = Watched(Outbox(tmp_path / "outbox.sqlite", "boot-1"))
    running = asyncio.create_task(watched.runner.run())
    await watched.clock.advance(20.0)
    before = watched.look.values()
    watched.gpus.gate.clear()
    await watched.clock.advance(120.0)
    after = watched.look.values()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert _temperatures(before) == [41]
    assert (before["fleetmend_agent_source_overdue"]["nvml",], before["fleetmend_agent_broker_connected"][()]) == (0, 0)
    assert _temperatures(after) == []
    assert after["fleetmend_agent_source_overdue"]["nvml",] == 1
    age_s = after["fleetmend_agent_source_age_seconds"]["nvml",]
    assert isinstance(age_s, float) and age_s > 100.0


def _temperatures(values: Values) -> list[object]:
    return list(values.get("fleetmend_agent_gpu_temperature_celsius", {}).values())
