"""A receiver of traces as OpenTelemetry's own messages describe it, and the traces that it was sent."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

PROTOBUF = "application/x-protobuf"
Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Seen:
    """One span with the resource that it came under."""

    span: Span
    resource: dict[str, Any]
    attributes: dict[str, Any]

    @property
    def name(self) -> str:
        return self.span.name

    @property
    def service(self) -> str:
        """Who is shown."""
        return str(self.resource["service.name"])

    @property
    def id(self) -> str:
        return self.span.span_id.hex()

    @property
    def parent(self) -> str:
        return self.span.parent_span_id.hex()

    @property
    def trace(self) -> str:
        return self.span.trace_id.hex()

    @property
    def began(self) -> int:
        return self.span.start_time_unix_nano

    @property
    def ended(self) -> int:
        return self.span.end_time_unix_nano

    @property
    def notes(self) -> list[str]:
        """The names of its events."""
        return [event.name for event in self.span.events]


async def _taken(_request: web.Request) -> web.Response:
    return web.Response(body=ExportTraceServiceResponse().SerializeToString(), content_type=PROTOBUF)


@dataclass(slots=True)
class Receiver:
    """What arrived, and how it answers."""

    answer: Answering = _taken
    port: int = 0
    scheme: str = "http"
    requests: list[ExportTraceServiceRequest] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    async def take(self, request: web.Request) -> web.StreamResponse:
        """Read a request, which must be one, and answer it."""
        assert request.content_type == PROTOBUF
        body = await request.read()
        self.requests.append(ExportTraceServiceRequest.FromString(body))
        self.headers.append(dict(request.headers))
        return await self.answer(request)

    def spans(self) -> list[Seen]:
        """Return every span, in the order in which they came."""
        return list(self._seen())

    def _seen(self) -> Iterator[Seen]:
        for request in self.requests:
            for resource in request.resource_spans:
                of_resource = plain(resource.resource.attributes)
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        yield Seen(span, of_resource, plain(span.attributes))

    def trace(self, trace_id: str) -> list[Seen]:
        """Return the spans of one trace."""
        return [seen for seen in self.spans() if seen.trace == trace_id]


def plain(attributes: Any) -> dict[str, Any]:
    """Return attributes as they are written in Python."""
    return {each.key: _value(each) for each in attributes}


def _value(attribute: KeyValue) -> Any:
    return getattr(attribute.value, str(attribute.value.WhichOneof("value")))


def check_trace(spans: list[Seen]) -> None:
    """Fail unless it is one whole trace: one root, every parent there, nothing twice and nothing that ends too soon."""
    names = {seen.id: seen for seen in spans}
    assert len(names) == len(spans), f"told twice: {Counter(seen.name for seen in spans)}"
    assert len({seen.trace for seen in spans}) == 1
    assert [seen.name for seen in spans if not seen.parent] == ["incident"]
    for seen in spans:
        assert seen.began <= seen.ended, f"{seen.name} ends before it begins"
        assert not seen.parent or seen.parent in names, f"{seen.name} has a parent that is not there"
        assert not seen.parent or names[seen.parent].began <= seen.began, f"{seen.name} begins before its parent"


@contextlib.asynccontextmanager
async def receiving(
    answer: Answering = _taken, *, port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Receiver]:
    """Give a receiver that listens on loopback."""
    receiver = Receiver(answer, scheme="https" if tls else "http")
    app = web.Application(client_max_size=2**26)
    app.router.add_post("/v1/traces", receiver.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
    receiver.port = runner.addresses[0][1]
    try:
        yield receiver
    finally:
        await runner.cleanup()


async def never(_request: web.Request) -> web.Response:
    """Take a request and not answer it."""
    await asyncio.Event().wait()
    raise AssertionError("nobody wakes it")
