"""Sending to real receivers on loopback that hang, refuse, answer nonsense, take half, or are not there."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from cli.ports import free_port
from controller.tracing import otlp
from controller.tracing.choosing import headers_in
from controller.tracing.ids import span_id_of
from controller.tracing.sending import BATCH, MOST_WAITING, Receiver, Sender
from controller.tracing.span import Kind, Note, Service, Source, Span, Value
from tests.support.broker import until
from tests.support.certificates import write_certificate
from tests.support.otlp import PROTOBUF, Answering, never, receiving

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def span(number: int = 1) -> Span:
    span_id = span_id_of(TRACE, str(number))
    return Span("step cordon", Source(Service.CONTROLLER), TRACE, span_id, "", 1_790_000_000.0, 1_790_000_000.25)


def spans(count: int) -> list[Span]:
    return [span(number) for number in range(count)]


def sender_to(url: str, *, timeout_s: float = 5.0, ca_file: Path | None = None, headers: Path | None = None) -> Sender:
    def encode(some: object) -> bytes:
        return otlp.encode(some, "host-1")  # type: ignore[arg-type]

    receiver = Receiver(
        f"{url}/v1/traces", encode, otlp.rejected, lambda: headers_in(headers), ca_file, timeout_s=timeout_s
    )
    return Sender(receiver, every_s=0.0, retry_s=0.01)


@contextlib.asynccontextmanager
async def sending(sender: Sender) -> AsyncIterator[Sender]:
    """Run a sender; it has to end by itself once it is closed."""
    task = asyncio.create_task(sender.run())
    try:
        yield sender
        sender.close()
        async with asyncio.timeout(30):
            await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def says(status: int, *, body: bytes = b"", kind: str = PROTOBUF, headers: dict[str, str] | None = None) -> Answering:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=status, body=body, content_type=kind, headers=headers)

    return answer


def partly(rejected: int, because: str) -> bytes:
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = rejected
    answer.partial_success.error_message = because
    return bytes(answer.SerializeToString())


async def test_a_span_arrives_as_it_is() -> None:
    node = Source(Service.AGENT, "n1")
    attributes: dict[str, Value] = {
        "host.name": "n1",
        "fleetmend.attempt": 2,
        "fleetmend.clock_shift_s": 0.5,
        "ok": True,
        "none": "",
    }
    told = Span(
        "find gpu.xid",
        node,
        TRACE,
        span_id_of(TRACE, "a"),
        span_id_of(TRACE, "incident"),
        1.5,
        2.25,
        Kind.PRODUCER,
        attributes,
        (Note("step.delayed", 1.75, {"fleetmend.because": "x" * 5_000}),),
        "it broke",
    )
    async with receiving() as receiver, sending(sender_to(receiver.url)) as sender:
        sender.offer([told])
        await until(lambda: sender.sent)
    (seen,) = receiver.spans()
    assert (seen.name, seen.trace, seen.id, seen.parent) == (told.name, TRACE, told.span_id, told.parent_id)
    assert (seen.began, seen.ended, seen.span.kind) == (1_500_000_000, 2_250_000_000, 4)
    assert seen.resource == {
        "service.name": "fleetmend-agent",
        "service.namespace": "fleetmend",
        "service.instance.id": "n1",
        "host.name": "n1",
    }
    assert seen.attributes == {key: value for key, value in attributes.items() if key != "none"}
    assert (seen.span.status.code, seen.span.status.message) == (2, "it broke")
    (event,) = seen.span.events
    assert (event.name, event.time_unix_nano) == ("step.delayed", 1_750_000_000)
    assert len(event.attributes[0].value.string_value) == 1_024


async def test_many_go_in_batches_each_once() -> None:
    async with receiving() as receiver, sending(sender_to(receiver.url)) as sender:
        sender.offer(spans(2 * BATCH + 5))
    assert (len(receiver.requests), sender.sent, sender.dropped) == (3, 2 * BATCH + 5, 0)
    assert len({seen.id for seen in receiver.spans()}) == 2 * BATCH + 5


async def test_a_receiver_that_hangs_costs_its_batch_and_is_said_once() -> None:
    with structlog.testing.capture_logs() as logs:
        async with receiving(never) as receiver, sending(sender_to(receiver.url, timeout_s=0.05)) as sender:
            sender.offer(spans(BATCH + 1))
            await until(lambda: sender.dropped == BATCH + 1)
            assert "did not answer, and may have them" in sender.problem
    assert len(receiver.requests) == 2, "what may have arrived is not sent again"
    assert [entry["event"] for entry in logs] == ["traces.interrupted"]
    assert logs[0]["because"] == sender.problem


async def test_a_receiver_that_hangs_when_all_ends_does_not_hold_it_up() -> None:
    async with receiving(never) as receiver, sending(sender_to(receiver.url, timeout_s=0.2)) as sender:
        sender.offer([span()])
    assert (sender.sent, sender.dropped) == (0, 1)


@pytest.mark.parametrize(
    ("answer", "because"),
    [
        (says(401), "answered 401 Unauthorized"),
        (says(400, body=b"\xff"), "answered 400 Bad Request"),
        (says(302, headers={"Location": "http://127.0.0.1:1/"}), "answered 302 Found"),
        (says(200, body=b"<html>Log in</html>", kind="text/html"), "with text/html: that is no receiver of traces"),
        (says(200, body=b"\xff\xff\xff"), "with what is no answer to traces"),
    ],
)
async def test_what_will_not_be_taken_later_either_is_dropped(answer: Answering, because: str) -> None:
    with structlog.testing.capture_logs() as logs:
        async with receiving(answer) as receiver, sending(sender_to(receiver.url)) as sender:
            sender.offer(spans(BATCH + 1))
            await until(lambda: sender.dropped == BATCH + 1)
    assert because in sender.problem
    assert (sender.sent, len(receiver.requests), len(logs)) == (0, 2, 1)


async def test_what_is_taken_in_part_is_counted_and_said() -> None:
    answer = says(200, body=partly(2, "spans are too old"))
    async with receiving(answer) as receiver, sending(sender_to(receiver.url)) as sender:
        sender.offer(spans(5))
        await until(lambda: sender.sent == 3)
    assert sender.dropped == 2
    assert sender.problem.endswith("and did not take 2 of 5 spans: spans are too old")


async def test_a_receiver_that_claims_to_have_left_more_than_came_is_not_believed() -> None:
    async with receiving(says(200, body=partly(2**60, ""))) as receiver, sending(sender_to(receiver.url)) as sender:
        sender.offer(spans(5))
        await until(lambda: sender.dropped)
    assert (sender.sent, sender.dropped) == (0, 5)


async def test_a_word_of_warning_loses_nothing() -> None:
    answer = says(200, body=partly(0, "this version is old"))
    async with receiving(answer) as receiver, sending(sender_to(receiver.url)) as sender:
        sender.offer([span()])
        await until(lambda: sender.sent)
    assert (sender.dropped, "this version is old" in sender.problem) == (0, True)


async def test_a_receiver_that_is_busy_gets_the_same_again() -> None:
    answers = [says(503), says(429, headers={"Retry-After": "1"}), says(200)]

    async def answer(request: web.Request) -> web.StreamResponse:
        return await answers.pop(0)(request)

    began = time.monotonic()
    async with receiving(answer) as receiver, sending(sender_to(receiver.url)) as sender:
        sender.offer(spans(3))
        await until(lambda: sender.sent)
    assert time.monotonic() - began >= 1.0, "it said for how long it wants to be left alone"
    assert (sender.sent, sender.dropped, sender.problem) == (3, 0, "")
    assert len(receiver.requests) == 3
    assert receiver.requests[0] == receiver.requests[2]


async def test_a_receiver_that_comes_up_later_gets_what_waited() -> None:
    port = free_port()
    sender = sender_to(f"http://127.0.0.1:{port}")
    with structlog.testing.capture_logs() as logs:
        async with sending(sender):
            sender.offer(spans(3))
            await until(lambda: sender.problem)
            assert "cannot be reached" in sender.problem
            async with receiving(port=port) as receiver:
                await until(lambda: sender.sent)
            assert sender.problem == ""
    assert (len(receiver.spans()), sender.dropped) == (3, 0)
    assert [entry["event"] for entry in logs] == ["traces.interrupted", "traces.accepted"]


async def test_a_receiver_that_is_never_there_does_not_hold_up_the_end() -> None:
    async with sending(sender_to(f"http://127.0.0.1:{free_port()}")) as sender:
        sender.offer(spans(7))
    assert (sender.sent, sender.dropped, sender.waiting) == (0, 7, 0)


async def test_an_answer_that_breaks_off_is_none() -> None:
    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 100\r\n\r\nhalf")
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0, family=socket.AF_INET)
    async with server, sending(sender_to(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")) as sender:
        sender.offer(spans(2))
        await until(lambda: sender.dropped)
    assert (sender.sent, sender.dropped) == (0, 2)


async def test_spans_for_which_there_is_no_room_are_dropped_counted_and_said() -> None:
    sender = sender_to("http://127.0.0.1:1")
    with structlog.testing.capture_logs() as logs:
        sender.offer(spans(MOST_WAITING + 9))
    assert (sender.waiting, sender.dropped) == (MOST_WAITING, 9)
    assert len(logs) == 1
    assert "takes fewer spans than come" in logs[0]["because"]


async def test_a_token_that_is_changed_is_used_from_then_on(tmp_path: Path) -> None:
    file = tmp_path / "headers"
    file.write_text("# who we are\nAuthorization: Bearer one\n\nX-Scope-OrgID: gpu fleet\n")
    async with receiving() as receiver, sending(sender_to(receiver.url, headers=file)) as sender:
        sender.offer([span(1)])
        await until(lambda: sender.sent == 1)
        file.write_text("Authorization: Bearer two")
        sender.offer([span(2)])
        await until(lambda: sender.sent == 2)
    assert [each["Authorization"] for each in receiver.headers] == ["Bearer one", "Bearer two"]
    assert receiver.headers[0]["X-Scope-OrgID"] == "gpu fleet"


async def test_a_headers_file_that_is_gone_is_said_and_nothing_is_lost(tmp_path: Path) -> None:
    file = tmp_path / "headers"
    async with receiving() as receiver, sending(sender_to(receiver.url, headers=file)) as sender:
        sender.offer([span()])
        await until(lambda: sender.problem)
        assert "cannot be read" in sender.problem
        file.write_text("")
        await until(lambda: sender.sent)
    assert sender.dropped == 0


async def test_over_tls_the_receiver_must_prove_itself(tmp_path: Path) -> None:
    certificate, other = write_certificate(tmp_path, "receiver"), write_certificate(tmp_path, "other")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, tmp_path / "receiver.key")
    async with receiving(tls=tls) as receiver:
        async with sending(sender_to(receiver.url, ca_file=certificate)) as sender:
            sender.offer([span()])
            await until(lambda: sender.sent)
        async with sending(sender_to(receiver.url, ca_file=other)) as sender:
            sender.offer([span()])
            await until(lambda: sender.problem)
            assert "cannot be reached" in sender.problem
        assert (sender.sent, sender.dropped) == (0, 1)


def test_the_address_is_told_without_what_may_be_secret() -> None:
    receiver = Receiver("https://traces.example:4318/v1/traces?token=s3cret", bytes, otlp.rejected)  # type: ignore[arg-type]
    assert receiver.name == "https://traces.example:4318"
