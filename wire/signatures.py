"""How orders are signed, and how a signature is verified: Ed25519 over exactly the bytes that travel.

Apart from wire/orders.py because the library behind it costs an agent 7 MiB, which one that never gets an order need
not spend.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Mapping

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from wire.messages import Refused, SignedOrder
from wire.orders import Letterhead, Order, OrderAction, UnknownAction

_decoder = msgspec.json.Decoder(Order)
_head_decoder = msgspec.json.Decoder(Letterhead)


def sign(order: Order, *, key_id: str, key: Ed25519PrivateKey) -> SignedOrder:
    """Return the order as it travels."""
    payload = msgspec.json.encode(order)
    return SignedOrder(key_id, payload.decode(), base64.b64encode(key.sign(payload)).decode())


def verify(signed: SignedOrder, *, trusted: Mapping[str, bytes]) -> Order:
    """Return the order if a trusted key signed exactly these bytes.

    Args:
        trusted: key id → the 32 bytes of an Ed25519 public key.

    Raises:
        UnknownAction: it is one for a newer version.
        Refused: unknown key, wrong signature, or a payload that is no order.
    """
    key = trusted.get(signed.key_id)
    if key is None:
        raise Refused(f"key {signed.key_id!r} is not trusted here")
    try:
        signature = base64.b64decode(signed.signature, validate=True)
        Ed25519PublicKey.from_public_bytes(key).verify(signature, signed.payload.encode())
    except (InvalidSignature, ValueError) as error:
        raise Refused(f"signature does not match key {signed.key_id!r}") from error
    try:
        return _decoder.decode(signed.payload)
    except (msgspec.DecodeError, RecursionError) as error:
        _refuse_newer(signed.payload)
        raise Refused(f"signed payload is no order: {error}") from error


def _refuse_newer(payload: str) -> None:
    """Raise if the payload would be an order but for its action."""
    with contextlib.suppress(msgspec.DecodeError, RecursionError):
        head = _head_decoder.decode(payload)
        if head.action not in list(OrderAction):
            raise UnknownAction(head)
