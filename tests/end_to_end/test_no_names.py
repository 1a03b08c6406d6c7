"""DNS is gone: the broker's name means nothing, or nobody answers at all, and the broker is lost at that moment.

Controller and agent run with files of resolution of their own (a mount namespace each). They answer and work meanwhile,
and connect again when the name is back.
"""

from __future__ import annotations

import shlex
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.simulation.machine import SimulatedMachine
from cli.broker import CONTROLLER
from tests.support.agent_site import NODE, Controller, Site
from tests.support.broker import BrokerOfTests, listening, running_broker, settings
from tests.support.controllers import ControllerProcess, until
from wire import topics
from wire.messages import Status

NAME = "broker.fleetmend.test"

pytestmark = [pytest.mark.broker, pytest.mark.timeout(240)]


@dataclass(frozen=True, slots=True)
class Names:
    """What a process knows of names, by files that lie over those of the machine."""

    folder: Path

    @property
    def prefix(self) -> tuple[str, ...]:
        """What a command line begins with to see these files."""
        over = (f"mount --bind {shlex.quote(str(self.folder / name))} /etc/{name}" for name in ("hosts", "resolv.conf"))
        return ("unshare", "--mount", "--propagation", "private", "sh", "-c", f'{" && ".join(over)} && exec "$@"', "sh")

    def known(self) -> None:
        """Have the broker's name mean this machine."""
        (self.folder / "hosts").write_text(f"127.0.0.1 localhost {NAME}\n")

    def gone(self, server: str) -> None:
        """Have nobody but a server of names know it, who does not answer."""
        (self.folder / "hosts").write_text("127.0.0.1 localhost\n")
        (self.folder / "resolv.conf").write_text(f"nameserver {server}\noptions timeout:5 attempts:2\n")


@pytest.fixture
def names(tmp_path: Path) -> Names:
    found = Names(tmp_path / "names")
    found.folder.mkdir()
    (found.folder / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    found.known()
    if subprocess.run([*found.prefix, "true"], check=False, capture_output=True).returncode:
        pytest.skip("files cannot be mounted here")
    return found


@pytest.fixture
def mute_server() -> Iterator[str]:
    """An address at which a server of names listens and never says anything."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.53", 53))
        yield "127.0.0.53"


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[BrokerOfTests]:
    async with running_broker(tmp_path / "broker") as running:
        yield running


async def test_a_controller_answers_meanwhile_and_is_there_again_with_the_name(
    broker: BrokerOfTests, names: Names, mute_server: str, tmp_path: Path
) -> None:
    username, password = broker.credentials(CONTROLLER)
    secret = tmp_path / "broker.password"
    secret.touch(mode=0o600)
    secret.write_text(password)
    url = f"mqtt://{NAME}:{broker.port}"
    tables = {"broker": {"url": url, "username": username, "password_file": str(secret)}}
    controller = ControllerProcess(tmp_path / "controller", tables, names.prefix)
    try:
        controller.start()
        await controller.is_role("leader", limit_s=90.0)
        await until(lambda: len(controller.said("broker.connected")) == 1)
        names.gone(mute_server)
        await broker.stop()
        await broker.start()
        await until(lambda: controller.said("broker.lost"))
        for _ in range(5):
            status = await controller.status()
            assert (status["role"], status["broker_connected"]) == ("leader", False)
        names.known()
        await until(lambda: len(controller.said("broker.connected")) == 2, limit_s=60.0)
        assert not controller.said("Traceback")
        controller.signal(signal.SIGTERM)
        await controller.ended()
    finally:
        controller.end()


async def test_an_agent_observes_meanwhile_and_is_heard_again_with_the_name(
    broker: BrokerOfTests, names: Names, mute_server: str, tmp_path: Path
) -> None:
    async with listening(settings(broker), f"{topics.ROOT}/main/node/+/+") as listener:
        machine = SimulatedMachine.create(tmp_path / "machine", name=NODE, seed=1, speedup=3_600.0)
        site, controller = Site(tmp_path, broker, machine), Controller(listener)
        site.prefix, site.host = names.prefix, NAME
        try:
            await site.start()
            first = (await controller.bodies(Status))[-1]
            controller.stores = False
            names.gone(mute_server)
            await broker.stop()
            await broker.start()
            await until(lambda: "broker.lost" in site.log())
            names.known()
            await controller.bodies(Status, lambda status: status.connected_at > first.connected_at, count=1)
            assert "Traceback" not in site.log()
            assert await site.end() == 0
        finally:
            if site.process is not None and site.process.returncode is None:
                await site.end(signal.SIGKILL)
