"""What the API and the status page may see and ask of a running controller; controller/desk.py provides it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from controller.changes import Changes
from controller.counters import Counters
from controller.events import Event, Logged, OrderEnded
from controller.policy.belief import Belief
from controller.policy.reporting.asked import Asked
from controller.policy.reporting.shapes import Report
from controller.policy.rules import Rules
from wire.messages import BenchProgress


class CellView(Protocol):
    """The cell behind its counter: reading is from memory, acting goes through the log."""

    @property
    def belief(self) -> Belief:
        """What is believed now; never written from here."""
        ...

    @property
    def rules(self) -> Rules:
        """What decisions go by."""
        ...

    @property
    def changes(self) -> Changes:
        """What the newest log entries were about."""
        ...

    @property
    def counters(self) -> Counters:
        """What nodes said of their counters for the last day, as far as this process heard it."""
        ...

    def now(self) -> float:
        """Return the controller's time, Unix seconds."""
        ...

    def last_seen(self, node: str) -> float:
        """Return when any message of a node last came, Unix seconds, 0 for never."""
        ...

    async def timeline(self, *, node: str = "", incident_id: str = "", limit: int = 500) -> list[Logged]:
        """Return the newest log entries about a node or an incident, newest last."""
        ...

    async def back(self, *, before: int, after: int, kinds: Sequence[str]) -> list[Logged]:
        """Return the entries of these kinds between two ids, neither of them included, newest first."""
        ...

    async def of_node(self, node: str, *, kinds: Sequence[str], limit: int) -> list[Logged]:
        """Return the newest log entries of these kinds that name a node, newest last."""
        ...

    def deleted_through(self) -> int:
        """Return up to which id entries may be gone from the log, 0 while it is whole."""
        ...

    async def entry(self, event_id: int) -> Logged | None:
        """Return one log entry, `None` when the log has it no longer."""
        ...

    def fleet_map(self) -> msgspec.Raw:
        """Return every node as the map draws it, as JSON of `controller.api.map_shapes.FleetMap`."""
        ...

    async def report(self, asked: Asked, *, whole: bool) -> Report:
        """Return what the log says about a span of time, in the cell's own prices.

        Raises:
            NotTold: the log tells of a part of it alone, and the whole is wanted.
        """
        ...

    def bench_progress(self) -> Mapping[str, Mapping[str, BenchProgress]]:
        """Return how far benchmarks are: lease → node → its last word. Nobody keeps it beyond the lease."""
        ...

    def trace_of(self, incident_id: str) -> tuple[str, str]:
        """Return the trace of an incident, and the address where people see it; empty where there is none."""
        ...

    async def submit(self, event: Event) -> Logged:
        """Put what a person did into the log; it is committed and decided upon on return."""
        ...

    async def start_drill(self, node: str, fault: str, parameters: dict[str, str], by: str) -> str:
        """Have a fault injected; return the order's id.

        Raises:
            Refused: the node is unknown, not online, or does not take part in drills.
        """
        ...

    async def order_outcome(self, order_id: str, timeout_s: float) -> OrderEnded | None:
        """Return how a drill's order ended, `None` when the node has not said so in time."""
        ...

    def overview(self) -> dict[str, object]:
        """Return the cell's own state, in the form of `controller.api.shapes.Overview`."""
        ...

    def check_cordon(self, node: str) -> None:
        """Return if a person may take this node out by fleetmend now.

        Raises:
            Refused: the budget is used up, or somebody else holds the node.
        """
        ...

    def check_leading(self) -> None:
        """Return if this controller may change anything.

        Raises:
            NotLeading: it stands by, and another one leads.
        """
        ...
