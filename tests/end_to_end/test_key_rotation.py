"""Another key takes the place of the one that signs, by reloads alone: broker, controller and agent are processes."""

from __future__ import annotations

import contextlib
import json
import signal
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import tomli_w

from agent.simulation.machine import SimulatedMachine
from cli.broker import Mosquitto
from cli.cell_files import SIMULATED_ORDERS, Access, AgentPlan, write_agent
from cli.children import Child
from cli.client import Client
from controller import keys
from tests.cli.conftest import run_cli
from tests.support.broker import running_broker
from tests.support.controllers import ControllerProcess, broker_table, until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(120)]


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    async with running_broker(tmp_path / "broker") as running:
        yield running


def controller_at(broker: Mosquitto, directory: Path) -> ControllerProcess:
    tables = {
        "simulated_speedup": 3_600.0,
        "broker": broker_table(broker, directory),
        "budget": {"percent": 100.0},
    }
    return ControllerProcess(directory / "controller", tables)


def agent_at(broker: Mosquitto, directory: Path, trusted: Path) -> tuple[Child, Path]:
    """Return an agent that trusts the key in a file, and its settings."""
    key = keys.load(trusted)
    SimulatedMachine.create(directory / "machine", name="n1", seed=1, speedup=3_600.0)
    plan = AgentPlan(
        "n1",
        directory / "agent",
        SIMULATED_ORDERS,
        keys.key_id(key),
        keys.public_text(key),
        simulation=directory / "machine",
    )
    config = write_agent(plan, Access(broker.url, *broker.credentials("n1")))
    return Child("agent", "agent", ("--config", str(config)), directory / "agent.log"), config


def rewrite(config: Path, trusted: dict[str, dict[str, str]]) -> None:
    config.write_text(tomli_w.dumps({**tomllib.loads(config.read_text()), "trusted_keys": trusted}))


async def trusts_from_now_on(agent: Child, config: Path, trusted: dict[str, dict[str, str]]) -> None:
    """Have the running agent trust these keys and no others."""
    before = agent.log.read_text().count("settings.reloaded")
    rewrite(config, trusted)
    assert agent.process is not None
    agent.process.send_signal(signal.SIGHUP)
    await until(lambda: agent.log.read_text().count("settings.reloaded") > before)


async def mended_after(client: Client, fault: str) -> None:
    """Break the node and wait until orders have mended it."""
    incidents = len(client.get("incidents"))
    client.post("drills", node="n1", fault=fault, parameters={"repair": "succeeds"})

    def is_over() -> bool:
        shown = client.get("incidents")
        return len(shown) > incidents and all(each["outcome"] == "returned" for each in shown)

    await until(is_over, limit_s=60.0)


async def test_nodes_that_know_the_new_key_alone_obey_a_controller_that_was_reloaded(
    broker: Mosquitto, tmp_path: Path
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        controller = controller_at(broker, tmp_path)
        controller.start()
        stack.callback(controller.end)
        await controller.is_role("leader")
        assert controller.process is not None
        client, pid = Client(controller.url), controller.process.pid
        settings = ("--config", str(controller.directory / "controller.toml"))
        agent, config = agent_at(broker, tmp_path, controller.directory / "signing-key.pem")
        await agent.start()
        stack.push_async_callback(agent.stop)
        await until(lambda: [row["health"] for row in client.get("nodes")] == ["ok"])
        old = tomllib.loads(config.read_text())["trusted_keys"]
        new = tomllib.loads(run_cli("keys", "prepare", *settings).stdout)["trusted_keys"]
        await trusts_from_now_on(agent, config, {**old, **new})

        assert run_cli("keys", "rotate", *settings).returncode == 0
        await mended_after(client, "gpu-off-bus")
        controller.signal(signal.SIGHUP)
        await until(lambda: controller.said("settings.reloaded"))
        await trusts_from_now_on(agent, config, new)
        await mended_after(client, "gpu-off-bus")

        (changed,) = map(json.loads, controller.said("signing_key.changed"))
        assert ([changed["key_id"]], [changed["before"]]) == (list(new), list(old))
        assert "order.refused" not in agent.log.read_text()
        assert (controller.process.poll(), controller.process.pid) == (None, pid)
        controller.signal(signal.SIGTERM)
        await controller.ended()
        audited = run_cli("audit", "verify", *settings)
        assert audited.returncode == 0, audited.stderr


async def test_a_key_that_is_gone_at_a_reload_is_told_and_none_is_made(broker: Mosquitto, tmp_path: Path) -> None:
    controller = controller_at(broker, tmp_path)
    try:
        controller.start()
        await controller.is_role("leader")
        file = controller.directory / "signing-key.pem"
        file.unlink()
        controller.signal(signal.SIGHUP)
        await until(lambda: controller.said("settings.refused"))
        assert f"{file} is not there" in controller.said("settings.refused")[0]
        assert not file.exists()
        assert str(file) in (await controller.status())["settings_error"]
    finally:
        controller.end()
