"""Reads the sources of places at intervals and tells the cell what changed, node by node.

A source that cannot be read keeps what it said last, and its error is shown. A source that is no longer configured has
its word taken back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import structlog

from controller.cell import Cell
from controller.events import Event, Logged, NodePlaced, NodeSeen, PresenceChanged
from controller.policy.node_belief import NodeBelief
from controller.policy.places import claimed
from controller.topology.source import Map, Source, Unreadable

log = structlog.get_logger()

OURS = ("file", "netbox", "slurm", "kubernetes", "ib_fabric")
"""Sources that are read here; others speak for themselves."""

BATCH = 500
"""Nodes looked at in one go: a fleet that is placed anew must not keep a fault waiting."""

RETRY_S = 60.0
"""Source: our choice; whoever mends a source waits no longer to see it."""


@dataclass(slots=True)
class TopologyWatch:
    """Level-triggered: what is said of a node is compared with what is believed of it. Each source is read by itself.

    Attributes:
        errors: source → why it could not be read last, for those that could not.
    """

    cell: Cell
    sources: tuple[Source, ...]
    errors: dict[str, str] = field(default_factory=dict)
    _maps: dict[str, Map] = field(default_factory=dict)
    _stale: dict[str, None] = field(default_factory=dict)
    _any_stale: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Read and place until cancelled."""
        self._renew(self.cell.belief.nodes)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_placing(), name="topology-places")
            for source in self.sources:
                tasks.create_task(self._keep_reading(source), name=f"topology-{source.name}")

    def note(self, entry: Logged) -> None:
        """Look at a node again of which something new was said; called with every entry after its commit."""
        if isinstance(entry.event, NodeSeen | PresenceChanged):
            self._renew((entry.event.node,))

    async def read(self, source: Source) -> bool:
        """Read a source once; return whether it could be. One that cannot be read changes nothing that is believed."""
        try:
            said = await source.read()
        except Unreadable as error:
            self._note_error(source.name, str(error))
            return False
        except Exception as error:
            # A source that breaks must not take the controller along.
            self._note_error(source.name, f"reading it crashed: {type(error).__name__}: {error}")
            return False
        if self.errors.pop(source.name, ""):
            log.info("topology.readable", source=source.name)
        if said != self._maps.get(source.name):
            self._maps[source.name] = said
            self._renew(self.cell.belief.nodes)
        return True

    async def place(self) -> None:
        """Tell the cell where the nodes stand that were looked at anew."""
        self._any_stale.clear()
        stale, self._stale = list(self._stale), {}
        for begin in range(0, len(stale), BATCH):
            known = (self.cell.belief.nodes.get(name) for name in stale[begin : begin + BATCH])
            changes: list[Event] = [change for node in known if node is not None for change in self._changes(node)]
            if changes:
                await self.cell.submit(changes)
            else:
                await asyncio.sleep(0)

    def _renew(self, nodes: Iterable[str]) -> None:
        self._stale |= dict.fromkeys(nodes)
        self._any_stale.set()

    def _note_error(self, source: str, because: str) -> None:
        if self.errors.get(source) != because:
            log.warning("topology.unreadable", source=source, because=because)
        self.errors[source] = because

    def _changes(self, node: NodeBelief) -> Iterator[NodePlaced]:
        configured = {source.name for source in self.sources}
        for source in OURS:
            known = self._maps.get(source)
            if known is None and source in configured:
                continue
            places = claimed(known.places_of(node.name, node.facts.guids)) if known is not None else {}
            if places != node.claims.get(source, {}):
                yield NodePlaced(node.name, {kind: list(names) for kind, names in places.items()}, source)

    async def _keep_reading(self, source: Source) -> None:
        while True:
            is_read = await self.read(source)
            await asyncio.sleep(source.interval_s if is_read else min(source.interval_s, RETRY_S))

    async def _keep_placing(self) -> None:
        while True:
            await self._any_stale.wait()
            await self.place()
