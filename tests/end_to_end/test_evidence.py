"""A bundle of evidence from a drill to a person's disk: broker, controller and agent are processes that are killed.

Between agent and controller lies a proxy that hands nothing on until the node is back in service: the repair waits for
the gathering and never for the sending, and the bundle outlives the reboot.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import signal
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent.simulation.machine import SimulatedMachine
from cli.broker import Mosquitto
from cli.cell_files import SIMULATED_ORDERS, Access, AgentPlan, write_agent
from cli.children import Child
from cli.client import Client, Failed
from controller import keys
from tests.support.broker import running_broker
from tests.support.controllers import ControllerProcess, broker_table
from tests.support.cutting_proxy import CuttingProxy, cutting_proxy

LIMIT_S = 60.0


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    async with running_broker(tmp_path / "broker") as running:
        yield running


def controller_behind(proxy: CuttingProxy, broker: Mosquitto, directory: Path) -> ControllerProcess:
    tables = {
        "simulated_speedup": 3_600.0,
        "broker": broker_table(broker, directory),
        "budget": {"percent": 100.0},
        "evidence": {"where": "controller", "url": proxy.url, "keep_free_bytes": 0},
    }
    controller = ControllerProcess(directory / "controller", tables)
    proxy.port = controller.port
    return controller


def agent_of(controller: ControllerProcess, broker: Mosquitto, directory: Path) -> Child:
    key = keys.load_or_make(controller.directory / "signing-key.pem")
    machine = SimulatedMachine.create(directory / "machine", name="n1", seed=1, speedup=3_600.0)
    plan = AgentPlan(
        "n1",
        directory / "agent",
        SIMULATED_ORDERS,
        keys.key_id(key),
        keys.public_text(key),
        simulation=directory / "machine",
    )
    assert machine.boot_id()
    config = write_agent(plan, Access(broker.url, *broker.credentials("n1")))
    return Child("agent", "agent", ("--config", str(config)), directory / "agent.log")


async def ask(controller: ControllerProcess, *path: str) -> Any:
    try:
        return await asyncio.to_thread(Client(controller.url, timeout_s=5.0).get, *path)
    except Failed:
        return None


async def incident_with(controller: ControllerProcess, what: str, **wanted: Any) -> dict[str, Any]:
    """Wait until the incident is as wanted, and return it."""
    shown: dict[str, Any] | None = None
    try:
        async with asyncio.timeout(LIMIT_S):
            while True:
                shown = await ask(controller, "incidents", "inc-000001")
                if shown is not None and all(shown[name] == value for name, value in wanted.items()):
                    return shown
                await asyncio.sleep(0.05)
    except TimeoutError as late:
        raise AssertionError(f"not within {LIMIT_S:.0f} s: {what}; {json.dumps(shown, indent=1)}") from late


async def bundles_of(controller: ControllerProcess, state: str) -> list[dict[str, Any]]:
    async with asyncio.timeout(LIMIT_S):
        while True:
            rows = await ask(controller, "evidence") or []
            if rows and {row["state"] for row in rows} == {state}:
                return list(rows)
            await asyncio.sleep(0.05)


@pytest.mark.broker
@pytest.mark.timeout(120)
async def test_a_bundle_outlives_reboot_kills_and_broken_connections(broker: Mosquitto, tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(cutting_proxy(0))
        proxy.closed = True
        controller = controller_behind(proxy, broker, tmp_path)
        controller.start()
        stack.callback(controller.end)
        await controller.is_role("leader")
        agent = agent_of(controller, broker, tmp_path)
        await agent.start()
        stack.push_async_callback(agent.stop)
        async with asyncio.timeout(LIMIT_S):
            while not any(node["health"] == "ok" for node in await ask(controller, "nodes") or []):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        client = Client(controller.url)
        drill = {"node": "n1", "fault": "gpu-off-bus", "parameters": {"repair": "succeeds"}}
        await asyncio.to_thread(lambda: client.post("drills", **drill))

        shown = await incident_with(controller, "the node is back in service", outcome="returned")
        assert shown["bundles"] == []
        collected = next(step for step in shown["steps"] if step["verb"] == "collect")
        assert collected["state"] == "done" and "is on its way" in collected["because"]
        assert "kernel-log.txt" in shown["evidence"]
        (waiting,) = (tmp_path / "agent" / "evidence").iterdir()
        assert (waiting / "packed.json").exists()

        assert agent.process is not None
        agent.process.kill()
        proxy.budgets += [400, 8_000, 16_000]
        proxy.closed = False
        async with asyncio.timeout(LIMIT_S):
            while proxy.passed < 8_000:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        controller.signal(signal.SIGKILL)
        await controller.ended()
        controller.start()
        await controller.is_role("leader")

        (bundle,) = await bundles_of(controller, "stored")
        await fetched(controller, bundle, tmp_path)
        assert not any(waiting.parent.iterdir())
        assert not controller.said("Traceback")


async def fetched(controller: ControllerProcess, bundle: dict[str, Any], directory: Path) -> None:
    """Get the bundle as a person does, after a download that broke off, and look into it."""
    target = directory / "bundle.tar.gz"
    (directory / "bundle.tar.gz.partial").write_bytes(b"")
    command = (sys.executable, "-m", "cli.main", "--url", controller.url, "evidence")
    got = await asyncio.to_thread(
        lambda: subprocess.run(
            [*command, "get", "inc-000001", "-o", str(target)], capture_output=True, text=True, check=False
        )
    )
    assert (got.returncode, got.stderr) == (0, "")
    assert hashlib.sha256(target.read_bytes()).hexdigest() == bundle["sha256"]
    with tarfile.open(target) as archive:
        manifest = archive.extractfile("MANIFEST.json")
        log = archive.extractfile("kernel-log.txt")
        assert manifest is not None and log is not None
        origin = json.load(manifest)["origin"]
        assert b"Xid" in log.read()
    assert (origin["node"], origin["incident_id"]) == ("n1", "inc-000001")
    listed = await asyncio.to_thread(
        lambda: subprocess.run([*command, "list"], capture_output=True, text=True, check=False)
    )
    assert bundle["upload"] in listed.stdout and "stored" in listed.stdout
