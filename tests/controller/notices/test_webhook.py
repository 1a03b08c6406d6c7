"""The webhook against real HTTP servers on the loopback."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pytest
from aiohttp import web

from controller.adapters import Filed, Notice
from controller.errors import InDoubt, Permanent, Retryable
from controller.notices.http import MAX_RESET_S, retry_after_s, wait_s
from controller.notices.webhook import WebhookNotifier
from controller.tracing import current

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Receiver:
    """An HTTP server that keeps what it got and answers as it is told."""

    url: str = ""
    answer: Answer | None = None
    got: list[Any] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.StreamResponse:
        self.got.append(await request.json())
        self.headers.append(dict(request.headers))
        return web.Response() if self.answer is None else await self.answer(request)

    def says(self, status: int, *, text: str = "", headers: dict[str, str] | None = None) -> None:
        async def answer(request: web.Request) -> web.StreamResponse:
            return web.Response(status=status, text=text, headers={**(headers or {}), "X-Path": request.path})

        self.answer = answer


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    served = Receiver()
    app = web.Application()
    app.router.add_post("/{tail:.*}", served.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    served.url = f"http://{host}:{port}/hooks/s3cret"
    yield served
    await runner.cleanup()


async def test_the_notice_arrives_whole_with_its_key(receiver: Receiver, notice: Notice) -> None:
    await WebhookNotifier(receiver.url).send(notice)

    assert receiver.got == [{"event": "filed", **asdict(notice)}]
    (headers,) = receiver.headers
    assert headers["Idempotency-Key"] == "inc-000007/ticket/1"
    assert headers["Content-Type"] == "application/json"


async def test_what_is_new_and_the_end_are_further_posts(receiver: Receiver, notice: Notice) -> None:
    notifier = WebhookNotifier(receiver.url)
    await notifier.update("JIRA-7", replace(notice, key="k/1", news="A GPU was swapped."))
    await notifier.close("JIRA-7", replace(notice, key="k/2", news="Returned."))

    assert [(said["event"], said["reference"], said["news"]) for said in receiver.got] == [
        ("updated", "JIRA-7", "A GPU was swapped."),
        ("closed", "JIRA-7", "Returned."),
    ]
    assert [headers["Idempotency-Key"] for headers in receiver.headers] == ["k/1", "k/2"]


async def test_text_that_is_no_unicode_does_not_stop_a_notice(receiver: Receiver, notice: Notice) -> None:
    await WebhookNotifier(receiver.url).send(replace(notice, body="half a character: \udce9"))

    assert [each["body"] for each in receiver.got] == ["half a character: ?"]


@pytest.mark.parametrize(
    ("text", "headers", "reference"),
    [
        ('{"reference": "OPS-17", "id": 4}', {}, "OPS-17"),
        ('{"id": 4711}', {"Location": "/tickets/4711"}, "4711"),
        ("", {"Location": "https://tickets/4711"}, "https://tickets/4711"),
        ('{"id": {"nested": 1}}', {}, "inc-000007/ticket/1"),
        ("[1]", {}, "inc-000007/ticket/1"),
        ("ok", {}, "inc-000007/ticket/1"),
        ("", {}, "inc-000007/ticket/1"),
    ],
)
async def test_people_find_it_by_what_the_receiver_calls_it(
    receiver: Receiver, notice: Notice, text: str, headers: dict[str, str], reference: str
) -> None:
    receiver.says(201, text=text, headers=headers)

    assert await WebhookNotifier(receiver.url).send(notice) == Filed(reference)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_what_may_work_later_is_retryable(receiver: Receiver, notice: Notice, status: int) -> None:
    receiver.says(status, headers={"Retry-After": "17"})

    with pytest.raises(Retryable, match=rf"webhook 127\.0\.0\.1 answered {status}") as raised:
        await WebhookNotifier(receiver.url).send(notice)

    assert raised.value.after_s == 17.0
    assert len(receiver.got) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 413, 422])
async def test_what_will_not_work_is_permanent(receiver: Receiver, notice: Notice, status: int) -> None:
    receiver.says(status)

    with pytest.raises(Permanent, match=rf"webhook 127\.0\.0\.1 answered {status}"):
        await WebhookNotifier(receiver.url).send(notice)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(receiver: Receiver, notice: Notice, status: int) -> None:
    receiver.says(status, headers={"Location": "/elsewhere"})

    with pytest.raises(Permanent, match="redirects are not followed"):
        await WebhookNotifier(receiver.url).send(notice)

    assert len(receiver.got) == 1


async def test_no_error_tells_the_secret_in_the_url(receiver: Receiver, notice: Notice) -> None:
    receiver.says(403)

    with pytest.raises(Permanent) as raised:
        await WebhookNotifier(receiver.url).send(notice)

    assert "s3cret" not in str(raised.value)


@asynccontextmanager
async def saying(answer: bytes) -> AsyncIterator[str]:
    """Answer every request with these bytes, whatever they are; yield the address."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hooks/s3cret"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 503 no\xff\xfe\x01way\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 400 " + b"\xff" * 5_000 + b"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX\xff Y: \x00\xff\r\n\r\n",
        b"\xff\xfe\x00 no HTTP at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 5\r\n\r\nhello",
    ],
)
async def test_an_answer_of_any_bytes_is_told_in_one_line_that_the_log_takes(answer: bytes, notice: Notice) -> None:
    async with saying(answer) as url:
        with pytest.raises((Retryable, Permanent)) as raised:
            await WebhookNotifier(url, repeatable=True).send(notice)

    said = str(raised.value)
    assert said.isprintable(), ascii(said)
    assert len(said) < 500
    assert "s3cret" not in said


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 201 Created\r\nLocation: /t/\xff\xfe" + b"1" * 5_000 + b"\r\nContent-Length: 0\r\n\r\n",
        b'HTTP/1.1 200 OK\r\nContent-Length: 35\r\n\r\n{"id": "/t/\\u0000\\u001b\\n\\u202e11"}',
    ],
)
async def test_a_reference_of_any_bytes_is_one_that_the_log_takes(answer: bytes, notice: Notice) -> None:
    async with saying(answer) as url:
        filed = await WebhookNotifier(url, repeatable=True).send(notice)

    assert filed.reference.isprintable(), ascii(filed.reference)
    assert filed.reference.startswith("/t/1")
    assert len(filed.reference) <= 200


async def test_a_receiver_that_is_down_is_worth_another_try(notice: Notice) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        notifier = WebhookNotifier(f"http://127.0.0.1:{unheard.getsockname()[1]}/s3cret")

        with pytest.raises(Retryable, match=r"webhook 127\.0\.0\.1 cannot be reached") as raised:
            await notifier.send(notice)

    assert "s3cret" not in str(raised.value)


async def hang(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    raise AssertionError(f"{request.path} was waited for")


async def hang_up(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


@pytest.mark.parametrize("answer", [hang, hang_up])
async def test_no_answer_is_sent_again_where_the_receiver_drops_repeats(
    receiver: Receiver, notice: Notice, answer: Answer
) -> None:
    receiver.answer = answer

    with pytest.raises(Retryable, match=r"webhook 127\.0\.0\.1 did not answer"):
        await WebhookNotifier(receiver.url, repeatable=True, timeout_s=0.3).send(notice)

    assert len(receiver.got) == 1


@pytest.mark.parametrize("answer", [hang, hang_up])
async def test_no_answer_is_never_sent_again_where_it_would_be_a_second_one(
    receiver: Receiver, notice: Notice, answer: Answer
) -> None:
    receiver.answer = answer

    with pytest.raises(InDoubt, match="the notice may have arrived all the same"):
        await WebhookNotifier(receiver.url, timeout_s=0.3).send(notice)

    assert len(receiver.got) == 1


async def accept_and_hang(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(status=201)
    await response.prepare(request)
    await response.write(b'{"id": "OPS')
    await asyncio.sleep(60)
    return response


async def test_a_yes_that_breaks_off_is_a_yes(receiver: Receiver, notice: Notice) -> None:
    receiver.answer = accept_and_hang

    assert await WebhookNotifier(receiver.url, timeout_s=0.5).send(notice) == Filed("inc-000007/ticket/1")


async def pour(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(status=200)
    await response.prepare(request)
    while True:
        await response.write(b"x" * 65_536)


async def test_an_endless_answer_is_not_read_to_its_end(receiver: Receiver, notice: Notice) -> None:
    receiver.answer = pour

    assert await WebhookNotifier(receiver.url, timeout_s=20.0).send(notice) == Filed("inc-000007/ticket/1")


async def test_an_address_that_is_none_is_said(notice: Notice) -> None:
    with pytest.raises(Permanent, match="the webhook's url is not one"):
        await WebhookNotifier("http://").send(notice)


NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [
        ("17", 17.0),
        ("0", 1.0),
        ("Tue, 14 Nov 2023 22:14:20 GMT", 60.0),
        ("Tue, 14 Nov 2023 22:00:00 GMT", 1.0),
        ("", 5.0),
        ("soon", 5.0),
        ("-3", 5.0),
        ("nan", 5.0),
        ("1e9", 5.0),
        ("٣", 5.0),
        ("9" * 500, MAX_RESET_S),
        ("Fri, 31 Dec 9999 23:59:59 GMT", MAX_RESET_S),
    ],
)
def test_a_receiver_says_when_to_come_again(header: str, wait_s: float) -> None:
    assert retry_after_s(header, now=NOW) == wait_s


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry-After": "17", "X-RateLimit-Reset": "1700000900"}, 17.0),
        ({"X-RateLimit-Reset": "1700000090"}, 90.0),
        ({"RateLimit-Reset": "1700000030"}, 30.0),
        ({"X-RateLimit-Reset": "2023-11-14T22:14:20Z"}, 60.0),
        ({"X-RateLimit-Reset": "2023-11-14T22:14:20"}, 60.0),
        ({"X-RateLimit-Reset": "1"}, 1.0),
        ({"X-RateLimit-Reset": "9" * 40}, MAX_RESET_S),
        ({"X-RateLimit-Reset": "soon"}, 5.0),
        ({"X-RateLimit-Reset": "٣"}, 5.0),
        ({}, 5.0),
    ],
)
def test_a_rate_limit_says_when_it_ends(headers: dict[str, str], wait: float) -> None:
    assert wait_s(headers, now=NOW) == wait


async def test_the_receiver_is_told_to_which_span_a_notice_belongs(receiver: Receiver, notice: Notice) -> None:
    await WebhookNotifier(receiver.url).send(notice)
    with current.within("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"):
        await WebhookNotifier(receiver.url).send(notice)

    assert [headers.get("traceparent", "") for headers in receiver.headers] == [
        "",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ]
