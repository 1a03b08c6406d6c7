"""The fleet map, kept between those who ask for it: what nobody touched since is not looked at again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from controller.api import fleet_map
from controller.api.fleet_map import Row
from controller.api.map_shapes import FleetMap, Standing
from controller.api.moments import iso
from controller.changes import Changes
from controller.policy.belief import Belief


@dataclass(slots=True)
class MapKeeper:
    """Keeps the newest map of one cell."""

    changes: Changes
    _belief: Belief | None = None
    _through: int = -1
    _names: list[str] = field(default_factory=list)
    _rows: list[Row] = field(default_factory=list)
    _positions: dict[str, int] = field(default_factory=dict)
    _places: dict[str, Standing] = field(default_factory=dict)
    _encoded: bytes = b""
    _encoded_through: int = -1

    def encoded(self, belief: Belief, now: float) -> msgspec.Raw:
        """Return the map as JSON."""
        as_it_was = self._belief is belief and self._encoded_through == belief.last_event_id
        if not (as_it_was and len(belief.nodes) == len(self._names)):
            self._encoded = msgspec.json.encode(self.current(belief, now))
            self._encoded_through = self._through
        return msgspec.Raw(self._encoded)

    def current(self, belief: Belief, now: float) -> FleetMap:
        """Return the map as it is now."""
        touched = self.changes.since(self._through, belief) if self._belief is belief else None
        if touched is None or touched.moved or len(belief.nodes) != len(self._names):
            self._look_at_all(belief)
        else:
            self._look_at(belief, touched.nodes)
            self._through = touched.through
        return fleet_map.as_columns(self._through, iso(now), self._names, self._rows, self._places)

    def _look_at_all(self, belief: Belief) -> None:
        self._belief, self._through = belief, self.changes.head(belief)
        nodes = fleet_map.in_order(belief)
        self._names = [node.name for node in nodes]
        self._positions = {name: position for position, name in enumerate(self._names)}
        self._rows = [fleet_map.node_row(belief, node) for node in nodes]
        self._places = fleet_map.standings(nodes)

    def _look_at(self, belief: Belief, names: Sequence[str]) -> None:
        for row in fleet_map.rows_of(belief, names):
            self._rows[self._positions[row[0]]] = row
