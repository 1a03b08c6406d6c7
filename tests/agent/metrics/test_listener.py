"""The port: what it answers, what it hangs up on, and that a port that is taken stops nothing."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus

import aiohttp
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from agent.clock import Clock
from agent.metrics import listener as listeners
from agent.metrics.listener import MAX_REQUEST_BYTES, MOST_AT_ONCE, RETRY_S, Listener, Request, parse
from tests.support.agent_node import ManualClock, settle
from tests.support.metrics import series_of, value
from wire.metrics import Values

VALUES: Values = {"fleetmend_agent_broker_connected": {(): 1.0}}


@contextlib.asynccontextmanager
async def listening(
    values: Callable[[], Values] = lambda: VALUES, *, host: str = "127.0.0.1"
) -> AsyncIterator[Listener]:
    """Give a listener on a free port."""
    listener = Listener(host, 0, values, clock=Clock())
    running = asyncio.create_task(listener.run())
    try:
        async with asyncio.timeout(30.0):
            while not listener.address:  # noqa: ASYNC110
                await asyncio.sleep(0)
        yield listener
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def said_to(listener: Listener, request: bytes) -> bytes:
    """Return all that is answered to these bytes, whose sender then says nothing more."""
    host, _, port = listener.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    writer.write(request)
    with contextlib.suppress(OSError):
        writer.write_eof()
    try:
        async with asyncio.timeout(30.0):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_a_scrape() -> None:
    async with listening() as listener, aiohttp.ClientSession(f"http://{listener.address}") as http:
        async with http.get("/metrics?collect[]=all") as answer:
            assert (answer.status, answer.headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
            assert value(series_of(await answer.text()), "fleetmend_agent_broker_connected") == 1.0
        async with http.get("/metrics", headers={"Accept": "application/openmetrics-text"}) as answer:
            assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
        async with http.head("/metrics") as answer:
            assert (answer.status, await answer.read()) == (200, b"")
            assert int(answer.headers["Content-Length"]) > 0


async def test_what_is_no_scrape() -> None:
    async with listening() as listener, aiohttp.ClientSession(f"http://{listener.address}") as http:
        for method, path, status in (
            ("GET", "/", 404),
            ("GET", "/metrics/../etc/passwd", 404),
            ("POST", "/metrics", 405),
            ("DELETE", "/metrics", 405),
        ):
            async with http.request(method, path) as answer:
                assert answer.status == status, (method, path)


async def test_a_listener_on_ipv6() -> None:
    async with listening(host="::1") as listener, aiohttp.ClientSession(f"http://{listener.address}") as http:
        assert listener.address.startswith("[::1]:")
        async with http.get("/metrics") as answer:
            assert answer.status == 200


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /metrics\r\n\r\n",
        b"get /metrics HTTP/1.1\r\n\r\n",
        b"GET http://x/metrics HTTP/1.1\r\n\r\n",
        b"GET /metrics SPDY/3\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nCookie: " + b"x" * (2 * MAX_REQUEST_BYTES) + b"\r\n\r\n",
    ],
)
async def test_what_is_no_request_is_told_so(request_bytes: bytes) -> None:
    async with listening() as listener:
        answer = await said_to(listener, request_bytes)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"HTTP/1.1 200 OK" in await said_to(listener, b"GET /metrics HTTP/1.1\r\n\r\n")


async def test_half_a_request_is_hung_up_on() -> None:
    async with listening() as listener:
        assert await said_to(listener, b"GET /metrics HTT") == b""
        assert b"HTTP/1.1 200 OK" in await said_to(listener, b"GET /metrics HTTP/1.1\r\n\r\n")


async def test_whoever_says_nothing_is_hung_up_on_and_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listeners, "REQUEST_LIMIT_S", 0.2)
    async with listening() as listener:
        host, _, port = listener.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        assert b"HTTP/1.1 200 OK" in await said_to(listener, b"GET /metrics HTTP/1.1\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()


async def test_no_more_are_answered_at_once_than_the_bound() -> None:
    async with listening() as listener:
        host, _, port = listener.address.rpartition(":")
        waiting = [await asyncio.open_connection(host, int(port)) for _ in range(MOST_AT_ONCE)]
        await settle()
        assert await said_to(listener, b"GET /metrics HTTP/1.1\r\n\r\n") == b""
        for _, writer in waiting:
            writer.close()
            await writer.wait_closed()
        await settle()
        assert b"HTTP/1.1 200 OK" in await said_to(listener, b"GET /metrics HTTP/1.1\r\n\r\n")


async def test_metrics_that_cannot_be_made_are_an_error_and_the_next_scrape_is_answered() -> None:
    broken = [True]

    def values() -> Values:
        if broken.pop():
            raise RuntimeError("a defect")
        return VALUES

    with structlog.testing.capture_logs() as logs:
        async with listening(values) as listener:
            assert (await said_to(listener, b"GET /metrics HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 500 ")
            broken.append(False)
            assert b"HTTP/1.1 200 OK" in await said_to(listener, b"GET /metrics HTTP/1.1\r\n\r\n")
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["scrape.failed"]


async def test_a_port_that_is_taken_is_said_and_tried_again() -> None:
    clock = ManualClock()
    with socket.create_server(("127.0.0.1", 0)) as taken, structlog.testing.capture_logs() as logs:
        port = taken.getsockname()[1]
        listener = Listener("127.0.0.1", port, lambda: VALUES, clock=clock.clock)
        running = asyncio.create_task(listener.run())
        await clock.advance(RETRY_S - 1.0)
        assert [(entry["event"], entry["port"]) for entry in logs] == [("metrics.unavailable", port)]
        assert "in use" in logs[0]["because"]
        taken.close()
        await clock.advance(2.0)
        async with asyncio.timeout(30.0):
            while not listener.address:  # noqa: ASYNC110
                await asyncio.sleep(0)
        assert b"HTTP/1.1 200 OK" in await said_to(listener, b"GET /metrics HTTP/1.1\r\n\r\n")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_none(head: bytes) -> None:
    try:
        request = parse(head)
    except ValueError:
        return
    assert request.method.isupper()
    assert request.path.startswith("/")


@given(st.text("AB"), st.text(), st.text())
def test_any_request_gets_an_answer(method: str, path: str, accept: str) -> None:
    answer = Listener("127.0.0.1", 0, lambda: VALUES, clock=Clock()).answer(Request(method, path, accept))
    assert answer.status in {HTTPStatus.NOT_FOUND, HTTPStatus.BAD_REQUEST, HTTPStatus.METHOD_NOT_ALLOWED}


def test_several_accept_headers_are_one() -> None:
    head = b"GET /metrics?x=1 HTTP/1.1\r\nAccept: text/html\r\nHost: n1\r\naccept:  text/plain \r\n\r\n"
    assert parse(head) == Request("GET", "/metrics", "text/html,text/plain")
