"""What the policy goes by besides belief: playbooks, budget and limits, as data."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import msgspec

from checks.finding import Finding
from controller.policy.playbook import Playbook


@dataclass(frozen=True, slots=True)
class Budget:
    """How many nodes of the fleet fleetmend may hold out at once: an absolute number, or a share of the fleet.

    A share is rounded down, but a fleet of any size may have one node out, or nothing could ever be mended.
    """

    nodes: int | None = None
    percent: float | None = None

    def limit(self, fleet_size: int) -> int:
        """Return the number of nodes that may be out."""
        if self.nodes is not None:
            return self.nodes
        return max(1, math.floor(fleet_size * (self.percent or 0.0) / 100.0))

    def text(self, fleet_size: int) -> str:
        """Return the budget as people read it."""
        limit = self.limit(fleet_size)
        nodes = f"{limit} {'node' if limit == 1 else 'nodes'}"
        return nodes if self.nodes is not None else f"{nodes} ({self.percent or 0.0:g} % of {fleet_size})"


@dataclass(frozen=True, slots=True)
class Rules:
    """Everything an operator can set about deciding.

    Attributes:
        agent_lost_after_s: how long an agent must have been silent before that is a finding.
        mass_silence_nodes, mass_silence_share: so many nodes and such a share of the fleet silent at once mean that
            the broker or a network is gone: nothing new is begun, and one page is sent.
        simulated_speedup: waits and probations of simulated nodes are divided by this.
    """

    playbooks: tuple[Playbook, ...]
    budget: Budget
    agent_lost_after_s: float = 30.0
    mass_silence_nodes: int = 3
    mass_silence_share: float = 0.3
    simulated_speedup: float = 1.0

    def digest(self) -> str:
        """Return a name for exactly these rules: the same text of them gives the same."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()[:16]

    def answering(self, finding: Finding) -> Playbook | None:
        """Return the playbook that answers a finding: the one of lowest precedence, `None` when nobody does."""
        answering = [playbook for playbook in self.playbooks if playbook.answer(finding)]
        return min(answering, key=lambda playbook: (playbook.precedence, playbook.name), default=None)
