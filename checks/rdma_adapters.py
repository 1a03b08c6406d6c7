"""What checks over RDMA adapters have in common: which ports speak what, which are of one model, whose finding.

EFA's ports have neither of the link layers, so what is asked of InfiniBand or RoCE is never asked of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import TypeVar

from checks.finding import Action, Finding, Verdict
from checks.rdma import ACTIVE
from checks.readings import AdapterPort, RdmaAdapter, RdmaAdaptersReading

T = TypeVar("T", bound=Hashable)

IWARP = 4
"""Source: Linux include/rdma/ib_verbs.h, `RDMA_NODE_RNIC`: also Ethernet, but not RoCE."""

Owned = tuple[RdmaAdapter, AdapterPort]


def ports_of(reading: RdmaAdaptersReading) -> Iterator[Owned]:
    """Yield every port with its adapter."""
    return ((adapter, port) for adapter in reading.adapters for port in adapter.ports)


def is_infiniband(owned: Owned) -> bool:
    """Return whether a subnet manager rules the port."""
    return owned[1].link_layer == "InfiniBand"


def is_roce(owned: Owned) -> bool:
    """Return whether the port does RDMA over Ethernet by RoCE."""
    adapter, port = owned
    return port.link_layer == "Ethernet" and adapter.node_type != IWARP


def is_active(owned: Owned) -> bool:
    """Return whether the port carries traffic, on an adapter that is this host's own."""
    adapter, port = owned
    return port.state == ACTIVE and not adapter.is_virtual


def model(adapter: RdmaAdapter) -> str:
    """Return what adapters of one kind share: the board, else the chip; empty where the driver tells neither."""
    return adapter.board or adapter.chip


def usual(values: Iterable[T]) -> T | None:
    """Return the value that more than half have, `None` when none is so common."""
    counts = Counter(values)
    if not counts:
        return None
    value, count = counts.most_common(1)[0]
    return value if 2 * count > counts.total() else None


def about(
    check: str,
    adapter: RdmaAdapter,
    code: str,
    verdict: Verdict,
    action: Action,
    because: str,
    *,
    port: AdapterPort | None = None,
    evidence: Mapping[str, str] | None = None,
) -> Finding:
    """Return a finding about an adapter, or about one of its ports."""
    device = port.name if port else adapter.name
    return Finding(check, device, code, verdict, action, because, adapter.pci, adapter.node_guid, dict(evidence or {}))
