"""A real cluster of three NATS servers on this machine, as the how-to page says to configure one.

Everything lies in one directory; every process is a child, ended by its process id.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cli.ports import free_ports
from tests.support.eventually import eventually
from tests.support.parts import missing
from wire.messages import MAX_BYTES
from wire.topics import Address, Channel, every_node

CELL = "main"
CONTROLLER = "controller"
PASSWORD = "only on the loopback"
NODES = 3
START_LIMIT_S = 20.0
WRITES = (Channel.EVENT, Channel.STATUS, Channel.PRESENCE)
READS = (Channel.ORDER, Channel.ACK)


def find_nats() -> str:
    """Return the server's program; without it the test skips, and in CI it fails."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin"])
    return shutil.which("nats-server", path=path) or missing("nats-server")


def subject(topic: str) -> str:
    """Return what NATS calls a topic of ours."""
    return topic.replace(".", "~").replace("/", ".").replace("+", "*")


@dataclass(slots=True)
class NatsServer:
    """One server of the cluster."""

    name: str
    directory: Path
    port: int
    cluster_port: int
    http_port: int
    process: asyncio.subprocess.Process | None = None

    @property
    def address(self) -> str:
        """Where MQTT is spoken."""
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """What it said."""
        return self.directory / f"{self.name}.log"

    async def start(self, program: str) -> None:
        """Start it; whether it serves is seen later."""
        with self.log.open("ab") as output:
            self.process = await asyncio.create_subprocess_exec(
                *(program, "--config", str(self.directory / f"{self.name}.conf")), stdout=output, stderr=output
            )

    async def kill(self) -> None:
        """End it by kill -9."""
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()

    def asked(self, path: str) -> dict[str, Any]:
        """Return what it answers on its monitoring port, nothing when it does not."""
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.http_port}/{path}", timeout=2.0
            ) as answer:  # http alone
                found: dict[str, Any] = json.load(answer)
                return found
        except (OSError, ValueError):
            return {}


@dataclass(slots=True)
class NatsCluster:
    """Three servers that know the controller and these nodes, each by a user of its own name."""

    directory: Path
    nodes: tuple[str, ...]
    program: str = field(default_factory=find_nats)
    servers: dict[str, NatsServer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Write the configuration."""
        ports = free_ports(3 * NODES)
        for place in range(NODES):
            mqtt, cluster, http = ports[3 * place : 3 * place + 3]
            self.servers[f"s{place + 1}"] = NatsServer(f"s{place + 1}", self.directory, mqtt, cluster, http)
        for server in self.servers.values():
            (self.directory / f"{server.name}.conf").write_text(self._configuration(server))

    @property
    def urls(self) -> tuple[str, ...]:
        """What agents and controllers are given."""
        return tuple(f"mqtt://{server.address}?v=3&dots=tilde" for server in self.servers.values())

    def at(self, address: str) -> NatsServer:
        """Return the server at an address."""
        return next(server for server in self.servers.values() if server.address == address)

    async def start(self) -> None:
        """Start all and wait until they serve together."""
        await asyncio.gather(*(server.start(self.program) for server in self.servers.values()))
        await self.whole()

    async def restart(self, server: NatsServer) -> None:
        """Start a killed one again and wait until all hold everything: before, one more death stops the cluster."""
        await server.start(self.program)
        await self.whole()

    async def whole(self) -> None:
        """Wait until every server serves, and holds what the others hold."""
        for server in self.servers.values():
            await eventually(f"{server.name} is whole", lambda s=server: _is_whole(s), limit_s=START_LIMIT_S)  # type: ignore[misc]

    def _configuration(self, server: NatsServer) -> str:
        routes = ", ".join(f'"nats-route://127.0.0.1:{each.cluster_port}"' for each in self.servers.values())
        users = "\n".join([self._controller(), *map(self._node, self.nodes)])
        return f"""\
server_name: {server.name}
host: 127.0.0.1
port: -1
http: 127.0.0.1:{server.http_port}
max_payload: {MAX_BYTES + 65_536}
jetstream {{ store_dir: "{self.directory}/{server.name}" }}
mqtt {{ host: 127.0.0.1, port: {server.port}, ack_wait: "5s", max_ack_pending: 1000 }}
cluster {{ name: {CELL}, host: 127.0.0.1, port: {server.cluster_port}, routes: [{routes}] }}
accounts {{ fleetmend {{ jetstream: enabled, users: [
{users}
] }} }}
"""

    def _controller(self) -> str:
        writes = [subject(every_node(CELL, channel)) for channel in READS]
        reads = ["$MQTT.sub.>", *(subject(every_node(CELL, channel)) for channel in WRITES)]
        return _user(CONTROLLER, writes, reads)

    def _node(self, node: str) -> str:
        writes = [subject(Address(CELL, node, channel).topic) for channel in WRITES]
        return _user(node, writes, [subject(Address(CELL, node, channel).topic) for channel in READS])


def _user(name: str, writes: list[str], reads: list[str]) -> str:
    permissions = f"publish: {{ allow: {json.dumps(writes)} }}, subscribe: {{ allow: {json.dumps(reads)} }}"
    return f'  {{ user: "{name}", password: "{PASSWORD}", permissions: {{ {permissions} }} }}'


def _is_whole(server: NatsServer) -> bool:
    """Only the leader of a stream or a consumer knows how far the others are. The consumers of what is retained are not
    looked at: each server has its own, and that of a killed one stays behind for a while."""
    if server.asked("healthz?js-server-only=true").get("status") != "ok":
        return False
    accounts = server.asked("jsz?streams=true&consumers=true&accounts=true").get("account_details", [])
    streams = [stream for account in accounts for stream in account.get("stream_detail", [])]
    consumers = [
        each for stream in streams if "rmsgs" not in stream["name"] for each in stream.get("consumer_detail", [])
    ]
    groups = [each["cluster"] for each in (*streams, *consumers) if "cluster" in each]
    led = [group["replicas"] for group in groups if group.get("leader") == server.name]
    return all(group.get("leader") for group in groups) and all(peer["current"] for peers in led for peer in peers)


@contextlib.asynccontextmanager
async def running_cluster(directory: Path, nodes: tuple[str, ...]) -> AsyncIterator[NatsCluster]:
    """Give a running cluster in a folder that is there; it is ended however the test ends."""
    cluster = NatsCluster(directory, nodes)
    try:
        await cluster.start()
        yield cluster
    finally:
        for server in cluster.servers.values():
            await server.kill()
