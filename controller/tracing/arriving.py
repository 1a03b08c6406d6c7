"""The spans of an event's way from a node into the log: found or done, kept, published, delivered, taken in."""

from __future__ import annotations

from dataclasses import dataclass

from controller.events import FindingRaised, OrderEnded
from controller.tracing import words
from controller.tracing.moments import Arrival, Heard, Thought, Way, way_of
from controller.tracing.scene import BROKER, Piece, Scene
from controller.tracing.span import Kind, Service, Source, Span, Value
from wire.topics import Channel, template

MQTT = "mqtt"
"""`messaging.system`. Source: the conventions know no word for MQTT and let one be chosen."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """The spans of a way, the last of which is the controller's; `span_id` names that."""

    spans: tuple[Span, ...]
    span_id: str
    began: float


def finding_arrived(scene: Scene, heard: Heard, finding: FindingRaised) -> Arrived | None:
    """Return how a finding came; `None` for one that did not come as an event of a node's own."""
    if heard.arrival is None:
        return None
    way = way_of(heard.arrival, observed_at=finding.observed_at)
    key = f"finding/{heard.entry.event_id}"
    attributes = {**scene.node(finding.node), **words.hardware(finding.finding), **_clock(way)}
    agent = Source(Service.AGENT, finding.node)
    work = scene.span(
        Piece(
            f"find {finding.finding.check}",
            key,
            source=agent,
            attributes={**attributes, words.BECAUSE: finding.finding.because},
        ),
        scene.root,
        (way.observed, way.sent),
    )
    return _arrived(scene, heard, way, [work], key)


def order_ended(scene: Scene, heard: Heard, ended: OrderEnded, *, parent_id: str, asked_at: float) -> Arrived | None:
    """Return how a node carried an order out and said so.

    Args:
        parent_id: the span that sent the order.
        asked_at: when it was sent.
    """
    if heard.arrival is None:
        return None
    way = way_of(heard.arrival, observed_at=ended.observed_at, began_at=ended.started_at, not_before=asked_at)
    key = f"order/{heard.entry.event_id}"
    channel = Channel.ORDER
    delivered = scene.span(
        Piece(
            f"deliver {template(channel)}",
            f"{key}/delivered",
            source=BROKER,
            attributes=_messaging(scene, ended.node, channel, ended.order_id),
        ),
        parent_id,
        (asked_at, way.began),
    )
    verb = ended.order_id.split("/")[1] if ended.order_id.count("/") > 1 else "order"
    work = scene.span(
        Piece(
            f"carry out {verb}",
            key,
            source=Source(Service.AGENT, ended.node),
            kind=Kind.CONSUMER,
            attributes={
                **scene.node(ended.node),
                **_clock(way),
                words.MESSAGING_CONVERSATION_ID: ended.order_id,
                words.OUTCOME: ended.outcome,
                words.BECAUSE: ended.because,
            },
            problem=ended.because if ended.outcome == "failed" else "",
        ),
        delivered.span_id,
        (way.began, way.sent),
    )
    return _arrived(scene, heard, way, [delivered, work], key)


def _arrived(scene: Scene, heard: Heard, way: Way, work: list[Span], key: str) -> Arrived:
    """Add what every event goes through once it is observed."""
    arrival, done = heard.arrival, work[-1]
    assert arrival is not None
    node, agent = done.source.host, done.source
    spans = list(work)
    if arrival.recorded_at:
        kept = (way.observed, way.recorded)
        spans.append(
            scene.span(Piece("outbox", f"{key}/kept", source=agent, attributes=scene.node(node)), done.span_id, kept)
        )
    event, said = template(Channel.EVENT), _said(scene, node, arrival)
    publish = _operation("publish", "send")
    spans.append(
        scene.span(
            Piece(
                f"publish {event}",
                f"{key}/published",
                source=agent,
                kind=Kind.PRODUCER,
                attributes={**said, **publish, **({words.ATTEMPT: arrival.attempt} if arrival.attempt else {})},
            ),
            done.span_id,
            (way.recorded, way.sent),
        )
    )
    delivered = (way.sent, way.received)
    spans.append(
        scene.span(
            Piece(f"deliver {event}", f"{key}/received", source=BROKER, attributes=said), spans[-1].span_id, delivered
        )
    )
    taken_in = scene.span(
        Piece(
            f"process {event}",
            f"{key}/taken",
            kind=Kind.CONSUMER,
            attributes={**said, **_operation("process", "process")},
        ),
        spans[-1].span_id,
        (way.received, heard.thought.committed),
    )
    return Arrived((*spans, taken_in), taken_in.span_id, way.began)


def thought_spans(scene: Scene, thought: Thought, key: str, parent_id: str, because: str) -> list[Span]:
    """Return how long was decided, and how long it took until that was in the log."""
    decided, stored = (thought.began, thought.decided), (thought.decided, thought.committed)
    return [
        scene.span(Piece("decide", f"{key}/decided", attributes={words.BECAUSE: because}), parent_id, decided),
        scene.span(Piece("store", f"{key}/stored"), parent_id, stored),
    ]


def published(scene: Scene, node: str, order_id: str) -> dict[str, Value]:
    """Return what is said of an order on its way to a node."""
    return {**_messaging(scene, node, Channel.ORDER, order_id), **_operation("publish", "send")}


def _said(scene: Scene, node: str, arrival: Arrival) -> dict[str, Value]:
    return {
        **scene.node(node),
        words.MESSAGING_SYSTEM: MQTT,
        words.MESSAGING_DESTINATION_NAME: arrival.topic,
        words.MESSAGING_DESTINATION_TEMPLATE: template(Channel.EVENT),
        words.MESSAGING_MESSAGE_ID: arrival.message_id,
    }


def _messaging(scene: Scene, node: str, channel: Channel, order_id: str) -> dict[str, Value]:
    return {
        **scene.node(node),
        words.MESSAGING_SYSTEM: MQTT,
        words.MESSAGING_DESTINATION_TEMPLATE: template(channel),
        words.MESSAGING_CONVERSATION_ID: order_id,
    }


def _operation(name: str, kind: str) -> dict[str, Value]:
    return {words.MESSAGING_OPERATION_NAME: name, words.MESSAGING_OPERATION_TYPE: kind}


def _clock(way: Way) -> dict[str, Value]:
    return {words.CLOCK_SHIFT_S: way.shift_s} if way.shift_s else {}
