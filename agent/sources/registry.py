"""The explicit list of all polled sources: a new source is one new file and one line here.

The kernel log is the one source that is followed and not polled (agent/sources/kernel_log.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from agent.sources import (
    amd,
    ascend,
    ascend_network,
    bmc,
    cable,
    devlink,
    disks,
    gpfs,
    host,
    inventory,
    lldp,
    lustre,
    mounts,
    nfs,
    nvml,
    platform,
    rdma,
    rdma_adapters,
    rdma_congestion,
    rdma_counters,
    services,
    smart,
    time,
)
from agent.sources.source import Declaration, PolledSource, Surroundings, Timing

SOURCES: Final[tuple[Declaration, ...]] = (
    nvml.SOURCE,
    rdma.SOURCE,
    rdma_counters.SOURCE,
    rdma_adapters.SOURCE,
    rdma_congestion.SOURCE,
    cable.SOURCE,
    devlink.SOURCE,
    lldp.SOURCE,
    host.SOURCE,
    platform.SOURCE,
    mounts.SOURCE,
    nfs.SOURCE,
    lustre.SOURCE,
    gpfs.SOURCE,
    disks.SOURCE,
    smart.SOURCE,
    time.SOURCE,
    services.SOURCE,
    bmc.SOURCE,
    ascend.SOURCE,
    ascend_network.SOURCE,
    amd.SOURCE,
    inventory.SOURCE,
)
"""Every source, in the order in which documentation shows them."""

Make = Callable[[Surroundings, Timing], PolledSource]


def make_sources(
    surroundings: Surroundings, timings: Mapping[str, Timing], *, others: Mapping[str, Make] | None = None
) -> tuple[PolledSource, ...]:
    """Return each source that has a timing, with nothing running.

    Args:
        timings: name → when it is read; a source that is switched off has none.
        others: name → what makes a source in place of the declared one.
    """
    makers = {source.name: source.make for source in SOURCES} | dict(others or {})
    return tuple(makers[name](surroundings, timing) for name, timing in timings.items())
