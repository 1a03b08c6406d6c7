"""Orders to nodes: what may be asked, how it is signed, and when a node must refuse.

The set of actions is closed. A node obeys only an order that is signed by a key it trusts, addressed to it, inside its
time window, never seen before, and on the node's own allow-list.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from wire.messages import Refused, SignedOrder


class OrderAction(StrEnum):
    """Everything a node can be asked to do to itself."""

    RUN_CHECKS = "run_checks"
    COLLECT = "collect"
    RESTART_SERVICE = "restart_service"
    RESET_GPU = "reset_gpu"
    REBOOT = "reboot"
    INJECT_FAULT = "inject_fault"


@dataclass(frozen=True, slots=True)
class Order:
    """One order.

    Attributes:
        order_id: unique for ever; the controller uses (incident, step, attempt), which makes an order at most once.
        device: what it is about, empty for the node as a whole.
        parameters: action-specific, e.g. `service`, `fault`, `checks` (comma-separated).
        issued_at, expires_at: Unix time; outside of them the order is refused.
        fencing_token: the leadership term of the controller that gave it; a lower one than seen before is refused.
    """

    order_id: str
    node: str
    action: OrderAction
    issued_at: float
    expires_at: float
    fencing_token: int
    device: str = ""
    incident_id: str = ""
    parameters: dict[str, str] = field(default_factory=dict)


_decoder = msgspec.json.Decoder(Order)


def sign(order: Order, *, key_id: str, key: Ed25519PrivateKey) -> SignedOrder:
    """Return the order as it travels."""
    payload = msgspec.json.encode(order)
    return SignedOrder(key_id, payload.decode(), base64.b64encode(key.sign(payload)).decode())


def verify(signed: SignedOrder, *, trusted: Mapping[str, Ed25519PublicKey]) -> Order:
    """Return the order if a trusted key signed exactly these bytes.

    Raises:
        Refused: unknown key, wrong signature, or a payload that is no order.
    """
    key = trusted.get(signed.key_id)
    if key is None:
        raise Refused(f"key {signed.key_id!r} is not trusted here")
    try:
        key.verify(base64.b64decode(signed.signature, validate=True), signed.payload.encode())
    except (InvalidSignature, ValueError) as error:
        raise Refused(f"signature does not match key {signed.key_id!r}") from error
    try:
        return _decoder.decode(signed.payload)
    except msgspec.DecodeError as error:
        raise Refused(f"signed payload is no order: {error}") from error


MAX_CLOCK_SKEW_S = 30.0
"""How far ahead of the node's clock an order may have been issued."""


def check_acceptable(order: Order, *, node: str, now: float, allowed: frozenset[OrderAction], last_token: int) -> None:
    """Return if this node may carry out this order now; whether it was seen before is the caller's to know.

    Raises:
        Refused: wrong addressee, too early, too late, overtaken by a newer controller, or not on the allow-list.
    """
    if order.node != node:
        raise Refused(f"addressed to {order.node!r}, this is {node!r}")
    if order.issued_at > now + MAX_CLOCK_SKEW_S:
        raise Refused(f"issued {order.issued_at - now:.0f} s in the future; clocks differ too much")
    if order.expires_at <= now:
        raise Refused(f"expired {now - order.expires_at:.0f} s ago")
    if order.fencing_token < last_token:
        raise Refused(f"fencing token {order.fencing_token} is older than {last_token}: another controller leads")
    if order.action not in allowed:
        raise Refused(f"{order.action} is not on this node's allow-list ({', '.join(sorted(allowed)) or 'empty'})")
