"""Spans as OTLP speaks of them. The one file that imports OpenTelemetry, which comes with the extra `traces`.

Its messages are filled in here and not by the SDK: the SDK makes spans of what happens now in this process, with ids of
its own choice, and these happened elsewhere, have ended, and have ids that come from the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Final

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # it comes without types
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Status
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage

from controller.tracing import words
from controller.tracing.sending import NotOtlp, Rejected
from controller.tracing.span import Note, Service, Source, Span, Value

NAMESPACE: Final = "fleetmend"
MOST_CHARACTERS: Final = 1_024
"""Longer text is cut: what nodes and adapters say has no bound of its own. Source: our choice."""


def encode(spans: Sequence[Span], instance: str) -> bytes:
    """Return a request that carries the spans. `instance`: which controller of the cell this is."""
    by_source: dict[Source, list[Span]] = {}
    for span in spans:
        by_source.setdefault(span.source, []).append(span)
    resources = [_resource(source, of_it, instance) for source, of_it in by_source.items()]
    return bytes(ExportTraceServiceRequest(resource_spans=resources).SerializeToString())


def rejected(body: bytes) -> Rejected:
    """Return what a receiver that answered 200 did not take.

    Raises:
        NotOtlp: that is no answer to a request with spans.
    """
    try:
        answer = ExportTraceServiceResponse.FromString(body)
    except DecodeError as error:
        raise NotOtlp(str(error)) from error
    said = answer.partial_success
    return Rejected(max(0, said.rejected_spans), said.error_message)


def _resource(source: Source, spans: Sequence[Span], instance: str) -> ResourceSpans:
    found = ResourceSpans(scope_spans=[ScopeSpans(spans=map(_span, spans))])
    attributes: dict[str, Value] = {words.SERVICE_NAME: str(source.service), words.SERVICE_NAMESPACE: NAMESPACE}
    if source.host:
        attributes |= {words.SERVICE_INSTANCE_ID: source.host, words.HOST_NAME: source.host}
    if source.service is Service.CONTROLLER:
        attributes |= {words.SERVICE_INSTANCE_ID: instance, words.SERVICE_VERSION: version(NAMESPACE)}
    found.resource.attributes.extend(_attributes(attributes))
    found.scope_spans[0].scope.name = NAMESPACE
    return found


def _span(span: Span) -> SpanMessage:
    return SpanMessage(
        trace_id=bytes.fromhex(span.trace_id),
        span_id=bytes.fromhex(span.span_id),
        parent_span_id=bytes.fromhex(span.parent_id),
        name=span.name,
        kind=SpanMessage.SpanKind.Value(span.kind),
        start_time_unix_nano=_nanoseconds(span.began),
        end_time_unix_nano=_nanoseconds(span.ended),
        attributes=_attributes(span.attributes),
        events=map(_event, span.notes),
        status=Status(code=Status.STATUS_CODE_ERROR, message=_cut(span.problem)) if span.problem else None,
    )


def _event(note: Note) -> SpanMessage.Event:
    return SpanMessage.Event(
        name=note.name, time_unix_nano=_nanoseconds(note.at), attributes=_attributes(note.attributes)
    )


def _attributes(attributes: Mapping[str, Value]) -> Iterable[KeyValue]:
    return (KeyValue(key=key, value=_value(value)) for key, value in attributes.items() if value != "")


def _value(value: Value) -> AnyValue:
    match value:
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case str():
            return AnyValue(string_value=_cut(value))


def _cut(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 1]}…"


def _nanoseconds(at: float) -> int:
    return max(0, round(at * 1_000_000)) * 1_000
