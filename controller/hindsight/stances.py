"""What one side made of a node's findings at a moment: the sentence for why it did not take the node out."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from checks.finding import FindingKey
from controller import events
from controller.events import Logged
from controller.policy.belief import Belief
from controller.policy.playbook import Mode


@dataclass(slots=True)
class Stances:
    """One side's. `waits`: incident → why it waits; `left`: node and finding → why nothing is done about it."""

    belief: Belief
    waits: dict[str, str] = field(default_factory=dict)
    left: dict[tuple[str, FindingKey], str] = field(default_factory=dict)

    def hear(self, entry: Logged) -> None:
        """Take in one entry, which is believed already."""
        match entry.event:
            case events.IncidentWaiting(incident_id=incident_id, reason=reason):
                self.waits[incident_id] = reason.because
            case events.StepIntended(incident_id=incident_id) | events.IncidentClosed(incident_id=incident_id):
                self.waits.pop(incident_id, None)
            case events.FindingLeft(node=node, key=key, because=because):
                self.left[node, key] = because
            case events.FindingCleared(node=node, key=key):
                self.left.pop((node, key), None)

    def of(self, node: str, keys: Collection[object]) -> str:
        """Return what this side makes of these findings of a node now."""
        for incident in self.belief.open_on(node):
            if incident.mode is Mode.SHADOW:
                return f"{incident.id} ({incident.playbook.name}) is in shadow mode: decided, nothing done."
            if incident.id in self.waits:
                return f"{incident.id} ({incident.playbook.name}) waits: {self.waits[incident.id]}"
        for fleet in self.belief.open_on(""):
            if node in fleet.members:
                return f"{fleet.id} explains it for several nodes: {fleet.because}"
        for (name, key), because in self.left.items():
            if name == node and key in keys:
                return because
        if any(name == node and key in keys for name, key in self.belief.unanswered):
            return "Nothing was decided yet: the finding has to stand for longer first, or others may explain it."
        answering = [f"{i.id} ({i.playbook.name})" for i in self.belief.open_on(node)]
        if answering:
            return f"{', '.join(answering)} answers it, and takes nothing out at this moment."
        return self._ended(node, keys) or "Nothing of it stood at this moment."

    def _ended(self, node: str, keys: Collection[object]) -> str:
        """Return how an incident ended whose finding stands on, empty when there is none."""
        known = self.belief.nodes.get(node)
        for key, raised in known.findings.items() if known is not None else ():
            ended = self.belief.incidents.get(raised.incident_id)
            if key in keys and ended is not None and ended.closed_at:
                return f"{ended.id} ({ended.playbook.name}) ended {ended.outcome.replace('_', ' ')}: {ended.because}"
        return ""
