"""The benchmarks of a verification: which are run once fresh readings pass, and what follows from how they end (I6).

A pass alone proves the node. A failure is an answer: the step has failed, and goes where it says. From nothing else
does another repair follow: what is weaker than it should be, and a benchmark that broke, are run again within the
step's attempts, and then people get the node. What could not be run, or has nothing to be judged by, must not keep a
node out for ever: the step says so and goes on, unless the playbook wants people then, or it is what condemned the
node.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from checks.bench_outcome import Outcome
from controller.bench_events import BenchAsked, BenchStopped
from controller.events import StepProgressed
from controller.policy.belief import Belief
from controller.policy.benching.book import BenchRun
from controller.policy.benching.findings import TIER
from controller.policy.benching.tries import MOST_TRIES
from controller.policy.incident import Incident
from controller.policy.playbook import BENCH_CHECKS, TIERS, Unmeasured, Verb
from controller.policy.rules import Rules
from controller.policy.verb_effects import attempts_of
from wire.orders import OrderAction

BY = "fleetmend"

WAIT_S = 600.0
"""So long a verification waits for a node that is at work or leased, and for others to end. Source: our choice; the
node is drained, so it is the scheduler's next look that is waited for, or a benchmark of tier 2 on a neighbour."""


class Ending(NamedTuple):
    """How a step ends, as `StepEnded` says it."""

    outcome: str
    because: str
    permanent: bool = False
    hands_over: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """How one benchmark ended. `has_limit`: whether there was anything to judge its numbers by."""

    outcome: Outcome
    because: str
    has_limit: bool = True


def run_of(step_key: str) -> str:
    """Return the name of the run of a verification, which fits into one level of an address."""
    return step_key.replace("/", ".")


def wanted(incident: Incident) -> tuple[str, ...]:
    """Return the benchmarks that the verification under way needs: those of its step, and those that condemned."""
    assert incident.intent is not None
    listed = [name for name in incident.intent.parameters.get("benchmarks", "").split(",") if name]
    return tuple(dict.fromkeys([*listed, *sorted(condemning(incident))]))


def condemning(incident: Incident) -> set[str]:
    """Return the benchmarks that condemned the node."""
    return {BENCH_CHECKS[key.check] for key in incident.condemned_by if key.check in BENCH_CHECKS}


def asks(belief: Belief, rules: Rules, incident: Incident, now: float) -> BenchAsked | StepProgressed | None:
    """Return the run that a verification asks for, then how long it lasts; `None` when neither is due.

    The caller knows that the step goes on: then the fresh look is still to come, or it passed. The run's name is the
    step's key, so that it is asked for once, wherever a controller dies.
    """
    intent = incident.intent
    if intent is None or intent.verb != Verb.VERIFY or incident.order is None or incident.order.outcome != "done":
        return None
    names, run = wanted(incident), belief.bench.runs.get(run_of(intent.key))
    if not names:
        return None
    if run is None:
        return _asked(incident, names)
    if run.ended_at or (incident.progress is not None and incident.progress.until):
        return None
    until = now + WAIT_S + len(names) * _longest_s(rules, run.tier)
    because = f"Fresh readings pass; {', '.join(names)} must pass as well, as {run.run_id}."
    return StepProgressed(incident.id, intent.step, intent.attempt, intent.key, "waiting", because, until=until)


def _longest_s(rules: Rules, tier: int) -> float:
    """Return how long one benchmark may go on, with all that is measured again before a number counts."""
    return MOST_TRIES * (rules.bench.lease_s(tier) + rules.bench.again_after_s)


def _asked(incident: Incident, names: tuple[str, ...]) -> BenchAsked:
    assert incident.intent is not None
    return BenchAsked(
        run_of(incident.intent.key),
        [incident.node],
        list(names),
        _tier(incident),
        "verify",
        BY,
        f"Before {incident.node} returns from {incident.fault_class}.",
        incident.id,
        wait_s=WAIT_S,
    )


def _tier(incident: Incident) -> int:
    """Return the tier to measure by: no shallower than what condemned the node."""
    assert incident.intent is not None
    found = [each for each in incident.condemned_by.values() if each.check in BENCH_CHECKS]
    said = {incident.intent.parameters.get("tier", ""), *(each.evidence.get(TIER, "") for each in found)}
    return max((tier for tier in TIERS if str(tier) in said), default=min(TIERS))


def measured(belief: Belief, incident: Incident, passed: str) -> Ending | None:
    """Return how the verification ends by its benchmarks, `None` while they are still to come, or not over.

    Args:
        passed: what is said of the fresh readings.
    """
    names, intent = wanted(incident), incident.intent
    assert intent is not None
    if not names:
        return Ending("done", passed)
    unable = _unable(belief, incident)
    if unable:
        none = {name: Result(Outcome.SKIP, unable) for name in names}
        return judged(none, condemning(incident), passed=passed, strict=_is_strict(incident), is_last=True)
    run = belief.bench.runs.get(run_of(intent.key))
    if run is None or not run.ended_at:
        return None
    step = incident.step()
    is_last = step is None or incident.tries + 1 >= attempts_of(step)
    results = {name: _result(belief, run, incident.node, name) for name in names}
    return judged(results, condemning(incident), passed=passed, strict=_is_strict(incident), is_last=is_last)


def _unable(belief: Belief, incident: Incident) -> str:
    facts = belief.nodes[incident.node].facts
    if OrderAction.BENCH in facts.orders_allowed:
        return ""
    return f"the agent of {incident.node} does not allow the order {OrderAction.BENCH}"


def _is_strict(incident: Incident) -> bool:
    assert incident.intent is not None
    return incident.intent.parameters.get("unmeasured") == Unmeasured.HAND_OVER


def _result(belief: Belief, run: BenchRun, node: str, name: str) -> Result:
    outcome = run.outcomes.get(node, {}).get(name)
    if outcome is None:
        return Result(Outcome.ERROR, run.ended_because or "it gave no result")
    kept = belief.bench.newest.get(node, {}).get(name)
    because = run.sentences.get(node, {}).get(name, run.ended_because)
    return Result(Outcome(outcome), because, has_limit=kept is None or kept.run_id != run.run_id or kept.has_limit)


def judged(
    results: Mapping[str, Result], condemned: Collection[str], *, passed: str, strict: bool, is_last: bool
) -> Ending:
    """Return what follows from how the benchmarks ended, the gravest of it.

    Args:
        results: benchmark → how it ended.
        condemned: those that condemned the node, and must pass.
        passed: what is said of the fresh readings.
        strict: whether people get the node when something could not be measured.
        is_last: whether no further attempt follows.
    """
    by_outcome = {outcome: {n: r for n, r in results.items() if r.outcome is outcome} for outcome in Outcome}
    weak = {name: result for name, result in by_outcome[Outcome.WARN].items() if result.has_limit}
    unproven = {name: result for name, result in results.items() if result.outcome is not Outcome.PASS}
    if by_outcome[Outcome.FAIL]:
        return Ending("failed", f"Failed: {_say(by_outcome[Outcome.FAIL])}", permanent=True)
    if by_outcome[Outcome.ERROR]:
        because = f"Not measured, which says nothing of the node: {_say(by_outcome[Outcome.ERROR])}"
        return Ending("failed", because, hands_over=True)
    if weak:
        return Ending("failed", f"Weaker than it should be: {_say(weak)}", hands_over=True)
    if by_outcome[Outcome.SKIP] and not is_last:
        return Ending("failed", f"Not run, and tried again: {_say(by_outcome[Outcome.SKIP])}")
    if unproven and (strict or not unproven.keys().isdisjoint(condemned)):
        return Ending("failed", f"Not proven healthy: {_say(unproven)}", permanent=True, hands_over=True)
    return Ending("done", " ".join([passed, *_proofs(results, unproven)]))


def _proofs(results: Mapping[str, Result], unproven: Mapping[str, Result]) -> Iterator[str]:
    proven = [name for name in results if name not in unproven]
    if proven:
        yield f"Benchmarks pass: {', '.join(proven)}."
    skipped = {name: result for name, result in unproven.items() if result.outcome is Outcome.SKIP}
    if skipped:
        yield f"No benchmark was run of {_say(skipped)}"
    if unlimited := {name: result for name, result in unproven.items() if name not in skipped}:
        yield f"Measured, and nothing to judge it by: {_say(unlimited)}"


def _say(results: Mapping[str, Result]) -> str:
    """Return names with their reasons; those that share one are told together."""
    reasons: dict[str, list[str]] = {}
    for name, result in results.items():
        reasons.setdefault(result.because.rstrip("."), []).append(name)
    return "; ".join(f"{', '.join(names)}: {because}" for because, names in reasons.items()) + "."


def disproved(belief: Belief, incident: Incident) -> bool:
    """Return whether a benchmark of this incident's verifications failed and did not pass since: the repair that went
    before did not mend it, though every finding may have cleared."""
    newest = belief.bench.newest.get(incident.node, {}).values()
    return any(each.outcome == Outcome.FAIL and each.run_id.startswith(run_of(f"{incident.id}/")) for each in newest)


def late(belief: Belief, incident: Incident) -> Ending | None:
    """Return how a verification ends whose benchmarks did not end in time, `None` when they are not what is late."""
    run = belief.bench.runs.get(run_of(incident.intent.key)) if incident.intent is not None else None
    if run is None or run.ended_at:
        return None
    because = f"The benchmarks of {run.run_id} did not end in time. {run.waiting}".rstrip()
    return Ending("timed_out", because, hands_over=True)


def abandoned(belief: Belief) -> Iterator[BenchStopped]:
    """Yield the end of each run of a verification that nobody waits for any more."""
    for run in belief.bench.open():
        if run.purpose == "verify" and run.incident_id and not run.stopped and not _is_awaited(belief, run):
            yield BenchStopped(run.run_id, BY, "The verification that asked for it is over.")


def _is_awaited(belief: Belief, run: BenchRun) -> bool:
    incident = belief.open_incidents.get(run.incident_id)
    return incident is not None and incident.intent is not None and run_of(incident.intent.key) == run.run_id
