"""How the controller's key vouches for the log: heads, and the gaps that compaction leaves.

The signed bytes begin with a word that neither an order nor a grant begins with, and name the cell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from controller.store.chain import Gap, Head

HEAD: Final = b"fleetmend log head 1\n"
GAP: Final = b"fleetmend log gap 1\n"


class Seals(Protocol):
    """Vouches for gaps."""

    def sealed_gap(self, gap: Gap) -> Gap:
        """Return the gap, signed."""
        ...

    def why_no_gap(self, gap: Gap) -> str:
        """Return why nobody vouches for a gap, empty when a known key does."""
        ...


class Unsealed:
    """Vouches for nothing: what an audit of the log then says of every gap."""

    def sealed_gap(self, gap: Gap) -> Gap:
        """Return the gap as it is."""
        return gap

    def why_no_gap(self, gap: Gap) -> str:
        """Return that there is nothing to say against it."""
        assert not gap.signature
        return ""


@dataclass(frozen=True, slots=True)
class KnownKeys:
    """Who may have signed. `keys`: key id → the 32 bytes of an Ed25519 public key."""

    cell: str
    keys: Mapping[str, bytes]

    def why_no_head(self, head: Head) -> str:
        """Return why nobody vouches for a head, empty when a known key does."""
        return self._why_not(HEAD + _head_bytes(self.cell, head), head.key_id, head.signature)

    def why_no_gap(self, gap: Gap) -> str:
        """Return why nobody vouches for a gap, empty when a known key does."""
        return self._why_not(GAP + _gap_bytes(self.cell, gap), gap.key_id, gap.signature)

    def why_not(self, purpose: bytes, content: bytes, *, key_id: str, signature: bytes) -> str:
        """Return why nobody vouches for other content, empty when a known key does."""
        return self._why_not(purpose + content, key_id, signature)

    def _why_not(self, content: bytes, key_id: str, signature: bytes) -> str:
        if not signature:
            return "it is not signed"
        key = self.keys.get(key_id)
        if key is None:
            return f"it is signed by key {key_id[:40]!r}, which is not known here"
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(signature, content)
        except InvalidSignature:
            return f"its signature does not match key {key_id!r}"
        return ""


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs with the controller's key. `known`: that key and those before it."""

    key_id: str
    key: Ed25519PrivateKey
    known: KnownKeys

    def sealed_head(self, head: Head) -> Head:
        """Return the head, signed."""
        signature = self.key.sign(HEAD + _head_bytes(self.known.cell, head))
        return msgspec.structs.replace(head, key_id=self.key_id, signature=signature)

    def sealed_gap(self, gap: Gap) -> Gap:
        """Return the gap, signed."""
        signature = self.key.sign(GAP + _gap_bytes(self.known.cell, gap))
        return msgspec.structs.replace(gap, key_id=self.key_id, signature=signature)

    def why_no_gap(self, gap: Gap) -> str:
        """Return why nobody vouches for a gap, empty when a known key does."""
        return self.known.why_no_gap(gap)

    def sign(self, purpose: bytes, content: bytes) -> bytes:
        """Return the signature of other content."""
        return self.key.sign(purpose + content)


def _head_bytes(cell: str, head: Head) -> bytes:
    return msgspec.json.encode([cell, head.event_id, head.at, head.link.hex()])


def _gap_bytes(cell: str, gap: Gap) -> bytes:
    return msgspec.json.encode([cell, gap.first_id, gap.last_id, gap.at, gap.before.hex(), gap.after.hex()])
