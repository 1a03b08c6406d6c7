"""Which idle nodes are measured next, by themselves: the new ones, the suspected ones, then what is worth most.

Each node is asked what its best benchmarks are worth (worth.py), and the best are taken as long as the operator's
budget lasts. Pure: the same belief, rules and time give the same runs. What is not known speaks against a node.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from checks.bench_result import Benchmark
from checks.finding import Verdict
from controller.bench_events import BenchAsked, BenchStopped
from controller.policy.belief import Belief
from controller.policy.benching.book import BenchRun
from controller.policy.benching.fitness import unknown
from controller.policy.benching.outlay import DAY_S, HOUR_S
from controller.policy.benching.tries import MOST_TRIES
from controller.policy.benching.when import TIER, Admission, WhenRules
from controller.policy.benching.worth import HIDDEN, Pick, Record, Symptom, picks
from controller.policy.freezes import in_force
from controller.policy.lemon import expected_ratio, exposure
from controller.policy.node_belief import NodeBelief
from controller.policy.playbook import MEASURED_CHECKS
from controller.policy.rules import Rules
from controller.policy.scopes import Scope
from controller.policy.silence import frozen_by
from wire.orders import OrderAction

BY = "fleetmend"

RANKS = {"admission": 0, "suspicion": 1, "idle": 2}
"""Purpose → its place in the queue."""

SHORTLIST = 256
"""So many nodes are valued at a time. Source: our choice; many more than may run at once, and 0.1 s of work."""

NEVER_S = 365 * DAY_S
"""For how long a benchmark that never passed counts as overdue, when nodes are shortlisted. Source: our choice."""

WITHOUT_FAILURE = 0.15
"""How much a node without a failure promises beside one failure. Source: the fault model's fleet, the variance of whose
rates is 6.9 times the squared mean, as the shape of a gamma distribution."""

WAITS_S = 600.0
"""A run that began by itself waits no longer than this for others. Source: our choice; its node is measured another
time, and its share of the budget is free for another one."""

FAMILIES = frozenset(family for each in HIDDEN for family in each.families)


@dataclass(frozen=True, slots=True)
class Room:
    """What may be begun now: so many runs, and so many GPU-minutes."""

    runs: int
    gpu_minutes: float

    @property
    def is_none(self) -> bool:
        """Whether nothing may be begun."""
        return self.runs <= 0 or self.gpu_minutes <= 0.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node that may be measured now, what is worth running on it, and why it is this node's turn."""

    node: str
    purpose: str
    picks: tuple[Pick, ...]
    why: str

    @property
    def order(self) -> tuple[int, float, str]:
        """Its place in the queue: purpose, value, name."""
        return RANKS[self.purpose], -self.picks[0].value, self.node


def room(belief: Belief, rules: Rules, now: float) -> Room:
    """Return what may be begun now. A cell that is frozen begins nothing."""
    if frozen_by(belief) is not None:
        return Room(0, 0.0)
    outlay = belief.bench.outlay
    this_hour = rules.when.gpu_minutes_per_hour - outlay.spent(HOUR_S, now)
    this_day = rules.when.gpu_minutes_per_day - outlay.spent(DAY_S, now)
    return Room(rules.when.at_once - outlay.open, min(this_hour, this_day))


def scheduled(belief: Belief, rules: Rules, now: float) -> list[BenchAsked]:
    """Return the runs to ask for now. A caller that must not be long does the parts of it by itself."""
    names = shortlist(promising(belief, rules, belief.nodes, now))
    return choose(belief, rules, candidates(belief, rules, names, now), now)


def promising(belief: Belief, rules: Rules, nodes: Iterable[str], now: float) -> list[tuple[float, str]]:
    """Return those of the nodes that may be measured now, with how much each promises, at little cost."""
    frozen = [freeze.scope for freeze in rules.freezes if in_force(freeze, now)]
    busy = {name for run in belief.bench.open() for name in run.nodes}
    found = []
    for name in nodes:
        node = belief.nodes.get(name)
        if node is not None and name not in busy and not kept_from(belief, rules, node, frozen, now):
            found.append((_promise(belief, rules.when, node, now), name))
    return found


def shortlist(found: Iterable[tuple[float, str]]) -> list[str]:
    """Return the most promising nodes: only they are valued."""
    return [name for _, name in heapq.nsmallest(SHORTLIST, found, key=lambda each: (-each[0], each[1]))]


def _promise(belief: Belief, when: WhenRules, node: NodeBelief, now: float) -> float:
    """Return a number that grows like the value of measuring a node: with the age of its oldest pass, and with its
    failures. One that is new, or on which something stands, comes before all others."""
    if node.findings or node.name in belief.bench.due:
        return math.inf
    passed = belief.bench.passed.get(node.name, {})
    oldest = min((passed.get(each, node.known_since - NEVER_S) for each in when.benchmarks), default=now)
    return (now - oldest) * (WITHOUT_FAILURE + len(belief.failures.by_node.get(node.name, ())))


def candidates(belief: Belief, rules: Rules, nodes: Iterable[str], now: float) -> list[Candidate]:
    """Return those of the nodes, which may be measured, on which something is worth running now; in no order."""
    is_open = rules.when.open_now(now)
    found = (_candidate(belief, rules, belief.nodes[name], now) for name in nodes)
    return [each for each in found if each is not None and (each.purpose != "idle" or is_open)]


def kept_from(belief: Belief, rules: Rules, node: NodeBelief, frozen: Iterable[Scope], now: float) -> str:
    """Return why a node is not measured now, empty when nothing speaks against it.

    Args:
        frozen: scopes for which a freeze is in force.
    """
    if not node.facts.gpu_count or OrderAction.BENCH not in node.facts.orders_allowed:
        return "it has no GPU, or its agent does not allow the order"
    if node.presence != "online" or not _is_idle(node) or unknown(node, rules):
        return "nobody says that it is idle"
    if node.name in belief.open_by_node or node.name in belief.bench.leased:
        return "it has an open incident, or a lease"
    tried = belief.bench.outlay.tried.get(node.name)
    if tried is not None and now < tried.again_at:
        return "it was tried in vain"
    if belief.pauses and any(scope in belief.pauses for scope in node.scopes):
        return "it is paused"
    return "it is frozen" if any(each.covers(scope) for each in frozen for scope in node.scopes) else ""


def _is_idle(node: NodeBelief) -> bool:
    """Return whether the node is free and in service as far as the scheduler said what changed.

    Whether it still looks, and knows the node at all, is for the caller to ask: what did not change is not told.
    """
    is_free = not node.jobs and not node.jobs_unknown and node.responding is not False
    return is_free and node.schedulable and not node.foreign_reason and not node.hold_id


def _candidate(belief: Belief, rules: Rules, node: NodeBelief, now: float) -> Candidate | None:
    when, record = rules.when, record_of(belief, node, now, suspicion=rules.when.suspicion)
    purpose, why = _purpose(belief, when, node, record)
    limit_s = rules.bench.tier_limit_s[TIER - 1]
    least = when.least_value if purpose != "admission" else 0.0
    picked = picks(record, when.benchmarks, now, limit_s=limit_s, loss=when.loss_gpu_minutes, least=least)
    found = tuple(picked)
    return Candidate(node.name, purpose, found, why) if found else None


def record_of(belief: Belief, node: NodeBelief, now: float, *, suspicion: bool = True) -> Record:
    """Return what is known of a node, as far as it says how likely a hidden fault is."""
    watched = exposure(known_since=node.known_since, began_at=belief.began_at, nodes=len(belief.nodes), now=now)
    passed = belief.bench.passed.get(node.name, {})
    return Record(
        node.facts.gpu_count,
        node.known_since,
        expected_ratio(belief.failures, node.name, watched, now),
        {Benchmark(name): at for name, at in passed.items()},
        tuple(_symptoms(node)) if suspicion else (),
    )


def _symptoms(node: NodeBelief) -> Iterator[Symptom]:
    """Yield what stands on a node and is less than a failure. `unknown` suspects nobody (I1)."""
    for key, raised in node.findings.items():
        family = key.check.partition(".")[0]
        is_mild = raised.finding.verdict is Verdict.DEGRADED
        if is_mild and family in FAMILIES and key.check not in MEASURED_CHECKS:
            yield Symptom(family, raised.since)


def _purpose(belief: Belief, when: WhenRules, node: NodeBelief, record: Record) -> tuple[str, str]:
    due = belief.bench.due.get(node.name)
    if due is not None and when.admission is not Admission.OFF:
        return "admission", due.because
    fresh = [each for each in node.findings.values() if _suspects(each.since, record, when)]
    if record.symptoms and fresh:
        return "suspicion", f"Less than a failure: {fresh[0].finding.because}"
    return "idle", _age(record)


def _suspects(since: float, record: Record, when: WhenRules) -> bool:
    """Return whether a symptom began after something passed that could have found its cause."""
    is_symptom = any(each.since == since for each in record.symptoms)
    return is_symptom and any(record.passed.get(each, 0.0) < since for each in when.benchmarks)


def _age(record: Record) -> str:
    if not record.passed:
        return "It is idle, and no benchmark of it passed yet."
    times = f"{record.ratio:.2g}"
    return f"It is idle, and fails {'' if times == '1' else f'{times} times '}as often as the fleet."


def choose(belief: Belief, rules: Rules, found: Iterable[Candidate], now: float) -> list[BenchAsked]:
    """Return the runs that the budget has room for, the best first.

    A run that does not fit as a whole is cut down to its best benchmarks. Costs are counted as the most they can be: a
    number that is too low is measured again before it counts.
    """
    left, asked = room(belief, rules, now), []
    for candidate in sorted(found, key=lambda each: each.order):
        fitting = _fitting(candidate.picks, left)
        if left.is_none or not fitting:
            continue
        asked.append(_ask(candidate, fitting, now))
        left = Room(left.runs - 1, left.gpu_minutes - asked[-1].gpu_minutes)
    return asked


def _fitting(found: tuple[Pick, ...], left: Room) -> list[Pick]:
    fitting, cost = [], 0.0
    for pick in found:
        cost += MOST_TRIES * pick.gpu_minutes
        if cost > left.gpu_minutes:
            break
        fitting.append(pick)
    return fitting


def _ask(candidate: Candidate, fitting: list[Pick], now: float) -> BenchAsked:
    worth = "; ".join(f"{each.benchmark}: {each.value:.3g}" for each in fitting)
    return BenchAsked(
        f"{candidate.purpose}.{candidate.node}.{now:.0f}",
        [candidate.node],
        [str(each.benchmark) for each in fitting],
        TIER,
        candidate.purpose,
        BY,
        f"{candidate.why} GPU-minutes that each is expected to save for one that it costs: {worth}.",
        gpu_minutes=MOST_TRIES * sum(each.gpu_minutes for each in fitting),
    )


def withdrawn(belief: Belief, now: float) -> Iterator[BenchStopped]:
    """Yield the end of runs that began by themselves and have no business any more."""
    for run in belief.bench.open():
        if run.run_id in belief.bench.outlay.costs and not run.stopped:
            because = _no_business(belief, run, now)
            if because:
                yield BenchStopped(run.run_id, BY, because)


def _no_business(belief: Belief, run: BenchRun, now: float) -> str:
    """Return why a run ends early: something is done about its node, people stopped such things, or it waits long."""
    node = next((node for node in run.nodes if node in belief.open_by_node), "")
    if node:
        return f"{node} has an open incident now."
    is_held_back = run.waiting_for.startswith(("pause", "freeze"))
    is_late = bool(run.waiting_for) and now >= run.asked_at + WAITS_S
    return run.waiting if is_held_back or is_late else ""
