"""How the token of a grant is signed and verified: Ed25519 by the controller's own key, so that a restarted controller,
or the one that takes over, believes what the one before it gave out.

The signed bytes begin with a word that no order begins with: a token is never an order, nor an order a token.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from wire.evidence import UPLOAD_ID, Claims
from wire.messages import Refused
from wire.topics import NAME

PURPOSE: Final = b"fleetmend evidence grant 1\n"
MAX_TOKEN: Final = 2_048
"""Characters; a longer one is refused unread. Source: our choice; one takes some 400."""

_decoder = msgspec.json.Decoder(Claims)


def upload_of(order_id: str, node: str, *, key: Ed25519PrivateKey) -> str:
    """Return the name of the bundle that an order asks for: always the same for an order, and not to be guessed."""
    seed = key.private_bytes_raw()
    return hmac.new(seed, PURPOSE + f"{node}\n{order_id}".encode(), hashlib.sha256).hexdigest()[:32]


def sign_claims(claims: Claims, *, key: Ed25519PrivateKey) -> str:
    """Return the token as it travels: claims and signature in base64url, with a dot between them."""
    payload = msgspec.json.encode(claims)
    return f"{_text(payload)}.{_text(key.sign(PURPOSE + payload))}"


def verify_token(token: str, *, keys: Sequence[Ed25519PublicKey], now: float) -> Claims:
    """Return what a token claims if one of these keys signed it and it is still good.

    Raises:
        Refused: too long, malformed, signed by none of them, or expired.
    """
    payload, dot, signature = token.partition(".")
    if len(token) > MAX_TOKEN or not dot:
        raise Refused("that is no grant")
    try:
        signed, seal = _bytes(payload), _bytes(signature)
        if not any(_has_signed(key, seal, PURPOSE + signed) for key in keys):
            raise Refused("this controller did not sign that grant")
        claims = _decoder.decode(signed)
    except (ValueError, msgspec.MsgspecError, RecursionError) as error:
        raise Refused("this controller did not sign that grant") from error
    if not UPLOAD_ID.fullmatch(claims.upload) or not NAME.fullmatch(claims.node):
        raise Refused("that grant names no upload of a node")
    if claims.expires_at <= now:
        raise Refused(f"the grant expired {now - claims.expires_at:.0f} s ago")
    return claims


def _has_signed(key: Ed25519PublicKey, signature: bytes, content: bytes) -> bool:
    try:
        key.verify(signature, content)
    except InvalidSignature:
        return False
    return True


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
