"""One node with its agent as a process over a real broker, and somebody who speaks for the controller."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.simulation.machine import SimulatedMachine
from cli.broker import Mosquitto
from tests.support.broker import Listener
from wire import messages, topics
from wire.messages import Envelope, OrderEnded, Stored
from wire.orders import Order, OrderAction
from wire.signatures import sign

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
PUBLIC = base64.b64encode(KEY.public_key().public_bytes_raw()).decode()
NODE = "n1"
B = TypeVar("B")


@dataclass(slots=True)
class Controller:
    """What a controller hears and says; it stores nothing, and calls everything stored unless told not to."""

    listener: Listener
    stores: bool = True
    events: dict[tuple[str, int], messages.EventBody] = field(default_factory=dict)
    envelopes: list[Envelope] = field(default_factory=list)
    taken: int = 0

    async def hear(self) -> None:
        """Take in what came, and acknowledge events."""
        while self.taken < len(self.listener.heard):
            received = self.listener.heard[self.taken]
            self.taken += 1
            envelope = messages.decode(received.payload, topics.parse(received.topic))
            self.envelopes.append(envelope)
            if envelope.seq and self.stores:
                self.events[envelope.boot_id, envelope.seq] = envelope.body  # type: ignore[assignment]
                await self.say(topics.Channel.ACK, Stored(envelope.boot_id, [envelope.seq]))

    async def say(self, channel: topics.Channel, body: messages.Body) -> None:
        """Send a message to the node."""
        envelope = Envelope(messages.VERSION, NODE, "", 0, time.time(), body)
        await self.listener.transport.publish(topics.Address("main", NODE, channel).topic, messages.encode(envelope))

    async def order(self, action: OrderAction, order_id: str, *, device: str = "", **parameters: str) -> OrderEnded:
        """Give an order and return how it ended."""
        now = time.time()
        order = Order(order_id, NODE, action, now, now + 60.0, 1, device=device, parameters=parameters)
        await self.say(topics.Channel.ORDER, sign(order, key_id="test", key=KEY))
        return (await self.bodies(OrderEnded, lambda ended: ended.order_id == order_id))[-1]

    async def bodies(
        self, kind: type[B], accept: Callable[[B], bool] = lambda _: True, *, count: int = 1, repeats: bool = False
    ) -> list[B]:
        """Wait until so many bodies of a kind came, and return them; an event that came again counts once.

        Args:
            repeats: it counts each time.
        """
        found: list[B] = []
        async with asyncio.timeout(20.0):
            while len(found) < count:
                await asyncio.sleep(0.005)
                await self.hear()
                found = [body for body in self._said(repeats=repeats) if isinstance(body, kind) and accept(body)]
        return found

    def _said(self, *, repeats: bool) -> Iterator[messages.Body]:
        seen: set[tuple[str, int]] = set()
        for envelope in self.envelopes:
            name = (envelope.boot_id, envelope.seq)
            if repeats or not envelope.seq or name not in seen:
                seen.add(name)
                yield envelope.body


@dataclass(slots=True)
class Site:
    """One node, its configuration, and the agent's process.

    Attributes:
        simulated: the simulated machine, `None` for this very host.
        module: what is started as the agent.
        more: lines that begin the configuration.
        prefix: what the agent's command line begins with, e.g. to enter a mount namespace.
        host: the broker's name, empty for its address.
    """

    directory: Path
    broker: Mosquitto
    simulated: SimulatedMachine | None
    process: asyncio.subprocess.Process | None = None
    module: str = "agent"
    more: str = "status_interval_s = 1"
    prefix: tuple[str, ...] = ()
    host: str = ""

    @property
    def machine(self) -> SimulatedMachine:
        """The simulated machine."""
        assert self.simulated is not None
        return self.simulated

    @property
    def config(self) -> Path:
        """The agent's configuration file."""
        username, password = self.broker.credentials(NODE)
        (self.directory / "password").touch(mode=0o600)
        (self.directory / "password").write_text(password)
        path = self.directory / "agent.toml"
        path.write_text(f"""
            node = "{NODE}"
            state_directory = "{self.directory}/state"
            {f'simulation_directory = "{self.simulated.directory}"' if self.simulated else ""}
            orders_allowed = [
                "run_checks", "collect", "reset_gpu", "reboot", "restart_service", "inject_fault", "bench"
            ]
            {self.more}
            [broker]
            url = "{self.broker.url.replace("127.0.0.1", self.host or "127.0.0.1")}"
            username = "{username}"
            password_file = "{self.directory}/password"
            [trusted_keys.test]
            public_key = "{PUBLIC}"
            """)
        return path

    async def start(self, **environment: str) -> asyncio.subprocess.Process:
        """Start the agent."""
        with (self.directory / "agent.log").open("ab") as output:
            self.process = await asyncio.create_subprocess_exec(
                *(*self.prefix, sys.executable, "-m", self.module, "--config", str(self.config)),
                env={**os.environ, **environment},
                stderr=output,
            )
        return self.process

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        async with asyncio.timeout(15.0):
            return await self.process.wait()

    def log(self) -> str:
        """Return what the agent logged."""
        return (self.directory / "agent.log").read_text()
