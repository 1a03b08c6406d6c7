"""When things happened, as far as that is known, and how a node's clock is laid beside the controller's.

A node and its controller have two clocks. A span that begins on one and ends on the other could end before it began:
the node's times are moved together, by as little as makes the order true that must be true.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from controller.events import Logged

LONGEST_S: Final = 30 * 86_400.0
"""A node that says it saw something longer ago than this has no clock. Source: our choice; an outbox is full before."""


class Thought(msgspec.Struct, frozen=True):
    """When the cell thought about one batch, Unix seconds: begun, decided, and committed."""

    began: float = 0.0
    decided: float = 0.0
    committed: float = 0.0


class Arrival(msgspec.Struct, frozen=True):
    """How an event came from its node.

    Attributes:
        message_id: what names it for ever, `node/boot/number`.
        recorded_at, sent_at: on the node's clock; `recorded_at` is 0 when it is not known.
        received_at: on the controller's clock.
        attempt: how often it was sent, 0 when that is not known.
    """

    topic: str
    message_id: str
    recorded_at: float
    sent_at: float
    received_at: float
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Heard:
    """One committed entry, the thought it was part of, and how it came if it came from a node."""

    entry: Logged
    thought: Thought
    arrival: Arrival | None = None


@dataclass(frozen=True, slots=True)
class Way:
    """The times of one event on the controller's clock, each at or after the one before.

    Attributes:
        began: when what it tells began; of a finding that is when it was observed.
        recorded: when it was safe on the node's disk; `observed` when that is not known.
        shift_s: by how much the node's times were moved.
    """

    began: float
    observed: float
    recorded: float
    sent: float
    received: float
    shift_s: float = 0.0


def way_of(arrival: Arrival, *, observed_at: float, began_at: float | None = None, not_before: float = 0.0) -> Way:
    """Return how an event came, in an order that can be.

    Args:
        observed_at, began_at: on the node's clock.
        not_before: on the controller's clock, when the node was asked for it.
    """
    received = arrival.received_at
    first = observed_at if began_at is None else began_at
    floor = max(not_before, received - LONGEST_S)
    shift_s = min(max(0.0, not_before - first if not_before else 0.0), received - arrival.sent_at)
    sent = _between(arrival.sent_at + shift_s, floor, received)
    observed = _between(observed_at + shift_s, floor, sent) if observed_at + shift_s >= received - LONGEST_S else sent
    began = _between(first + shift_s, floor, observed) if first + shift_s >= received - LONGEST_S else observed
    recorded = _between(arrival.recorded_at + shift_s, observed, sent) if arrival.recorded_at else observed
    return Way(began, observed, recorded, sent, received, shift_s)


def _between(at: float, least: float, most: float) -> float:
    return max(min(at, most), min(least, most))
