"""Nodes whose course history and candidate do not share: one was repaired or handed to people, the other was not.

What such a node says is what came of history's course, and nothing of it is news to the candidate. It takes part again
once history is done with it and what the candidate acted on is gone there, an hour later at the earliest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from checks.finding import FindingKey
from controller import events
from controller.events import Event
from controller.hindsight.candidate import Candidate
from controller.hindsight.forward import Forward
from controller.policy.incident import Incident, Phase
from controller.reason import Reason

AT_LEAST_S: Final = 3600.0
"""Source: our choice; a repair takes minutes to an hour."""

UNKNOWN: Final = "unknown"
"""How the candidate's incident ends, as far as anybody can know."""


@dataclass(slots=True)
class Parting:
    """One node's course that is unknown.

    Attributes:
        until: infinity while it is.
        keys: the findings that the candidate acted on.
        drawn: the class of fault by which it was drawn from the model, empty while nothing was.
    """

    node: str
    at: float
    why: str
    keys: frozenset[FindingKey]
    until: float = float("inf")
    drawn: str = ""


@dataclass(slots=True)
class Asides:
    """All of them."""

    candidate: Candidate
    forward: Forward | None = None
    partings: list[Parting] = field(default_factory=list)
    open: dict[str, Parting] = field(default_factory=dict)

    def part(self, node: str, at: float, why: str, *, now: float) -> None:
        """Set a node aside.

        Args:
            at: since when its course is unknown; `now` is when that was seen.
        """
        ours = self.candidate.belief.open_on(node)
        keys = frozenset(key for incident in ours for key in incident.condemned_by)
        parting = Parting(node, at, why, keys)
        self.partings.append(parting)
        self.open[node] = parting
        if self.forward is not None and self.forward.take(node, now):
            for incident in ours:
                self.candidate.pending.pop(incident.id, None)
            parting.drawn = self.forward.drawn[node]
            return
        for event in self._leaving(node, ours, now):
            self.candidate.believe(event, now)

    def _leaving(self, node: str, ours: list[Incident], now: float) -> Iterator[Event]:
        because = "What became of it is not known: history took another course."
        for incident in ours:
            self.candidate.pending.pop(incident.id, None)
            intent = incident.intent
            if intent is not None and incident.phase in {Phase.HAND_OVER, Phase.RELEASING}:
                yield events.StepEnded(incident.id, intent.step, intent.attempt, UNKNOWN, because, intent.key)
            yield events.IncidentClosed(incident.id, UNKNOWN, Reason(because))
        known = self.candidate.belief.nodes.get(node)
        for key in list(known.findings) if known is not None else []:
            yield events.FindingCleared(node, key, because, now, origin="controller")
        if known is not None and known.presence != "online":
            yield events.PresenceChanged(node, "online", because)

    def take_up(self, at: float) -> list[str]:
        """Let nodes take part again of which everything is known, and return their names."""
        ready = [node for node, parting in self.open.items() if self._is_over(parting, at)]
        for node in ready:
            parting = self.open.pop(node)
            parting.until = at
            if self.forward is not None and parting.drawn:
                self.forward.leave(node)
            for event in list(self._as_it_is(node, at)):
                self.candidate.happen(event, at)
        return ready

    def _is_over(self, parting: Parting, at: float) -> bool:
        history = self.candidate.history
        if at < parting.at + AT_LEAST_S or history.open_on(parting.node):
            return False
        if self.forward is not None and parting.drawn and not self.forward.is_over(parting.node):
            return False
        node = history.nodes[parting.node]
        return node.presence == "online" and not parting.keys & node.findings.keys()

    def _as_it_is(self, name: str, at: float) -> Iterator[Event]:
        """Yield what the candidate has to hear of a node to know it as it is now."""
        node = self.candidate.history.nodes[name]
        yield events.NodeSeen(name, node.boot_id, node.facts)
        yield events.CheckLevelsChanged(name, dict(node.checks))
        yield events.PresenceChanged(name, node.presence, "as recorded")
        if node.schedule_observed_at:
            free = not node.foreign_reason
            jobs = list(node.jobs)
            yield events.ScheduleObserved(name, free, "", node.foreign_reason, jobs, at, node.responding)
        for raised in node.findings.values():
            yield events.FindingRaised(name, node.boot_id, raised.finding, at, raised.origin)
