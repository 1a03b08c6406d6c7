"""A cell that knows its members by certificates alone: one expires, nothing that its node finds is lost, and is heard
when another is there; all the while nobody is restarted."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import tomli_w

from agent.simulation.machine import SimulatedMachine
from cli.ports import free_port
from controller import events, settings
from controller.assembly import assemble
from controller.service import Controller
from tests.support.broker import until
from tests.support.tls_broker import TlsBroker, running_tls_broker
from wire.tls import TlsFiles

pytestmark = [pytest.mark.broker, pytest.mark.timeout(90)]

NODE = "n1"


def broker_table(broker: TlsBroker, files: TlsFiles) -> dict[str, str]:
    shown = {"ca_file": files.ca_file, "certificate_file": files.certificate_file, "key_file": files.key_file}
    return {"url": broker.url, **{name: str(file) for name, file in shown.items()}}


@contextlib.asynccontextmanager
async def controlling(broker: TlsBroker, directory: Path) -> AsyncIterator[Controller]:
    table = {
        "state": str(directory),
        "broker": broker_table(broker, broker.issue("controller", days=10)),
        "http": {"port": 0},
    }
    (directory / "controller.toml").write_text(tomli_w.dumps(table))
    controller = assemble(settings.load(directory / "controller.toml"))
    serving = asyncio.create_task(controller.run())
    try:
        await until(lambda: controller.transport.connected or serving.done())
        yield controller
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


class Node:
    """An agent on a simulated machine, with what it logged."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.metrics = directory, free_port()
        self.machine = SimulatedMachine.create(directory / "machine", name=NODE, seed=1, speedup=360.0)

    @contextlib.asynccontextmanager
    async def running(self, broker: TlsBroker, files: TlsFiles) -> AsyncIterator[None]:
        table = {
            "node": NODE,
            "state_directory": str(self.directory / "agent"),
            "simulation_directory": str(self.machine.directory),
            "broker": broker_table(broker, files),
            "metrics": {"port": self.metrics},
        }
        (self.directory / "agent.toml").write_text(tomli_w.dumps(table))
        with (self.directory / "agent.log").open("ab") as output:
            command = (sys.executable, "-m", "agent", "--config", str(self.directory / "agent.toml"))
            process = await asyncio.create_subprocess_exec(*command, stderr=output)
        try:
            yield
        finally:
            process.kill()
            await process.wait()

    def said(self, event: str) -> list[dict[str, Any]]:
        """Return what it logged of an event."""
        lines = (self.directory / "agent.log").read_text().splitlines()
        return [found for line in lines if (found := json.loads(line))["event"] == event]

    async def until_waiting(self, count: int) -> None:
        """Return when so many events wait in its outbox."""
        async with asyncio.timeout(40):
            while await self._waiting() < count:  # noqa: ASYNC110
                await asyncio.sleep(0.1)

    async def _waiting(self) -> float:
        """Return how many events wait in its outbox, by its own word; -1 while it says nothing."""
        with contextlib.suppress(aiohttp.ClientError):
            async with aiohttp.ClientSession() as http:
                text = await (await http.get(f"http://127.0.0.1:{self.metrics}/metrics")).text()
            values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
            assert "fleetmend_agent_certificate_end_time_seconds" in values
            return float(values["fleetmend_agent_outbox_events"])
        return -1


async def test_a_node_with_an_expired_certificate_watches_on_and_tells_all_when_it_is_renewed(tmp_path: Path) -> None:
    async with running_tls_broker(tmp_path / "broker") as broker, controlling(broker, tmp_path) as controller:
        node, belief = Node(tmp_path), controller.cell.belief
        async with node.running(broker, broker.expired(NODE)):
            await node.until_waiting(1)  # that it started
            node.machine.log_xid(2, 79)
            await node.until_waiting(2)
            (told,) = node.said("certificate.expired")
            assert "nothing of it is lost, until it is renewed" in told["because"]
            assert "the own certificate" in node.said("broker.lost")[-1]["because"]
            assert NODE not in belief.nodes
            broker.issue(NODE)
            await until(lambda: NODE in belief.nodes and belief.nodes[NODE].findings, limit_s=45)
            assert {"79"} == {key.code for key in belief.nodes[NODE].findings}
            await controller.cell.caught_up()
            said = [entry.event for entry in controller.cell.log.read()]
            raised = [each for each in said if isinstance(each, events.FindingRaised)]
            assert {each.finding.check for each in raised} == {"gpu.xid"}
            assert len(node.said("agent.started")) == 1
            assert told_of_keys(broker, tmp_path) == []


def told_of_keys(broker: TlsBroker, directory: Path) -> list[Path]:
    """Return the files, but for those that hold them, in which a part of a private key is."""
    keys = [broker.folder / name / "key.pem" for name in ("controller", NODE)]
    secrets = [file.read_bytes().splitlines()[1] for file in keys]
    files = [file for file in directory.rglob("*") if file.is_file() and file not in keys]
    assert len(files) > 10
    return [file for file in files if any(secret in file.read_bytes() for secret in secrets)]


async def test_a_controller_tells_how_long_its_certificate_is_good_and_takes_another(tmp_path: Path) -> None:
    async with (
        running_tls_broker(tmp_path / "broker") as broker,
        controlling(broker, tmp_path) as controller,
        aiohttp.ClientSession(controller.url) as http,
    ):
        before = (await (await http.get("/api/v1/status")).json())["certificate"]
        broker.issue("controller", days=1)
        after = (await (await http.get("/api/v1/status")).json())["certificate"]
        metrics = await (await http.get("/metrics")).text()
    assert (before["days_left"], before["is_short"]) == (10.0, False)
    assert (after["days_left"], after["is_short"]) == (1.0, False)
    values = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if not line.startswith("#"))
    begins, ends = (float(values[f"fleetmend_certificate_{end}_time_seconds"]) for end in ("begin", "end"))
    assert ends - begins == pytest.approx(86_400 + 3_600, abs=1)
