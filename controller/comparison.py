"""Compares the nodes' measures while they come, and puts only what it finds into the log.

Measures come with every level, a minute apart: 10,000 nodes would write 14 million of them a day. They stay outside the
log, and so does what is kept of them; a finding that began or ended is an event like any other, so a log replays to the
same decisions. After a start of the controller nobody stands out for the first four minutes, and what stood stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from checks.finding import FindingKey
from controller import events
from controller.cell import Cell
from controller.policy.peers import CHECK, DEVICE, Group, Judged, Peers
from controller.policy.places import POOL
from wire.messages import Status

COMPARE_EVERY_S = 60.0
"""As often as levels come."""


@dataclass(slots=True)
class Comparison:
    """Feeds measures to the policy of peers and its findings to the cell."""

    cell: Cell
    clock: Callable[[], float]
    peers: Peers = field(default_factory=Peers)

    def heard(self, node: str, level: Status) -> None:
        """Take the measures of a node's level, with its arrival as their time: nodes' clocks differ."""
        if level.measures:
            self.peers.tell(node, self._group(node, level), level.measures, self.clock())

    def _group(self, node: str, level: Status) -> Group:
        known = self.cell.belief.nodes.get(node)
        jobs = ",".join(sorted(known.jobs)) if known is not None else ""
        kind = "simulated " if level.facts.simulated else ""
        role = ",".join(known.places.get(POOL, ())) if known is not None else ""
        return Group(f"{kind}{level.facts.gpu_count} × {level.facts.gpu_model}", role, jobs)

    async def run(self) -> None:
        """Compare until cancelled."""
        while True:
            await asyncio.sleep(COMPARE_EVERY_S)
            await self.compare()

    async def compare(self) -> None:
        """Compare every group once; other work goes on between two parts of it."""
        for name, group in self.peers.comparisons():
            is_found = partial(self._stands, FindingKey(CHECK, DEVICE, name))
            for judged in self.peers.compare((name, group), self.clock(), is_found=is_found):
                edges = [event for each in judged for event in self._edges(each)]
                if edges:
                    await self.cell.submit(edges)
                await asyncio.sleep(0)

    def _stands(self, key: FindingKey, node: str) -> bool:
        known = self.cell.belief.nodes.get(node)
        return known is not None and key in known.findings

    def _edges(self, judged: Judged) -> Iterator[events.Event]:
        """Yield what changed for a node: a level that only repeats itself is no event."""
        node, now = judged.node, self.clock()
        key = FindingKey(CHECK, DEVICE, judged.measure.name)
        stands = self._stands(key, node)
        if judged.stands_out and not stands:
            boot_id = self.cell.belief.nodes[node].boot_id if node in self.cell.belief.nodes else ""
            yield events.FindingRaised(node, boot_id, judged.finding(), now, origin="controller")
        elif not judged.stands_out and stands:
            yield events.FindingCleared(node, key, judged.over(), now, origin="controller")
