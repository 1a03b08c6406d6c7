"""Controllers as processes that share one PostgreSQL and one broker, a scheduler that counts calls, and a node.

The node keeps what it says until it is told that it is stored, as an agent's outbox does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from checks.finding import Action, Finding, Verdict
from cli.broker import CONTROLLER, Mosquitto
from cli.client import Client, Failed
from cli.ports import free_port
from controller.store.postgresql_connection import Server
from tests.support.broker import listening, settings
from tests.support.forked import CONTROLLER as CONTROLLER_PROGRAM
from tests.support.forked import ForkedProgram, begin_forked
from wire import messages, topics
from wire.transport import MqttTransport, NotPublished, Received

HOOK = """#!/bin/sh
# A scheduler that looks first, then acts, and writes down what it did and under whose term.
cd "$(dirname "$0")" || exit 1
case $1 in
observe)
    printf '{"nodes": {'
    separator=
    for file in held/*; do
        [ -e "$file" ] || continue
        printf '%s"%s": {"schedulable": false, "held_by": "%s"}' "$separator" "${file#held/}" "$(cat "$file")"
        separator=', '
    done
    echo '}}' ;;
cordon)
    [ "$(cat "held/$2" 2>/dev/null)" = "$FLEETMEND_INCIDENT" ] && exit 0
    echo "cordon $2 $FLEETMEND_KEY $FLEETMEND_TOKEN" >> calls
    echo "$FLEETMEND_INCIDENT" > "held/$2" ;;
drain)
    echo "drain $2 $FLEETMEND_KEY $FLEETMEND_TOKEN" >> calls
    echo '{"jobs": ["17"]}' ;;
esac
"""
"""`drain` never ends, so that there is always an effect that a controller wants to repeat."""


@dataclass(slots=True)
class CountingScheduler:
    """What the hook wrote down."""

    directory: Path

    def __post_init__(self) -> None:
        (self.directory / "held").mkdir(parents=True)
        self.hook.write_text(HOOK)
        self.hook.chmod(0o755)

    @property
    def hook(self) -> Path:
        """The program."""
        return self.directory / "hook"

    def calls(self, verb: str) -> list[tuple[str, str, int]]:
        """Return (node, key, term) of every call, oldest first."""
        file = self.directory / "calls"
        lines = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
        return [(node, key, int(term)) for called, node, key, term in lines if called == verb]

    def times_cordoned(self) -> Counter[str]:
        """Return how often each node was taken out."""
        return Counter(node for node, _, _ in self.calls("cordon"))


@dataclass(slots=True)
class ControllerProcess:
    """One controller.

    Attributes:
        prefix: what its command line begins with, e.g. to enter a network namespace.
    """

    directory: Path
    tables: dict[str, Any]
    prefix: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | ForkedProgram | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, as systemd does after an end, too."""
        if self.process is not None:
            self.process.wait()
        self.directory.mkdir(exist_ok=True)
        config = self.directory / "controller.toml"
        http = {"port": self.port, "public_url": self.url}
        config.write_text(tomli_w.dumps({"state": str(self.directory), "http": http, **self.tables}))
        if not self.prefix:
            told = ("--config", str(config))
            self.process = begin_forked(CONTROLLER_PROGRAM, *told, environment=os.environ, output=self.log)
            return
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [*self.prefix, sys.executable, "-m", "controller.main", "--config", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )

    @property
    def log(self) -> Path:
        """What it said."""
        return self.directory / "controller.log"

    def said(self, event: str) -> list[str]:
        """Return the lines of its log about an event."""
        return [line for line in self.log.read_text(errors="replace").splitlines() if event in line]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    async def ended(self, *, limit_s: float = 30.0) -> int:
        """Wait until it has ended and return its exit code."""
        assert self.process is not None
        process = self.process
        await until(lambda: process.poll() is not None, limit_s=limit_s)
        return process.wait()

    def end(self) -> None:
        """End it, whatever it does."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    async def status(self) -> dict[str, Any]:
        """Return what its API says of the cell, empty while it does not answer."""
        try:
            found: dict[str, Any] = await asyncio.to_thread(Client(self.url, timeout_s=2.0).get, "status")
        except Failed:
            return {}
        return found

    async def is_role(self, role: str, *, limit_s: float = 30.0) -> None:
        """Wait until it says that it has a role."""
        async with asyncio.timeout(limit_s):
            while (await self.status()).get("role") != role:
                assert self.process is None or self.process.poll() is None, self.log.read_text()
                await asyncio.sleep(0.02)


async def until(condition: Callable[[], object], *, limit_s: float = 30.0) -> float:
    """Wait for something; return how many seconds that took."""
    began = time.monotonic()
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return time.monotonic() - began


@dataclass(slots=True)
class Nodes:
    """Nodes behind one connection, with one outbox."""

    transport: MqttTransport
    outbox: dict[tuple[str, int], messages.EventBody] = field(default_factory=dict)
    sequence: Counter[str] = field(default_factory=Counter)

    def say(self, node: str, body: messages.EventBody) -> None:
        """Have a node say something until it is stored."""
        self.sequence[node] += 1
        self.outbox[node, self.sequence[node]] = body

    def lose_gpu(self, node: str) -> None:
        """Have a node find that a GPU is gone."""
        because = "GPU-0 has fallen off the bus."
        self.say(node, messages.AgentStarted(False, "", "0.1.0", time.time()))
        finding = Finding("gpu.xid", "GPU-0", "79", Verdict.FAILED, Action.REBOOT, because)
        self.say(node, messages.FindingRaised(finding, time.time()))

    def hear(self, received: Received) -> None:
        """Drop what is stored."""
        address = topics.parse(received.topic)
        body = messages.decode(received.payload, address).body
        if isinstance(body, messages.Stored):
            for seq in body.seqs:
                self.outbox.pop((address.node, seq), None)

    async def keep_saying(self) -> None:
        """Send the outbox again and again."""
        while True:
            for (node, seq), body in list(self.outbox.items()):
                topic = topics.Address("main", node, topics.Channel.EVENT).topic
                envelope = messages.Envelope(messages.VERSION, node, "boot-1", seq, time.time(), body)
                with contextlib.suppress(NotPublished):
                    await self.transport.publish(topic, messages.encode(envelope))
            await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def nodes_at(broker: Mosquitto) -> AsyncIterator[Nodes]:
    """Give nodes that can speak; they use the controller's rights, so that one connection does for all."""
    every = topics.every_node("main", topics.Channel.ACK)
    async with listening(settings(broker, CONTROLLER, client_id="nodes"), every) as listener:
        nodes = Nodes(listener.transport)
        listener.on_heard = nodes.hear
        speaking = asyncio.create_task(nodes.keep_saying())
        try:
            yield nodes
        finally:
            speaking.cancel()
            await asyncio.gather(speaking, return_exceptions=True)


def broker_table(broker: Mosquitto, directory: Path) -> dict[str, str]:
    """Return the table [broker] of a controller, and write its password."""
    username, password = broker.credentials(CONTROLLER)
    secret = directory / "broker.password"
    secret.touch(mode=0o600)
    secret.write_text(password)
    return {"url": broker.url, "username": username, "password_file": str(secret)}


def tables_for(directory: Path, broker: Mosquitto, server: Server, scheduler: CountingScheduler) -> dict[str, Any]:
    """Return the settings that every controller of a cell shares."""
    store_password = directory / "store.password"
    store_password.touch(mode=0o600)
    store_password.write_text(server.password)
    return {
        "signing_key": str(directory / "signing-key.pem"),
        "broker": broker_table(broker, directory),
        "store": {"url": server.url, "password_file": str(store_password)},
        "scheduler": {"kind": "command", "hook": str(scheduler.hook), "interval_s": 1.0},
        "budget": {"percent": 100.0},
    }
