"""What is believed of changed playbooks: the text that is trusted, the one that is tried, and how its canaries end."""

from __future__ import annotations

from dataclasses import dataclass, field

from controller import events
from controller.policy.incident import Incident
from controller.policy.playbook import Playbook, Verb

_FORESEEN = frozenset({"", Verb.VERIFY, Verb.PROBATION})
"""Ends of the automatic part that speak of the fault and not of the text: the plan was carried out to where it asks
whether the fault is gone, and it was not."""


@dataclass(slots=True)
class Canary:
    """One incident that a new text answers. `verdict`: well, badly, or empty while it goes on."""

    verdict: str = ""
    because: str = ""


@dataclass(slots=True)
class Rollout:
    """One playbook by name.

    Attributes:
        trusted: the text that answers, `None` for a playbook that is new.
        candidate: the text that is tried, `None` when there is no other than the trusted one.
        stopped: why it is tried no more, empty while it is.
        withdrawn: a person stopped it, so nobody need be told.
    """

    trusted: Playbook | None = None
    candidate: Playbook | None = None
    canaries: dict[str, Canary] = field(default_factory=dict)
    stopped: str = ""
    withdrawn: bool = False

    def settle(self, trusted: Playbook | None) -> None:
        """Go on with this text alone."""
        self.trusted, self.candidate, self.stopped, self.withdrawn = trusted, None, "", False
        self.canaries.clear()

    def count(self, verdict: str) -> int:
        """Return how many canaries ended so; an empty verdict counts those that go on."""
        return sum(canary.verdict == verdict for canary in self.canaries.values())


@dataclass(slots=True)
class Rollouts:
    """Every playbook that was ever loaded. `changed`: names of those that have a candidate."""

    by_name: dict[str, Rollout] = field(default_factory=dict)
    changed: dict[str, None] = field(default_factory=dict)

    def trust(self, playbook: Playbook) -> None:
        """This text answers from here on."""
        self.by_name.setdefault(playbook.name, Rollout()).settle(playbook)
        self.changed.pop(playbook.name, None)

    def begin(self, playbook: Playbook) -> None:
        """This text is tried from here on."""
        rollout = self.by_name.setdefault(playbook.name, Rollout())
        rollout.settle(rollout.trusted)
        rollout.candidate = playbook
        self.changed[playbook.name] = None

    def settle(self, event: events.RolloutSettled) -> None:
        """Take in what became of a candidate. An event about another text changes nothing."""
        rollout = self.by_name.get(event.name)
        if rollout is None or rollout.candidate is None or rollout.candidate.digest != event.digest:
            return
        if event.outcome == "stopped":
            rollout.stopped = event.reason.because
        elif event.outcome == "trusted":
            self.trust(rollout.candidate)
        else:
            rollout.settle(rollout.trusted)
            del self.changed[event.name]

    def decide_by_hand(self, event: events.OperatorActed, by: str) -> None:
        """A person promotes or withdraws the text that is tried, if it is the one that they mean."""
        rollout = self.by_name.get(event.subject)
        if rollout is None or rollout.candidate is None or event.what not in {"", rollout.candidate.digest}:
            return
        if event.verb == "promote":
            self.trust(rollout.candidate)
        else:
            rollout.stopped, rollout.withdrawn = f"Withdrawn by {by}.", True

    def answer(self, incident: Incident) -> None:
        """An incident is answered by its playbook's text: a canary where that is a candidate."""
        for name in self.changed:
            rollout = self.by_name[name]
            if rollout.candidate is not None and rollout.candidate == incident.playbook:
                rollout.canaries.setdefault(incident.id, Canary())
            elif incident.id in rollout.canaries and not rollout.canaries[incident.id].verdict:
                del rollout.canaries[incident.id]

    def end(self, incident: Incident) -> None:
        """An incident came to its end, or into people's hands."""
        for name in self.changed:
            canary = self.by_name[name].canaries.get(incident.id)
            if canary is None or canary.verdict:
                continue
            canary.verdict, canary.because = verdict_of(incident), incident.because
            if not canary.verdict:
                del self.by_name[name].canaries[incident.id]


def verdict_of(incident: Incident) -> str:
    """Return whether an incident ended well or badly for its playbook, empty when that says nothing of it."""
    match incident.outcome:
        case "returned" | "shadowed":
            return "well"
        case "handed_over":
            return "well" if incident.ended_by in _FORESEEN else "badly"
        case "aborted":
            return "badly"
        case _:
            return ""
