"""Walks a playbook by the policy's own incident, and says what was done to the node that must never be done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from controller import events
from controller.policy.incident import Incident, Phase
from controller.policy.playbook import REPAIRS, Playbook, Step, Verb


@dataclass(frozen=True)
class Taken:
    """One attempt at a step, and whether it succeeded."""

    step: Step
    done: bool


def every_way(playbook: Playbook) -> Iterator[list[str]]:
    """Yield what goes wrong on each way through a playbook: every set of its steps fails once."""
    yield from (breaches(playbook, failing) for failing in _failing(playbook))


def never_taken(playbook: Playbook) -> set[str]:
    """Return the names of the steps that no way through a playbook takes, and no way back that people ask for."""
    taken = {
        each.step.name
        for phase in (Phase.AUTOMATIC, Phase.RETURNING)
        for failing in _failing(playbook)
        for each in _taken(_incident(playbook, phase), failing)
    }
    return {step.name for step in playbook.steps} - taken


def _failing(playbook: Playbook) -> Iterator[frozenset[str]]:
    names = [step.name for step in playbook.steps]
    for size in range(len(names) + 1):
        yield from (frozenset(failing) for failing in combinations(names, size))


def _incident(playbook: Playbook, phase: Phase) -> Incident:
    incident = Incident("inc-1", "n1", "GPU-1", playbook.fault_class, playbook, 0.0, "it broke")
    incident.enter(phase)
    return incident


def _taken(incident: Incident, failing: frozenset[str]) -> Iterator[Taken]:
    while (step := incident.step()) is not None:
        done = step.name not in failing
        yield Taken(step, done)
        _take(incident, step, "done" if done else "failed")


def _take(incident: Incident, step: Step, outcome: str) -> None:
    attempt = incident.attempts.get(step.name, 0) + 1
    key = f"{incident.id}/{step.name}/{attempt}"
    reason = events.Reason("a walk")
    intent = events.StepIntended(
        incident.id, incident.phase, step.name, step.verb, attempt, key, "n1", "GPU-1", {}, 60.0, reason
    )
    incident.intend(intent, 0.0)
    incident.end_step(events.StepEnded(incident.id, step.name, attempt, outcome, "so it was", key), 1.0)


def breaches(playbook: Playbook, failing: frozenset[str]) -> list[str]:
    """Return what must never happen and does when these steps fail, judged by what is done and not by the text."""
    incident = _incident(playbook, Phase.AUTOMATIC)
    found = []
    out = drained = verified = told = returned = False
    for each in _taken(incident, failing):
        verb, done = each.step.verb, each.done
        if verb in REPAIRS | {Verb.DRAIN} and not out:
            found.append(f"{verb} in service")
        if verb in REPAIRS and playbook.drain_needed and not drained:
            found.append(f"{verb} with jobs")
        if verb is Verb.UNCORDON and not verified:
            found.append("returned unverified")
        if verb is Verb.UNCORDON and done:
            out, drained, returned = False, False, True
        if verb is Verb.CORDON and done:
            out, verified, returned = True, False, False
        drained = drained or (verb is Verb.DRAIN and done)
        verified = done if verb is Verb.VERIFY else verified and _keeps(verb, done=done)
        told = told or (done and verb in {Verb.TICKET, Verb.PAGE})
    if out and not incident.gave_up:
        found.append("left out, nobody told")
    if not (incident.gave_up or out or verified or told or returned):
        found.append("ended in silence")
    return found


def _keeps(verb: Verb, *, done: bool) -> bool:
    """Return whether what was verified before is still known after a step."""
    return verb not in REPAIRS and (done or verb is not Verb.PROBATION)
