"""I8: several controllers on one PostgreSQL. One leads; when it is killed, put to sleep or cut off, another does.

Real processes, a real PostgreSQL, a real broker, and a scheduler that writes down every call with the caller's term.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli.broker import Mosquitto
from cli.client import Client, Failed
from cli.exit_codes import ExitCode
from controller.store.postgresql_connection import Server
from tests.support.broker import running_broker
from tests.support.controllers import (
    ControllerProcess,
    CountingScheduler,
    Nodes,
    nodes_at,
    tables_for,
    until,
)
from tests.support.parts import missing
from tests.support.postgres import PASSWORD, USER, Postgres, running_postgres, running_replica

pytestmark = [pytest.mark.broker, pytest.mark.timeout(180)]

EX_TEMPFAIL = 75


@dataclass(slots=True)
class SharedCell:
    """A cell with two controllers, of which the first leads."""

    postgres: Postgres
    broker: Mosquitto
    scheduler: CountingScheduler
    nodes: Nodes
    first: ControllerProcess
    second: ControllerProcess

    async def cordoned(self, *names: str, limit_s: float = 30.0) -> float:
        """Wait until nodes are taken out; return how long that took."""
        return await until(lambda: set(names) <= set(self.scheduler.times_cordoned()), limit_s=limit_s)

    def everything_once(self) -> bool:
        """Whether no node was taken out twice."""
        return set(self.scheduler.times_cordoned().values()) == {1}

    def last_terms(self, count: int = 3) -> set[int]:
        """Return the terms of the newest calls of any kind."""
        return {term for _, _, term in self.scheduler.calls("drain")[-count:]}


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@contextlib.asynccontextmanager
async def shared_cell(
    tmp_path: Path, postgres: Postgres, *, server: Server | None = None, traces: str = ""
) -> AsyncIterator[SharedCell]:
    scheduler = CountingScheduler(tmp_path / "scheduler")
    async with running_broker(tmp_path / "broker") as broker:
        tables = tables_for(tmp_path, broker, server or postgres.new_database(), scheduler)
        tables |= {"traces": {"endpoint": traces}} if traces else {}
        controllers = [ControllerProcess(tmp_path / name, tables) for name in ("c1", "c2")]
        try:
            async with nodes_at(broker) as nodes:
                controllers[0].start()
                await controllers[0].is_role("leader")
                controllers[1].start()
                await controllers[1].is_role("standby")
                yield SharedCell(postgres, broker, scheduler, nodes, *controllers)
        finally:
            for controller in controllers:
                controller.end()


async def test_a_standby_shows_everything_and_changes_nothing(tmp_path: Path, postgres: Postgres) -> None:
    async with shared_cell(tmp_path, postgres) as cell:
        cell.nodes.lose_gpu("n1")
        await cell.cordoned("n1")
        standby = Client(cell.second.url)
        await until(lambda: [incident["node"] for incident in standby.get("incidents")] == ["n1"])
        status = await cell.second.status()
        assert (status["role"], status["leader_url"], status["broker_connected"]) == ("standby", cell.first.url, False)
        with pytest.raises(
            Failed, match=f"stands by and changes nothing; the leader answers at {cell.first.url}"
        ) as no:
            await asyncio.to_thread(standby.post, "nodes", "n1", "uncordon", because="")
        assert no.value.code is ExitCode.REFUSED_NOW
        assert (await cell.first.status())["store"]["name"].startswith("postgresql://127.0.0.1:")


async def test_a_standby_tells_systemd_that_it_is_ready_and_who_leads(tmp_path: Path, postgres: Postgres) -> None:
    async with shared_cell(tmp_path, postgres) as cell:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.bind(str(tmp_path / "notify"))
            systemd.setblocking(False)
            told = ("env", f"NOTIFY_SOCKET={tmp_path / 'notify'}", "WATCHDOG_USEC=1000000")
            third = ControllerProcess(tmp_path / "c3", cell.second.tables, prefix=told)
            third.start()
            await third.is_role("standby")
            heard: list[str] = []

            def listen() -> int:
                with contextlib.suppress(BlockingIOError):
                    heard.append(systemd.recv(1000).decode())
                return len(heard)

            await until(lambda: listen() == 3)
            assert heard == ["READY=1", f"STATUS=Stands by; {cell.first.url} leads.", "WATCHDOG=1"]
            third.end()


async def test_i4_i8_a_leader_that_is_killed_is_followed_within_five_seconds(
    tmp_path: Path, postgres: Postgres
) -> None:
    async with shared_cell(tmp_path, postgres) as cell:
        for number in range(1, 6):
            cell.nodes.lose_gpu(f"n{number}")
        await cell.cordoned("n1")
        cell.nodes.lose_gpu("n6")
        cell.first.signal(signal.SIGKILL)
        cell.nodes.lose_gpu("n7")
        took_s = await cell.cordoned("n7")
        print(f"taken over after {took_s:.2f} s")
        assert took_s <= 5.0
        await cell.cordoned(*(f"n{number}" for number in range(1, 8)))
        assert cell.everything_once()
        await until(lambda: not cell.nodes.outbox)
        cell.first.start()
        await cell.first.is_role("standby")
        assert (await cell.second.status())["term"] == 2
        cell.second.signal(signal.SIGTERM)
        took_s = await until(lambda: len(cell.first.said("leadership.taken")) == 2)
        print(f"taken over after {took_s:.2f} s")
        assert took_s <= 5.0 and await cell.second.ended() == 0


async def test_i8_a_leader_that_slept_does_nothing_when_it_wakes(tmp_path: Path, postgres: Postgres) -> None:
    async with shared_cell(tmp_path, postgres) as cell:
        cell.nodes.lose_gpu("n1")
        await until(lambda: cell.scheduler.calls("drain"))
        cell.first.signal(signal.SIGSTOP)
        cell.nodes.lose_gpu("n2")
        took_s = await cell.cordoned("n2")
        print(f"taken over after {took_s:.2f} s")
        assert took_s <= 15.0
        calls = len(cell.scheduler.calls("drain"))
        cell.first.signal(signal.SIGCONT)
        assert await cell.first.ended() == EX_TEMPFAIL
        assert len(cell.first.said("leadership.lost")) == 1
        await until(lambda: len(cell.scheduler.calls("drain")) > calls + 2)
        assert {term for _, _, term in cell.scheduler.calls("drain")[calls:]} == {2}
        assert cell.everything_once()


async def test_i7_nothing_is_lost_or_done_twice_when_postgresql_crashes_and_comes_back(tmp_path: Path) -> None:
    with running_postgres() as postgres:
        async with shared_cell(tmp_path, postgres) as cell:
            cell.nodes.lose_gpu("n1")
            await cell.cordoned("n1")
            cell.nodes.lose_gpu("n2")
            postgres.stop(signal.SIGQUIT)
            cell.nodes.lose_gpu("n3")
            assert await cell.first.ended() in {EX_TEMPFAIL, ExitCode.NO_OUTPUT}
            postgres.start()
            await cell.cordoned("n2", "n3")
            await until(lambda: not cell.nodes.outbox)
            assert cell.everything_once()
            assert cell.second.said("leadership.taken"), "it stayed, warm, and led as soon as there was a database"


async def test_i7_nothing_is_lost_or_done_twice_when_a_replica_of_postgresql_takes_over(tmp_path: Path) -> None:
    with running_postgres() as primary, running_replica(primary) as replica:
        name = primary.new_database().url.rpartition("/")[2]
        hosts = f"127.0.0.1:{primary.port},127.0.0.1:{replica.port}"
        server = Server(f"postgresql://{USER}@{hosts}/{name}?target_session_attrs=read-write", PASSWORD)
        async with shared_cell(tmp_path, primary, server=server) as cell:
            cell.nodes.lose_gpu("n1")
            await cell.cordoned("n1")
            cell.nodes.lose_gpu("n2")
            primary.stop(signal.SIGQUIT)
            cell.nodes.lose_gpu("n3")
            replica.execute("SELECT pg_promote()")
            took_s = await cell.cordoned("n2", "n3")
            print(f"taken over after {took_s:.2f} s")
            await until(lambda: not cell.nodes.outbox)
            assert cell.everything_once()
            assert await cell.first.ended() in {EX_TEMPFAIL, ExitCode.NO_OUTPUT}
            assert (await cell.second.status())["term"] == 2


@dataclass(slots=True)
class Namespace:
    """A network namespace that reaches this machine by one cable, which can be pulled."""

    name: str
    ours: str = "10.213.77.1"
    theirs: str = "10.213.77.2"

    def __enter__(self) -> Namespace:
        self._ip("netns", "add", self.name)
        self._ip("link", "add", f"{self.name}a", "type", "veth", "peer", "name", "eth0", "netns", self.name)
        self._ip("addr", "add", f"{self.ours}/30", "dev", f"{self.name}a")
        self._ip("link", "set", f"{self.name}a", "up")
        for command in (("addr", "add", f"{self.theirs}/30", "dev", "eth0"), ("link", "set", "eth0", "up")):
            self._ip("-n", self.name, *command)
        self._ip("-n", self.name, "link", "set", "lo", "up")
        return self

    def cut(self) -> None:
        """Pull the cable: nobody is told."""
        self._ip("-n", self.name, "link", "set", "eth0", "down")

    def mend(self) -> None:
        """Put the cable back."""
        self._ip("-n", self.name, "link", "set", "eth0", "up")

    def __exit__(self, *_: object) -> None:
        self._ip("netns", "del", self.name)

    @staticmethod
    def _ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True)


def need_namespaces() -> None:
    if shutil.which("ip") is None:
        missing("iproute2")
    tried = subprocess.run(["unshare", "-n", "true"], check=False, capture_output=True)
    if tried.returncode != 0:
        pytest.skip("this user may not make a network namespace")


@contextlib.asynccontextmanager
async def forwarded(host: str, port: int) -> AsyncIterator[int]:
    """Forward a port of this address to the same service on the loopback; give its number."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        writers.extend((writer, back))
        await asyncio.gather(pump(reader, back), pump(there, writer))

    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(serve, host, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        with contextlib.suppress(OSError):
            await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)


async def test_i8_a_leader_that_is_cut_off_is_followed_and_does_nothing_more(
    tmp_path: Path, postgres: Postgres
) -> None:
    """Its scheduler can still be called from where it is: only its own lease keeps it from that."""
    need_namespaces()
    scheduler = CountingScheduler(tmp_path / "scheduler")
    with Namespace(f"fm{os.getpid()}") as namespace:
        async with running_broker(tmp_path / "broker") as broker, contextlib.AsyncExitStack() as stack:
            server = postgres.new_database()
            tables = tables_for(tmp_path, broker, server, scheduler)
            broker_port = await stack.enter_async_context(forwarded(namespace.ours, int(broker.url.rpartition(":")[2])))
            store_port = await stack.enter_async_context(forwarded(namespace.ours, postgres.port))
            far = {
                **tables,
                "broker": {**tables["broker"], "url": f"mqtt://{namespace.ours}:{broker_port}"},
                "store": {
                    **tables["store"],
                    "url": server.url.replace(f"127.0.0.1:{postgres.port}", f"{namespace.ours}:{store_port}"),
                },
            }
            first = ControllerProcess(tmp_path / "c1", far, prefix=("ip", "netns", "exec", namespace.name))
            second = ControllerProcess(tmp_path / "c2", tables)
            stack.callback(first.end)
            stack.callback(second.end)
            nodes = await stack.enter_async_context(nodes_at(broker))
            first.start()
            await until(lambda: first.log.exists() and first.said("leadership.taken"))
            second.start()
            await second.is_role("standby")
            nodes.lose_gpu("n1")
            await until(lambda: scheduler.calls("drain"))
            namespace.cut()
            nodes.lose_gpu("n2")
            took_s = await until(lambda: "n2" in scheduler.times_cordoned())
            print(f"taken over after {took_s:.2f} s")
            assert took_s <= 15.0
            calls = len(scheduler.calls("drain"))
            assert await first.ended() == EX_TEMPFAIL
            assert len(first.said("leadership.lost")) == 1
            namespace.mend()
            await until(lambda: len(scheduler.calls("drain")) > calls + 2)
            assert {term for _, _, term in scheduler.calls("drain")[calls:]} == {2}
            assert set(scheduler.times_cordoned().values()) == {1}
