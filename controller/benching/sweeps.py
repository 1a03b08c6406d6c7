"""The hands of a sweep: rank 0 of a group is ordered first, and its unique id goes to the others with their orders.

The id is a secret of one group and of one moment: it is held here until the others are ordered, goes to them inside
signed orders, and is in no log and in no retained message. A controller that stops in between has lost it; the next one
ends the groups that were under way, and the policy asks them again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import structlog

from controller.bench_events import LeaseGranted
from controller.benching.desk import BenchDesk
from controller.cell import Cell
from controller.events import Logged
from controller.policy.sweeping.taking_over import interrupted
from controller.sweep_events import SweepGroupEnded, SweepGroupMet
from wire.bench import Rank
from wire.messages import BenchRendezvous

log = structlog.get_logger()

_UNIQUE_ID = re.compile(r"([0-9a-fA-F]{2}){1,512}")
"""Source: NCCL's nccl.h; NCCL_UNIQUE_ID_BYTES is 128, and there is room for longer ones."""


@dataclass(slots=True)
class SweepDesk:
    """Orders the ranks of the groups whose leases were granted.

    Attributes:
        desk: who sends the orders.
    """

    cell: Cell
    desk: BenchDesk
    _ids: dict[str, str] = field(default_factory=dict)
    """Lease → the unique id that its rank 0 said, until the other ranks are ordered."""

    def granted(self, lease: LeaseGranted) -> None:
        """Order rank 0 of a group, before all others."""
        self._order(lease.lease_id, lease.run_id, tuple(lease.nodes), ranks=(0,))

    def met(self, node: str, said: BenchRendezvous) -> None:
        """Note that rank 0 waits for the others; they are ordered once that is in the log.

        What another node says, or what is no id, is dropped: the group then ends by its deadline.
        """
        lease = self.cell.belief.bench.leases.get(said.lease)
        known = self.cell.belief.sweeps.groups.get(lease.run_id) if lease is not None else None
        if lease is None or known is None:
            return
        sweep_id, number = known
        if node != lease.nodes[0] or not _UNIQUE_ID.fullmatch(said.unique_id):
            because = "it is not from rank 0, or no unique id"
            log.warning("rendezvous.rejected", node=node, lease_id=said.lease, because=because)
            return
        if number not in self.cell.belief.sweeps.sweeps[sweep_id].met and said.lease not in self._ids:
            self._ids[said.lease] = said.unique_id
            self.cell.hand_in([SweepGroupMet(sweep_id, number, said.lease)], [], lambda _: None)

    def act(self, entry: Logged) -> None:
        """Order the other ranks of a group whose rank 0 waits, and forget its id."""
        if not isinstance(entry.event, SweepGroupMet):
            return
        unique_id = self._ids.pop(entry.event.lease_id, "")
        lease = self.cell.belief.bench.leases.get(entry.event.lease_id)
        if unique_id and lease is not None:
            others = range(1, len(lease.nodes))
            self._order(lease.lease_id, lease.run_id, lease.nodes, ranks=others, unique_id=unique_id)

    def resume(self) -> int:
        """End the groups that an earlier controller left under way, to be asked again; return how many those are."""
        ended = list(interrupted(self.cell.belief))
        if ended:
            self.cell.hand_in(ended, [], lambda _: None)
        return sum(isinstance(event, SweepGroupEnded) for event in ended)

    def _order(
        self, lease_id: str, run_id: str, nodes: tuple[str, ...], *, ranks: Iterable[int], unique_id: str = ""
    ) -> None:
        known = self.cell.belief.sweeps.groups.get(run_id)
        if known is None:
            return
        lanes = self.cell.belief.sweeps.sweeps[known[0]].state.fabric.rails > 0
        for number in ranks:
            self.desk.order(lease_id, nodes[number], Rank(number, nodes, unique_id, lanes))
