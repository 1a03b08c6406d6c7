"""What places of a node are called, for the node that says where it stands and the controller that believes it."""

from __future__ import annotations

import re
from typing import Final

POOL: Final = "pool"
RACK: Final = "rack"
LEAF: Final = "leaf"
NVLINK_DOMAIN: Final = "nvlink_domain"
"""The kinds that the policy knows; a source may name others, e.g. `site`, `row`, `pdu`."""

UPLINK: Final = "uplink"
"""A switch of an Ethernet port, on a node whose RDMA ports hang on other switches, which are its leaves."""

SKU: Final = "sku"
DRIVER: Final = "driver"
JOB: Final = "job"
DERIVED: Final = frozenset({SKU, DRIVER, JOB})
"""Kinds that follow from what a node is and does: no source may name them."""

MAX_NAME: Final = 253
_KIND = re.compile(r"[a-z][a-z0-9_]{0,31}", re.ASCII)


def why_no_kind(kind: str) -> str:
    """Return why nobody may name places of this kind, empty when one may."""
    if kind in DERIVED:
        return f"{kind!r} cannot be set: it follows from what the node is and does"
    return "" if _KIND.fullmatch(kind) else f"{kind!r} is not a kind of place: lower-case letters, digits and '_'"


def why_no_place(name: str) -> str:
    """Return why a place cannot be called so, empty when it can."""
    if not name or name != name.strip():
        return f"{name!r} is not a name: it is empty, or begins or ends with a space"
    return "" if len(name) <= MAX_NAME and name.isprintable() else f"{name[:40]!r} is not a name that can be shown"
