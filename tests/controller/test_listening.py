"""The port: certificates that change while it listens; clients that say nothing, take nothing, or come in numbers."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from controller.access.tls import ListenerTls
from controller.listening import Listener, runner_of
from tests.support.certificates import write_certificate

LARGE = b"x" * (8 << 20)


async def _hello(_request: web.Request) -> web.Response:
    return web.Response(text="hello")


async def _large(_request: web.Request) -> web.Response:
    return web.Response(body=LARGE)


@dataclass(slots=True)
class Ports:
    """Ports that listen until the test ends."""

    listeners: list[Listener] = field(default_factory=list)

    async def __call__(self, tls: ssl.SSLContext | None = None, *, most: int = 2_000, untaken_ms: int = 30_000) -> str:
        """Listen on one more; return where."""
        app = web.Application()
        app.router.add_get("/", _hello)
        app.router.add_get("/large", _large)
        self.listeners.append(Listener(runner_of(app, shutdown_s=0.1), tls, most, untaken_ms))
        await self.listeners[-1].runner.setup()
        host, port = await self.listeners[-1].start("127.0.0.1", 0)
        return f"{'https' if tls else 'http'}://{host}:{port}"

    def connections(self) -> int:
        """Return how many are connected to the newest one."""
        server = self.listeners[-1].runner.server
        return len(server.connections) if server is not None else 0


@pytest.fixture
async def start(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ports]:
    """Ports that are patient for a third of a second."""
    monkeypatch.setattr("controller.listening.SILENT_S", 0.3)
    ports = Ports()
    yield ports
    for listener in ports.listeners:
        await listener.stop()


def port_of(url: str) -> int:
    """Return the port of an address."""
    return int(url.rpartition(":")[2])


async def certificate_seen(url: str, trusted: Path, mine: Path | None = None) -> bytes:
    """Return the certificate that is shown to a new connection which trusts this one."""
    context = ssl.create_default_context(cafile=trusted)
    if mine is not None:
        context.load_cert_chain(mine, mine.with_suffix(".key"))
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(url), ssl=context)
    shown: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    answer = await reader.read()
    writer.close()
    if not answer:
        raise ConnectionResetError("nobody answered")
    assert b"hello" in answer
    return shown


def put(certificate: Path, directory: Path) -> None:
    """Put a certificate where it is listened with."""
    for name, source in (("now.pem", certificate), ("now.key", certificate.with_suffix(".key"))):
        shutil.copy(source, directory / f"{name}.new")
        (directory / f"{name}.new").rename(directory / name)


async def test_a_certificate_is_replaced_while_it_listens(start: Ports, tmp_path: Path) -> None:
    first, second = write_certificate(tmp_path, "first"), write_certificate(tmp_path, "second")
    put(first, tmp_path)
    url = await start(ListenerTls(tmp_path / "now.pem", tmp_path / "now.key").context())
    before = await certificate_seen(url, first)
    async with aiohttp.ClientSession() as open_before:
        trusting = ssl.create_default_context(cafile=first)
        assert (await open_before.get(url, ssl=trusting)).status == 200
        put(second, tmp_path)
        assert await certificate_seen(url, second) != before
        with pytest.raises(ssl.SSLCertVerificationError):
            await certificate_seen(url, first)
        assert (await open_before.get(url, ssl=trusting)).status == 200


@pytest.mark.parametrize("damage", ["empty", "gone", "another key"])
async def test_a_certificate_that_cannot_be_used_leaves_the_one_before(
    start: Ports, tmp_path: Path, damage: str
) -> None:
    first, second = write_certificate(tmp_path, "first"), write_certificate(tmp_path, "second")
    put(first, tmp_path)
    url = await start(ListenerTls(tmp_path / "now.pem", tmp_path / "now.key").context())
    match damage:
        case "empty":
            (tmp_path / "now.pem").write_bytes(b"")
        case "gone":
            (tmp_path / "now.key").unlink()
        case _:
            shutil.copy(second.with_suffix(".key"), tmp_path / "now.key")
    assert await certificate_seen(url, first)
    put(second, tmp_path)
    assert await certificate_seen(url, second)


def test_files_that_cannot_be_used_are_found_out_at_the_start(tmp_path: Path) -> None:
    first, second = write_certificate(tmp_path, "first"), write_certificate(tmp_path, "second")
    with pytest.raises(OSError, match="KEY_VALUES_MISMATCH"):
        ListenerTls(first, second.with_suffix(".key"))


async def test_only_whoever_shows_a_certificate_of_the_ca_is_answered(start: Ports, tmp_path: Path) -> None:
    server, alice, bob = (write_certificate(tmp_path, name) for name in ("server", "alice", "bob"))
    authority = tmp_path / "clients.pem"
    shutil.copy(alice, authority)
    url = await start(ListenerTls(server, server.with_suffix(".key"), authority).context())
    assert await certificate_seen(url, server, alice)
    for mine in (None, bob):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await certificate_seen(url, server, mine)
    shutil.copy(bob, authority)
    assert await certificate_seen(url, server, bob)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await certificate_seen(url, server, alice)


async def test_old_tls_is_refused(start: Ports, tmp_path: Path) -> None:
    server = write_certificate(tmp_path, "server")
    url = await start(ListenerTls(server, server.with_suffix(".key")).context())
    old = ssl.create_default_context(cafile=server)
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        await asyncio.open_connection("127.0.0.1", port_of(url), ssl=old)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"GET / HT",
        b"GET / HTTP/1.1\r\nHost: a\r\nX-A: ",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nX: ",
    ],
)
async def test_whoever_never_says_all_of_it_is_cut_off(start: Ports, said: bytes) -> None:
    url = await start()
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(url))
    writer.write(said)
    async with asyncio.timeout(5):
        with contextlib.suppress(ConnectionError):
            assert b"hello" in await reader.read() or not said.count(b"\r\n\r\n")
    writer.close()


async def test_whoever_says_it_drop_by_drop_is_cut_off(start: Ports) -> None:
    url = await start()
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(url))
    ended = asyncio.create_task(reader.read())
    async with asyncio.timeout(5):
        with contextlib.suppress(ConnectionError):
            for byte in b"GET / HTTP/1.1\r\n" + b"X: " + b"a" * 1_000:
                writer.write(bytes([byte]))
                await asyncio.wait({ended}, timeout=0.05)
                if ended.done():
                    break
    assert ended.done()
    writer.close()


async def test_whoever_takes_nothing_of_an_answer_is_cut_off(start: Ports) -> None:
    url = await start(untaken_ms=500)
    with socket.socket() as greedy:
        greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        greedy.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(greedy, ("127.0.0.1", port_of(url)))
        await loop.sock_sendall(greedy, b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        async with asyncio.timeout(20):
            while start.connections():  # noqa: ASYNC110
                await asyncio.sleep(0.05)


async def test_who_comes_in_numbers_pays_for_it_alone(start: Ports, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.listening.SILENT_S", 30.0)
    url = await start(most=20)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))) as http:
        async with http.get(url) as answer:
            assert answer.status == 200
        crowd = [await asyncio.open_connection("127.0.0.1", port_of(url)) for _ in range(60)]
        async with http.get(url) as answer:
            assert (answer.status, await answer.text()) == (200, "hello")
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionError):
                assert await crowd[0][0].read() == b""
        ended = [reader for reader, _ in crowd if reader.at_eof() or reader.exception()]
        assert len(ended) >= 40
    for _, writer in crowd:
        writer.close()
