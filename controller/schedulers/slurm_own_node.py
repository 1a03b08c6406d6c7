"""How a node takes itself out in Slurm, on the word of its own health check, without any controller.

The budget holds all the same: a check that is wrong is wrong on every node at once, and each would be drained by
itself. Slurm has no compare-and-set, so a node counts, drains itself and counts again: slurmctld does one thing after
the other, so of many that began together none stays out beyond the budget, though all of them may give themselves back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from controller.adapters import Hold
from controller.errors import Permanent, Refused
from controller.policy.rules import Budget
from controller.schedulers.slurm import InMaintenance, SlurmScheduler
from controller.schedulers.slurm_view import BY_CHECK, SlurmNode

NO_TERM: Final = 0
"""A node leads nothing; the fencing token of its hold is that of no leadership."""


@dataclass(frozen=True, slots=True)
class Stand:
    """Whether a node is out of service now, whoever took it out, and a sentence why."""

    is_out: bool
    because: str


@dataclass(frozen=True, slots=True)
class OwnNode:
    """The node that this process runs on, as Slurm knows it."""

    name: str
    slurm: SlurmScheduler
    budget: Budget

    async def take_out(self, reason: str) -> Stand:
        """Drain the node, if nobody has done so and the budget allows it. Whose reason stands on it stays there.

        Raises:
            Permanent: Slurm knows no such node, or cannot be used.
            Retryable: Slurm does not answer.
        """
        nodes = await self.slurm.nodes()
        if (held := self._held(nodes)) is not None:
            return held
        if (full := self._full(nodes, room_for=1)) is not None:
            return full
        hold = Hold(BY_CHECK, reason, f"{self.name}/{BY_CHECK}", NO_TERM)
        try:
            await self.slurm.cordon(self.name, hold)
        except InMaintenance as theirs:
            return Stand(False, f"{self.name} is left to those who work at it: {theirs}")
        except Refused as refused:
            return Stand(True, str(refused))
        if (full := self._full(await self.slurm.nodes(), room_for=0)) is not None:
            await self.slurm.uncordon(self.name, hold)
            return full
        return Stand(True, f"{self.name} has drained itself in Slurm.")

    def _held(self, nodes: Sequence[SlurmNode]) -> Stand | None:
        own = next((node for node in nodes if node.name == self.name), None)
        if own is None:
            raise Permanent(f"Slurm knows no node {self.name!r}")
        if own.foreign_reason:
            return Stand(True, f"{self.name} is out of service in Slurm already: {own.foreign_reason}")
        return Stand(True, f"{self.name} is out of service in Slurm already: {own.reason}") if own.held_by else None

    def _full(self, nodes: Sequence[SlurmNode], *, room_for: int) -> Stand | None:
        held, limit = sum(bool(node.held_by) for node in nodes), self.budget.limit(len(nodes))
        if held + room_for <= limit:
            return None
        others = held if room_for else held - 1
        because = f"fleetmend holds {others} of the other nodes in Slurm out, at most {self.budget.text(len(nodes))}"
        return Stand(False, f"{self.name} is left in service: {because}")
