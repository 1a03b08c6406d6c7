"""Whether a cordon was right, where the log says enough to know.

Right: a drill made the fault, a repair of history was verified and the node returned, people say that it is mended, or
history took the node out for the same finding later. False: a person took the node back or ended the plan before any
repair; or, for what the candidate alone did, the finding went by itself, nothing was done to the node for a day, and it
did not come back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from checks.finding import FindingKey
from controller import events
from controller.events import Logged
from controller.hindsight.ledger import Hold
from controller.policy.belief import Belief
from controller.policy.incident import PEOPLE, Incident

QUIET_S: Final = 86_400.0
"""So long a finding must stay away. Source: our choice."""


class Truth(StrEnum):
    """What is known of a cordon."""

    RIGHT = "right"
    FALSE = "false"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Judged:
    """A cordon's truth and the sentence for it."""

    truth: Truth
    because: str


NOBODY_KNOWS: Final = Judged(Truth.UNKNOWN, "The log does not tell whether it was right.")
DRILLED: Final = Judged(Truth.RIGHT, "A drill made the fault.")


@dataclass(slots=True)
class _Watched:
    """A node on which a finding stood. `over_at`: since when it is over by itself, 0 while it stands."""

    raised_at: float
    over_at: float = 0.0
    came_back_at: float = 0.0


@dataclass(slots=True)
class Truths:
    """What history says of the cordons of both sides.

    Attributes:
        of_incidents: incident of history → what is known of it.
    """

    history: Belief
    of_incidents: dict[str, Judged] = field(default_factory=dict)
    _findings: dict[tuple[str, FindingKey], list[_Watched]] = field(default_factory=dict)
    _touched: dict[str, list[float]] = field(default_factory=dict)

    def hear(self, entry: Logged) -> None:
        """Take in one entry, which is believed already."""
        match entry.event:
            case events.FindingRaised(node=node, finding=finding):
                self._raised(node, finding.key, entry.at)
            case events.FindingCleared(node=node, key=key):
                watched = self._findings.get((node, key))
                if watched:
                    watched[-1].over_at = watched[-1].over_at or entry.at
            case events.StepIntended(node=node) if node:
                self._touched.setdefault(node, []).append(entry.at)
            case events.OperatorActed(verb="uncordon") as act:
                for incident in self.history.open_on(act.subject):
                    self._taken_back(incident, act)
            case events.OperatorActed(verb="abort") as act if act.subject in self.history.incidents:
                self._taken_back(self.history.incidents[act.subject], act)
            case events.IncidentClosed(outcome="returned", incident_id=incident_id):
                self._returned(self.history.incidents[incident_id])

    def _raised(self, node: str, key: FindingKey, at: float) -> None:
        watched = self._findings.setdefault((node, key), [])
        if watched and not watched[-1].over_at:
            return
        if watched:
            watched[-1].came_back_at = at
        watched.append(_Watched(at))

    def _taken_back(self, incident: Incident, act: events.OperatorActed) -> None:
        if incident.ever_held and not incident.repair_begun and not incident.drill:
            said = f"{act.by} took it back: {act.because}" if act.because else f"{act.by} took it back."
            self.of_incidents[incident.id] = Judged(Truth.FALSE, said)

    def _returned(self, incident: Incident) -> None:
        if any(rung.verified for rung in incident.rungs):
            by = next(rung.verb for rung in reversed(incident.rungs) if rung.verified).replace("_", " ")
            mended = "People mended it" if by == PEOPLE else f"The {by} mended it"
            self.of_incidents.setdefault(incident.id, Judged(Truth.RIGHT, f"{mended}, as fresh readings show."))

    def of_history(self, hold: Hold) -> Judged:
        """Return what is known of a cordon of history."""
        return DRILLED if hold.drill else self.of_incidents.get(hold.incident_id, NOBODY_KNOWS)

    def of_candidate(self, hold: Hold, holds: list[Hold], ended_at: float) -> Judged:
        """Return what is known of a cordon that history did not make.

        Args:
            holds: those of history.
            ended_at: where the log ends.
        """
        if hold.drill:
            return DRILLED
        if any(other.node == hold.node and other.keys & hold.keys and other.at > hold.at for other in holds):
            return Judged(Truth.RIGHT, "History took the node out for the same finding later.")
        watched = [each for key in hold.keys for each in self._standing_at(hold.node, key, hold.at)]
        if not watched or not all(each.over_at for each in watched):
            return NOBODY_KNOWS
        over_at = max(each.over_at for each in watched)
        quiet_until = over_at + QUIET_S
        touched = any(hold.at <= at <= quiet_until for at in self._touched.get(hold.node, ()))
        came_back = any(each.came_back_at and each.came_back_at <= quiet_until for each in watched)
        if touched or came_back or ended_at < quiet_until:
            return NOBODY_KNOWS
        return Judged(Truth.FALSE, "It went by itself, nothing was done to the node, and it stayed away for a day.")

    def _standing_at(self, node: str, key: object, at: float) -> list[_Watched]:
        found = self._findings.get((node, key), []) if isinstance(key, FindingKey) else []
        return [each for each in found if each.raised_at <= at and (not each.over_at or each.over_at >= at)]
