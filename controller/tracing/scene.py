"""What all spans of one incident have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.tracing import words
from controller.tracing.ids import span_id_of
from controller.tracing.span import Kind, Note, Service, Source, Span, Value

CONTROLLER = Source(Service.CONTROLLER)
BROKER = Source(Service.BROKER)
SCHEDULER = Source(Service.SCHEDULER)


@dataclass(frozen=True, slots=True)
class Piece:
    """What a span says by itself, wherever it belongs.

    Attributes:
        key: which one of the trace it is.
        problem: why it did not go well, empty when it did.
    """

    name: str
    key: str
    source: Source = CONTROLLER
    kind: Kind = Kind.INTERNAL
    attributes: Mapping[str, Value] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Scene:
    """Where the spans of an incident belong.

    Attributes:
        on_kubernetes: Kubernetes places work on the nodes, and calls them by the same names.
    """

    trace_id: str
    incident_id: str
    cell: str
    on_kubernetes: bool = False
    _common: Mapping[str, Value] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_common", {words.CELL: self.cell, words.INCIDENT: self.incident_id})

    @property
    def root(self) -> str:
        """The id of the span of the whole incident."""
        return self.id_of("incident")

    def id_of(self, key: str) -> str:
        """Return the id of one span of this trace."""
        return span_id_of(self.trace_id, key)

    def node(self, name: str) -> dict[str, Value]:
        """Return how a node is called."""
        if not name:
            return {}
        named: dict[str, Value] = {words.HOST_NAME: name}
        return named | {words.K8S_NODE_NAME: name} if self.on_kubernetes else named

    def span(self, piece: Piece, parent_id: str, during: tuple[float, float]) -> Span:
        """Return a span of this trace. It never ends before it begins, whatever was done to the clock meanwhile.

        Args:
            during: when it began and ended, Unix seconds.
        """
        began, ended = during
        return Span(
            piece.name,
            piece.source,
            self.trace_id,
            self.id_of(piece.key),
            parent_id,
            began,
            max(began, ended),
            piece.kind,
            {**self._common, **piece.attributes},
            piece.notes,
            piece.problem,
        )
