"""An order that looks random and is not: sorted by a digest, so that a sweep can be computed again from its seed."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b


def shuffled(names: Iterable[str], *salt: object) -> list[str]:
    """Return the names in an order that depends on the salt alone, not on the order in which they came."""
    key = blake2b("/".join(map(str, salt)).encode()).digest()
    return sorted(names, key=lambda name: (blake2b(name.encode(), digest_size=8, key=key).digest(), name))
