"""An agent that is killed while its host answers: another node reaches the host, and nothing is done to it (I1)."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import tomli_w

from agent.simulation.machine import SimulatedMachine
from cli.broker import CONTROLLER, Mosquitto
from controller import events, keys, settings
from controller.assembly import assemble
from controller.policy.presence import AGENT_LOST
from controller.service import Controller
from tests.support.broker import running_broker, until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(60)]

ADDRESSES = {"n1": "127.0.0.1", "n2": "127.0.0.2"}


def broker_table(broker: Mosquitto, directory: Path, user: str) -> dict[str, str]:
    username, password = broker.credentials(user)
    file = directory / f"{user}.password"
    file.touch(mode=0o600)
    file.write_text(password)
    return {"url": broker.url, "username": username, "password_file": str(file)}


@contextlib.asynccontextmanager
async def controlling(broker: Mosquitto, directory: Path) -> AsyncIterator[Controller]:
    config = directory / "controller.toml"
    table = {
        "state": str(directory),
        "signing_key": str(directory / "key.pem"),
        "broker": broker_table(broker, directory, CONTROLLER),
        "http": {"port": 0},
        "silence": {"agent_lost_after_s": 1.0},
    }
    config.write_text(tomli_w.dumps(table))
    controller = assemble(settings.load(config))
    serving = asyncio.create_task(controller.run())
    try:
        await until(lambda: controller.transport.connected or serving.done())
        yield controller
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


@contextlib.asynccontextmanager
async def agent(broker: Mosquitto, directory: Path, node: str) -> AsyncIterator[asyncio.subprocess.Process]:
    key = keys.load_or_make(directory / "key.pem")
    machine = SimulatedMachine.create(directory / f"machine-{node}", name=node, seed=1, speedup=360.0)
    config = directory / f"{node}.toml"
    table = {
        "node": node,
        "address": ADDRESSES[node],
        "state_directory": str(directory / node),
        "simulation_directory": str(machine.directory),
        "broker": broker_table(broker, directory, node),
        "trusted_keys": {keys.key_id(key): {"public_key": keys.public_text(key)}},
    }
    config.write_text(tomli_w.dumps(table))
    with (directory / f"{node}.log").open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "agent", "--config", str(config)), stderr=output
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def test_i1_an_agent_that_is_killed_while_its_host_answers_is_lost_and_its_node_is_not(tmp_path: Path) -> None:
    async with (
        running_broker(tmp_path / "broker") as broker,
        controlling(broker, tmp_path) as controller,
        agent(broker, tmp_path, "n1") as first,
        agent(broker, tmp_path, "n2"),
    ):
        belief = controller.cell.belief
        await until(lambda: all(n in belief.nodes and belief.nodes[n].facts.address == a for n, a in ADDRESSES.items()))
        first.kill()
        await until(lambda: belief.open_on("n1") and belief.nodes["n1"].reached_by)
        assert (belief.nodes["n1"].presence, belief.nodes["n1"].reached_by) == ("lost", ("n2",))
        assert set(belief.nodes["n1"].findings) == {AGENT_LOST}
        (incident,) = belief.open_on("n1")
        assert incident.fault_class == "agent_lost"
        verbs = {e.event.verb for e in controller.cell.log.read() if isinstance(e.event, events.StepIntended)}
        assert verbs <= {"wait"}
