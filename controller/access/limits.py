"""How often one client may ask: a bucket of requests each, in bounded memory whoever comes."""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from controller.api.problems import Problem

MOST_CLIENTS: Final = 10_000
"""Whose buckets are kept; who has not asked for longest is forgotten. Source: our choice, some 3 MB."""

IPV6_NETWORK: Final = 64
"""Bits of an address that stand for a client. Source: RFC 4291 2.5.1: one host may use all the others."""


@dataclass(slots=True)
class Limits:
    """Counts requests.

    Attributes:
        per_s: a client may ask so often for ever, and `burst` times at once after a while of asking less.
        clock: seconds that only go forward.
    """

    per_s: float
    burst: float
    clock: Callable[[], float]
    most_clients: int = MOST_CLIENTS
    _buckets: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)

    def take(self, client: str) -> None:
        """Count a request of this client.

        Raises:
            Problem: 429, it was one too many.
        """
        now = self.clock()
        left, since = self._buckets.pop(client, (self.burst, now))
        left = min(self.burst, left + (now - since) * self.per_s)
        self._buckets[client] = (max(0.0, left - 1.0), now)
        if len(self._buckets) > self.most_clients:
            self._buckets.popitem(last=False)
        if left < 1.0:
            after_s = math.ceil((1.0 - left) / self.per_s)
            raise Problem(429, "this client asks too often", f"again after {after_s} s", after_s=after_s)


def network_of(address: str) -> str:
    """Return what stands for a client of which this is the address."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(found, ipaddress.IPv6Address):
        return str(found.ipv4_mapped or ipaddress.ip_network((found, IPV6_NETWORK), strict=False))
    return str(found)
