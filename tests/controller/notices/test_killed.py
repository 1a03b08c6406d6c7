"""I4 with live controllers: `kill -9` when a receiver has what was sent and the controller has not written it down.

Real processes, a real broker and log, and a receiver that counts and does not answer the one who is to die.
"""

from __future__ import annotations

import contextlib
import signal
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from cli.broker import CONTROLLER, Mosquitto
from cli.client import Client
from tests.support.broker import running_broker
from tests.support.controllers import ControllerProcess, CountingScheduler, nodes_at, until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]

PLAYBOOK = """
playbook: gpu_lost
summary: A GPU has fallen off the bus.
fault_class: gpu_lost
severity: critical
precedence: 10
answers:
  - check: gpu.xid
    codes: ["79"]
mode: act
clears: person
steps:
  - cordon: {limit: 60s, on_success: hand_over}
hand_over:
  - ticket: {limit: 60s, team: datacentre}
  - page: {limit: 60s, severity: critical}
"""

LIMIT_S = 90.0
"""A controller starts in a second, and in twenty on a machine that does much else."""

MOMENTS = [("desk", "filed"), ("duty", "filed"), ("boss", "filed"), ("duty", "updated"), ("desk", "closed")]
"""Where a controller dies, in the order of the story: ticket, page, escalation, acknowledgement and end."""


@dataclass(slots=True)
class Receiver:
    """Drops a repeated Idempotency-Key, as `deduplicates` says.

    Attributes:
        victim: who is killed when something of `deadly` comes first.
        took: destination and event → the keys that had an effect, in order.
        came: every request, repeats too.
    """

    victim: ControllerProcess | None = None
    deadly: set[tuple[str, str]] = field(default_factory=lambda: set(MOMENTS))
    killed_at: list[tuple[str, str]] = field(default_factory=list)
    took: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    came: Counter[tuple[str, str]] = field(default_factory=Counter)

    async def take(self, request: web.Request) -> web.Response:
        notice = await request.json()
        which, key = (request.match_info["name"], notice["event"]), request.headers["Idempotency-Key"]
        self.came[which] += 1
        keys = self.took.setdefault(which, [])
        if key not in keys:
            keys.append(key)
        if which in self.deadly:
            assert self.victim is not None
            self.deadly.discard(which)
            self.victim.signal(signal.SIGKILL)
            self.killed_at.append(which)
            await self.victim.ended()
        return web.json_response({"reference": f"{which[0]}-1"})


@contextlib.asynccontextmanager
async def served(receiver: Receiver) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/{name}", receiver.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


def destination(url: str, name: str, **more: Any) -> dict[str, Any]:
    return {"kind": "webhook", "name": name, "url": f"{url}/{name}", "deduplicates": True, **more}


def tables_of(directory: Path, broker: Mosquitto, scheduler: CountingScheduler, url: str) -> dict[str, Any]:
    """Return the controller's settings."""
    user, password = broker.credentials(CONTROLLER)
    secret = directory / "broker.password"
    secret.touch(mode=0o600)
    secret.write_text(password)
    return {
        "playbooks": str(directory / "playbooks"),
        "broker": {"url": broker.url, "username": user, "password_file": str(secret)},
        "scheduler": {"kind": "command", "hook": str(scheduler.hook), "interval_s": 1.0},
        "budget": {"percent": 100.0},
        "tickets": [destination(url, "desk")],
        "pages": [
            destination(url, "duty", escalate_to="boss", escalate_after_s=1.0),
            destination(url, "boss", escalation_only=True),
        ],
        "notices": {"bundle_s": 0.0},
    }


async def test_i4_wherever_a_controller_is_killed_there_is_one_ticket_and_one_page_closed_in_the_end(
    tmp_path: Path,
) -> None:
    receiver, scheduler = Receiver(), CountingScheduler(tmp_path / "scheduler")
    (tmp_path / "playbooks").mkdir()
    (tmp_path / "playbooks" / "gpu_lost.yaml").write_text(PLAYBOOK)
    async with running_broker(tmp_path / "broker") as broker, served(receiver) as url:
        controller = ControllerProcess(tmp_path / "controller", tables_of(tmp_path, broker, scheduler, url))
        receiver.victim = controller
        client = Client(controller.url)
        try:
            async with nodes_at(broker) as nodes:
                await _lead(controller)
                nodes.lose_gpu("n1")
                for count, moment in enumerate(MOMENTS[:3], 1):
                    await until(lambda: len(receiver.killed_at) == count, limit_s=LIMIT_S)  # noqa: B023
                    assert receiver.killed_at[-1] == moment
                    await _lead(controller)
                await until(lambda: _open_notices(client) == 3, limit_s=LIMIT_S)
                client.post("incidents", "inc-000001", "acknowledge", because="on it")
                await until(lambda: len(receiver.killed_at) == 4, limit_s=LIMIT_S)
                await _lead(controller)
                await until(lambda: receiver.came["duty", "updated"] > 1, limit_s=LIMIT_S)
                client.post("nodes", "n1", "uncordon", because="swapped")
                await until(lambda: len(receiver.killed_at) == 5, limit_s=LIMIT_S)
                await _lead(controller)
                await until(lambda: _open_notices(client) == 0, limit_s=LIMIT_S)
                incident = client.get("incidents", "inc-000001")
        finally:
            controller.end()
    assert (receiver.deadly, set(receiver.killed_at)) == (set(), set(MOMENTS))
    assert incident["state"] == "closed"
    for name in ("desk", "duty", "boss"):
        assert len(receiver.took[name, "filed"]) == len(receiver.took[name, "closed"]) == 1, name
    assert all(receiver.came[each] >= 2 for each in MOMENTS), "what was not written down is sent again"
    assert scheduler.times_cordoned() == {"n1": 1}


async def _lead(controller: ControllerProcess) -> None:
    controller.start()
    await controller.is_role("leader", limit_s=LIMIT_S)


def _open_notices(client: Client) -> int:
    notices = client.get("incidents", "inc-000001")["notices"]
    return sum(1 for notice in notices if not notice["closed_at"])
