"""Which orders this node has begun, and how they ended. Pure.

An order's id is in the ledger before anything is done about it, so that whatever happens afterwards it is never carried
out twice. Ids are kept for a day beyond their order's expiry; later ones are refused as expired anyway. Whatever the
clock does, and even when the ledger itself is lost, an order that may have been carried out before is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec

from wire.messages import OrderEnded, Refused
from wire.orders import Order, OrderAction

LEDGER: Final = "orders"
"""Key under which the outbox keeps it."""

KEPT_S: Final = 86_400.0
"""How long after its expiry an order is remembered, and answered."""

KEPT_EVIDENCE_BYTES: Final = 4_096
"""Evidence up to this size is told again with the outcome; larger evidence travelled with the first answer."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One order.

    Attributes:
        action: a word that need not be one of this version's: what a newer one wrote must not be forgotten by it.
        boot_id: the boot in which it was begun.
        started_at, ended_at: Unix time; `ended_at` is 0 while it is under way.
        outcome: as in OrderEnded; empty while it is under way.
    """

    order_id: str
    action: str
    boot_id: str
    started_at: float
    expires_at: float
    outcome: str = ""
    because: str = ""
    ended_at: float = 0.0
    evidence: dict[str, str] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        """Whether it was begun and has not ended."""
        return not self.outcome

    def ended(self) -> OrderEnded:
        """Return the message that says how it ended."""
        return OrderEnded(
            self.order_id, self.outcome, self.because, self.started_at, self.ended_at, evidence=self.evidence
        )


@dataclass(frozen=True, slots=True)
class Ledger:
    """Every order that is remembered, and the highest fencing token that was obeyed.

    Attributes:
        began_at: since when orders are remembered, Unix time; 0 when that is not known.
        forgotten_until: the latest expiry of an order that is not remembered any more.
    """

    entries: Mapping[str, Entry] = field(default_factory=dict)
    last_token: int = 0
    began_at: float = 0.0
    forgotten_until: float = 0.0


def check_new(ledger: Ledger, order: Order) -> None:
    """Return if an order that is not in the ledger was surely never begun.

    Raises:
        Refused: it is of a time that the ledger does not, or no longer, know of.
    """
    if order.issued_at < ledger.began_at:
        raise Refused(
            f"issued {ledger.began_at - order.issued_at:.0f} s before this node began to remember orders: "
            "it may have been carried out before"
        )
    if order.expires_at <= ledger.forgotten_until:
        raise Refused("it is as old as orders that are forgotten, and the clock was set back: it may be one of them")


def begin(ledger: Ledger, order: Order, *, boot_id: str, now: float) -> Ledger:
    """Return the ledger that holds the order as begun; what is long expired is forgotten."""
    kept = {order_id: entry for order_id, entry in ledger.entries.items() if entry.expires_at + KEPT_S > now}
    forgotten = [entry.expires_at for order_id, entry in ledger.entries.items() if order_id not in kept]
    kept[order.order_id] = Entry(order.order_id, order.action, boot_id, now, order.expires_at)
    return replace(
        ledger,
        entries=kept,
        last_token=max(ledger.last_token, order.fencing_token),
        forgotten_until=max(ledger.forgotten_until, *forgotten, 0.0),
    )


def refuse(ledger: Ledger, order: Order, because: str, *, boot_id: str, now: float) -> Ledger:
    """Return the ledger that holds the order as refused. Its fencing token counts for nothing."""
    begun = replace(begin(ledger, order, boot_id=boot_id, now=now), last_token=ledger.last_token)
    ended = OrderEnded(order.order_id, "refused", because, now, now)
    return end(begun, ended)


def end(ledger: Ledger, ended: OrderEnded) -> Ledger:
    """Return the ledger in which the order has ended so."""
    size = sum(len(name) + len(text) for name, text in ended.evidence.items())
    entry = replace(
        ledger.entries[ended.order_id],
        outcome=ended.outcome,
        because=ended.because,
        ended_at=ended.observed_at,
        evidence=ended.evidence if size <= KEPT_EVIDENCE_BYTES else {},
    )
    return replace(ledger, entries={**ledger.entries, ended.order_id: entry})


def interrupted(ledger: Ledger, *, boot_id: str, now: float) -> tuple[OrderEnded, ...]:
    """Return how the orders ended that were under way when the agent last stopped. None of them is run again."""
    return tuple(_after_stop(entry, boot_id, now) for entry in ledger.entries.values() if entry.is_open)


def dump(ledger: Ledger) -> dict[str, Any]:
    """Return the ledger as plain JSON values."""
    entries = [msgspec.to_builtins(entry) for entry in ledger.entries.values()]
    return {
        "last_token": ledger.last_token,
        "entries": entries,
        "began_at": ledger.began_at,
        "forgotten_until": ledger.forgotten_until,
    }


def load(state: Mapping[str, Any], *, now: float = 0.0) -> Ledger:
    """Return the ledger that `dump` wrote; one that begins now when nothing was written.

    Args:
        now: Unix seconds.

    Raises:
        ValueError: these are not the values of a ledger, with the place of the first that is wrong.
    """
    if not state:
        return Ledger(began_at=now)
    try:
        entries = msgspec.convert(state.get("entries", []), type=list[Entry])
        last_token = msgspec.convert(state.get("last_token", 0), type=int)
        began_at = msgspec.convert(state.get("began_at", 0.0), type=float)
        forgotten_until = msgspec.convert(state.get("forgotten_until", 0.0), type=float)
    except msgspec.ValidationError as error:
        raise ValueError(f"stored ledger of orders: {error}") from error
    return Ledger({entry.order_id: entry for entry in entries}, last_token, began_at, forgotten_until)


def _after_stop(entry: Entry, boot_id: str, now: float) -> OrderEnded:
    if entry.action == OrderAction.REBOOT and entry.boot_id != boot_id:
        because = f"the node rebooted: boot {entry.boot_id} became {boot_id}"
        return OrderEnded(entry.order_id, "done", because, entry.started_at, now)
    return OrderEnded(entry.order_id, "failed", "the agent stopped while carrying it out", entry.started_at, now)
