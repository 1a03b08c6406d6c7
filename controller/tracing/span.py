"""One span, as data. Nothing here knows how it travels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

Value = str | int | float | bool


class Service(StrEnum):
    """Whose work a span shows: `service.name` of its resource."""

    AGENT = "fleetmend-agent"
    BROKER = "fleetmend-broker"
    CONTROLLER = "fleetmend-controller"
    SCHEDULER = "fleetmend-scheduler"


class Kind(StrEnum):
    """What a span is to those beside it. Source: opentelemetry.proto.trace.v1.Span.SpanKind."""

    INTERNAL = "SPAN_KIND_INTERNAL"
    SERVER = "SPAN_KIND_SERVER"
    CLIENT = "SPAN_KIND_CLIENT"
    PRODUCER = "SPAN_KIND_PRODUCER"
    CONSUMER = "SPAN_KIND_CONSUMER"


@dataclass(frozen=True, slots=True)
class Source:
    """Who is shown: one resource.

    Attributes:
        host: the node, for an agent.
        version: of its program, empty when it is not known.
    """

    service: Service
    host: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """A moment within a span. `at`: Unix seconds."""

    name: str
    at: float
    attributes: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Span:
    """One span.

    Attributes:
        trace_id, span_id, parent_id: in hexadecimal; no parent is the empty string.
        began, ended: Unix seconds on the controller's clock, as far as that can be told.
        problem: why it did not go well, empty when it did.
    """

    name: str
    source: Source
    trace_id: str
    span_id: str
    parent_id: str
    began: float
    ended: float
    kind: Kind = Kind.INTERNAL
    attributes: Mapping[str, Value] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    problem: str = ""
