"""The name of the order that stands behind a lease: one for each node, so that it is carried out once."""

from __future__ import annotations

PREFIX = "bench"
STOP_PREFIX = "bench-stop"


def order_id(lease_id: str, node: str) -> str:
    """Return the name of the order for a node under a lease."""
    return f"{PREFIX}/{lease_id}/{node}"


def stop_id(lease_id: str, node: str) -> str:
    """Return the name of the order that takes a lease back from a node."""
    return f"{STOP_PREFIX}/{lease_id}/{node}"


def lease_of_order(order: str) -> str:
    """Return the lease that an order is under, empty for an order of another kind."""
    prefix, _, rest = order.partition("/")
    return rest.partition("/")[0] if prefix == PREFIX else ""
