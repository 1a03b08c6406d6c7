"""Where a node stands: its racks, switches and pools, and what it is made of and works on, as kinds of places."""

from __future__ import annotations

from typing import Protocol

from wire.messages import NodeFacts

Places = dict[str, tuple[str, ...]]


class Placed(Protocol):
    """What of a node decides where it stands."""

    places: Places
    facts: NodeFacts
    jobs: tuple[str, ...]


def places_of(node: Placed) -> Places:
    """Return kind → names: what topology says, and the node's SKU, driver and jobs."""
    derived = {"sku": node.facts.gpu_model, "driver": node.facts.driver_version}
    known = {kind: (name,) for kind, name in derived.items() if name}
    return {**node.places, **known, **({"job": node.jobs} if node.jobs else {})}
