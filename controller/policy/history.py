"""What happened to each part before, and what follows from it: the next rung of the ladder, or the second strike.

History is kept by part, so it goes with a GPU into another node, and another GPU in the same slot begins anew. Every
threshold here is data with its reason; the decisions that go by it say it in their own words.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from controller.events import Recurrence
from controller.policy.incident import PEOPLE, Incident, Rung
from controller.policy.playbook import LADDER, OnReturn, Playbook, Verb

DAY_S = 86_400.0

LASTING_S = 7 * DAY_S
"""A repair has lasted when the fault did not return for so long; a rung that did not last is not tried again within
this time. Source: the fault model counts a fix by no recurrence in 7 days."""

STRIKE_S = 30 * DAY_S
"""The same fault of the same part after a verified repair, within so long, is a second strike. Source: the fault
model; at its rates 1 GPU in 400 has two memory errors in 30 days by chance."""

INCIDENTS_PER_PART = 8
"""Source: our choice; a part that came back eight times is in no need of a ninth proof."""

PARTS_KEPT = 20_000
"""Source: our choice; at 4 incidents per 1,000 nodes and day a cell of 100,000 nodes has 12,000 in 30 days."""

DRILL_S = 120.0
"""A fault that shows so soon after a drill on its node is the drill's. Source: our choice; one that is injected shows
within seconds, one that a check looks for once a minute within two."""


@dataclass(frozen=True, slots=True)
class Past:
    """One incident as the history of its part keeps it. `ended_at`: when it was closed or last handed over."""

    incident_id: str
    node: str
    device: str
    fault_class: str
    opened_at: float
    ended_at: float
    outcome: str
    because: str
    rungs: tuple[Rung, ...] = ()

    @property
    def acted_at(self) -> float:
        """When the last repair ended, else when the incident did."""
        return max((rung.at for rung in self.rungs), default=self.ended_at)


@dataclass(slots=True)
class History:
    """The newest incidents of every part that had any, bounded in both ways; the part longest at peace is dropped."""

    parts: dict[str, dict[str, Past]] = field(default_factory=dict)
    parts_kept: int = PARTS_KEPT

    def remember(self, incident: Incident, at: float) -> None:
        """Keep how an incident stands at its end, or at its hand-over: its part may turn up elsewhere meanwhile."""
        if not incident.part or incident.drill:
            return
        of_part = self.parts.pop(incident.part, {})
        of_part.pop(incident.id, None)
        of_part[incident.id] = _past(incident, at)
        if len(of_part) > INCIDENTS_PER_PART:
            del of_part[next(iter(of_part))]
        self.parts[incident.part] = of_part
        if len(self.parts) > self.parts_kept:
            del self.parts[next(iter(self.parts))]

    def of(self, part: str) -> tuple[Past, ...]:
        """Return what is known of a part, oldest first."""
        return tuple(self.parts.get(part, {}).values())


def _past(incident: Incident, at: float) -> Past:
    return Past(
        incident.id,
        incident.node,
        incident.device,
        incident.fault_class,
        incident.opened_at,
        at,
        incident.outcome,
        incident.because,
        tuple(incident.rungs),
    )


def recurrence(past: Iterable[Past], playbook: Playbook, now: float, *, speedup: float = 1.0) -> Recurrence:
    """Return what the history of a part says about one more fault of a playbook's class.

    Args:
        speedup: by how much the windows are shortened: simulated machines live faster than real ones.
    """
    same = [each for each in past if each.fault_class == playbook.fault_class]
    recent = [each for each in same if now - each.acted_at <= LASTING_S / speedup]
    struck = [each for each in same if now - each.acted_at <= STRIKE_S / speedup and _verified(each)]
    spent = _spent(rung.verb for each in recent for rung in each.rungs if rung.outcome == "done")
    if struck and playbook.on_return is OnReturn.RMA:
        return Recurrence(len(struck), spent, rma=True, because=_second_strike(struck[-1], playbook))
    if spent:
        return Recurrence(len(struck), spent, because=_did_not_last(recent[-1], playbook))
    return Recurrence(len(struck))


def _verified(past: Past) -> bool:
    return any(rung.verified for rung in past.rungs)


def _spent(done: Iterable[str]) -> tuple[str, ...]:
    """Return the rungs up to the strongest that was taken: what is weaker cannot help where that did not."""
    highest = max((LADDER.index(Verb(verb)) for verb in done if verb in LADDER), default=-1)
    return tuple(str(verb) for verb in LADDER[: highest + 1])


def _second_strike(last: Past, playbook: Playbook) -> str:
    rung = next(rung for rung in reversed(last.rungs) if rung.verified)
    return (
        f"Second strike: {last.incident_id} mended {playbook.fault_class} on this part by {say_rung(rung)} on "
        f"{day(rung.at)}, verified, and the fault is back within {STRIKE_S / DAY_S:.0f} days."
    )


def _did_not_last(last: Past, playbook: Playbook) -> str:
    tried = ", ".join(dict.fromkeys(say_rung(rung) for rung in last.rungs)) or "nothing"
    return (
        f"{last.incident_id} answered {playbook.fault_class} on this part with {tried} on {day(last.acted_at)}, which "
        f"did not last {LASTING_S / DAY_S:.0f} days."
    )


def say_rung(rung: Rung) -> str:
    """Return a rung as people read it."""
    return "the hands of people" if rung.verb == PEOPLE else rung.verb.replace("_", " ")


def day(at: float) -> str:
    """Return the date, UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")
