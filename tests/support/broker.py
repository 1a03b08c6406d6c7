"""A real Mosquitto for tests, started as `fleetmend up` starts it, and transports connected to it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from cli.broker import CONTROLLER, BrokerError, Mosquitto, find_mosquitto
from cli.ports import LOOPBACK, free_port
from wire.transport import BrokerSettings, MqttTransport, Received, Will


def require_mosquitto() -> None:
    """Skip the test where there is no Mosquitto; in CI there has to be one."""
    try:
        find_mosquitto()
    except BrokerError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


class BrokerOfTests(Mosquitto):
    """One with a door for tests, where a user may have several connections, each with a client id of its choice.

    Attributes:
        door: its port, the same over restarts.
    """

    def __init__(self, directory: Path) -> None:
        """Prepare; nothing is written or started yet."""
        super().__init__(directory)
        self.door = 0

    def _write_files(self, port: int) -> None:
        super()._write_files(port)
        self.door = self.door or free_port()
        with (self.directory / "mosquitto.conf").open("a") as file:
            file.write(f"\nlistener {self.door} {LOOPBACK}\nuse_username_as_clientid false\n")


@contextlib.asynccontextmanager
async def running_broker(directory: Path) -> AsyncIterator[BrokerOfTests]:
    """Give a running broker; it is ended however the test ends."""
    require_mosquitto()
    broker = BrokerOfTests(directory)
    await broker.start()
    try:
        yield broker
    finally:
        await broker.stop()


async def kill(broker: Mosquitto) -> None:
    """End the broker as a crash does."""
    assert broker.process is not None
    broker.process.kill()
    await broker.process.wait()


def settings(
    broker: Mosquitto, user: str = CONTROLLER, *, client_id: str = "", version: int = 5, keepalive_s: int = 15
) -> BrokerSettings:
    """Return how a node, or somebody with the controller's rights beside it, reaches the broker."""
    username, password = broker.credentials(user)
    url = broker.url
    if isinstance(broker, BrokerOfTests) and (client_id or user == CONTROLLER):
        url = f"mqtt://{LOOPBACK}:{broker.door}"
    return BrokerSettings(
        url=f"{url}?v={version}",
        client_id=client_id or user,
        username=username,
        password=password,
        keepalive_s=keepalive_s,
    )


class Listener:
    """A running transport that keeps what it hears.

    Attributes:
        heard: every message, oldest first.
        on_heard: called with every message.
        connections: how many there were.
        errors: what the event loop's exception handler was told meanwhile.
    """

    def __init__(self, transport: MqttTransport, *, acknowledge: bool = True) -> None:
        self.transport, self._acknowledge = transport, acknowledge
        self.heard: list[Received] = []
        self.on_heard: Callable[[Received], None] = lambda _: None
        self.connections = 0
        self.errors: list[str] = []

    async def take(self, received: Received) -> None:
        """Keep a message."""
        self.heard.append(received)
        self.on_heard(received)
        if self._acknowledge:
            received.acknowledge()

    async def note_connection(self) -> None:
        """Count a connection."""
        self.connections += 1

    def payloads(self) -> list[bytes]:
        """Return what was heard, oldest first."""
        return [received.payload for received in self.heard]


@contextlib.asynccontextmanager
async def listening(
    broker_settings: BrokerSettings,
    *subscriptions: str,
    will: Will | None = None,
    acknowledge: bool = True,
) -> AsyncIterator[Listener]:
    """Give a connected transport that listens; it is disconnected in order at the end."""
    transport = MqttTransport(broker_settings, subscriptions=subscriptions, will=will)
    listener = Listener(transport, acknowledge=acknowledge)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: listener.errors.append(str(context)))
    running = asyncio.create_task(transport.run(on_message=listener.take, on_connected=listener.note_connection))
    try:
        await until(lambda: listener.connections > 0 or running.done())
        yield listener
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        loop.set_exception_handler(None)


async def until(condition: Callable[[], object], *, limit_s: float = 20.0) -> None:
    """Wait for something that the outside world will bring about; fail when it does not."""
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
