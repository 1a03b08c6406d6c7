"""Runs of benchmarks from the outside: asked for and stopped by people and parts, ordered from nodes, and heard of."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from controller.bench_events import BenchAsked, BenchEnded, BenchStopped, LeaseGranted
from controller.cell import Cell
from controller.engine.orders import OrderDesk
from controller.events import Logged
from wire.bench import Rank
from wire.messages import BenchProgress, BenchRendezvous


@dataclass(slots=True)
class BenchDesk:
    """Asks the cell for runs, orders what was granted, and keeps how far it is.

    Attributes:
        idle_by: name of the scheduler that says which nodes are idle.
        on_group: called when a group's lease was granted; whoever hears it sends the orders by `order`.
        on_result: called with every result that was committed.
        on_rendezvous: called with the node and what its rank 0 said; kept by nobody.
        progress: lease → node → the last word on how far it is.
    """

    cell: Cell
    orders: OrderDesk
    clock: Callable[[], float]
    idle_by: str
    on_group: Callable[[LeaseGranted], None] = lambda _: None
    on_result: Callable[[BenchEnded], None] = lambda _: None
    on_rendezvous: Callable[[str, BenchRendezvous], None] = lambda _node, _said: None
    progress: dict[str, dict[str, BenchProgress]] = field(default_factory=dict)

    async def ask(
        self,
        nodes: Sequence[str],
        benchmarks: Sequence[str],
        *,
        tier: int,
        purpose: str,
        by: str,
        because: str,
        incident_id: str = "",
        options: Mapping[str, str] | None = None,
        together: bool = False,
        wait_s: float = 0.0,
    ) -> str:
        """Ask for a run, and return its id once that is in the log."""
        run_id = f"run-{secrets.token_hex(4)}"
        asked = BenchAsked(
            run_id,
            list(nodes),
            list(benchmarks),
            tier,
            purpose,
            by,
            because,
            incident_id,
            dict(options or {}),
            together,
            wait_s,
        )
        await self.cell.submit([asked])
        return run_id

    async def stop(self, run_id: str, *, by: str, because: str) -> None:
        """End a run: nothing more of it begins, and what runs is given up."""
        await self.cell.submit([BenchStopped(run_id, by, because)])

    def act(self, entry: Logged) -> None:
        """Hear what was committed: order what was granted to a node, and tell of a group's lease."""
        raise NotImplementedError

    def order(self, lease_id: str, node: str, rank: Rank) -> None:
        """Order one rank of a group; once for each lease and node."""
        raise NotImplementedError

    def heard(self, node: str, said: BenchProgress) -> None:
        """Keep how far a benchmark is."""
        self.progress.setdefault(said.lease, {})[node] = said
