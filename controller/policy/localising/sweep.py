"""A sweep from its first group to its verdicts: tell it what happened, and it says what to run next.

    state = begin(fabric, seed="2026-11-27")
    state, step = advance(state)
    while isinstance(step, Run): ...run step.groups; state, step = advance(state, result) for each result...

Nothing here waits or measures. A state is plain data; stored and read again it goes on where it was.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Set
from dataclasses import dataclass, replace

from checks.bench_outcome import Outcome
from controller.policy.localising import between, screen, shared
from controller.policy.localising.evidence import Cause, CauseKind, Evidence, Seen, weigh
from controller.policy.localising.fabric import ALL, Fabric
from controller.policy.localising.shuffling import shuffled
from controller.policy.localising.suspects import Inquiry, Question, own_cause
from controller.policy.localising.trials import Group, Limits, Purpose, Result, State, Trial
from controller.policy.localising.verdicts import (
    Diagnosis,
    smallest_explanation,
    suspects,
    verdict_of,
)
from controller.reason import Reason


@dataclass(frozen=True, slots=True)
class Run:
    """Run these groups, all at once; none while others still run."""

    groups: tuple[Group, ...] = ()


@dataclass(frozen=True, slots=True)
class Departed:
    """A node can take part no more: a job came, or it fell silent. Groups in which it is have no result."""

    node: str
    because: str


Step = Run | Diagnosis


def begin(fabric: Fabric, *, seed: str, limits: Limits | None = None) -> State:
    """Return a sweep over these nodes that has not asked anything yet."""
    return State(fabric, seed, limits or Limits())


def advance(state: State, happened: Result | Departed | None = None) -> tuple[State, Step]:
    """Take in what happened, and return what to do next. The same state and event give the same answer (I12).

    A result of a group that is not waited for changes nothing. While groups are waited for, there is nothing to run.
    """
    if isinstance(happened, Result):
        state = told(state, happened)
    elif isinstance(happened, Departed):
        state = without(state, happened)
    if state.waiting:
        return state, Run()
    evidence = weigh_all(state)
    groups = () if _too_many(evidence) else _plan(evidence)
    if not groups:
        return state, _concluded(evidence)
    return replace(state, waiting=groups, round=state.round + 1), Run(groups)


def told(state: State, result: Result) -> State:
    """Return the state with a result of a group that is waited for; a node whose rank never arrived has left."""
    group = next((group for group in state.waiting if group.number == result.group), None)
    if group is None:
        return state
    absent = {node: "its rank never arrived" for node in result.missing if node in group.nodes}
    if absent and result.outcome.is_measured:
        result = replace(result, outcome=Outcome.ERROR)
    waiting = tuple(other for other in state.waiting if other is not group)
    return replace(state, waiting=waiting, trials=(*state.trials, Trial(group, result)), left={**absent, **state.left})


def told_again(state: State, result: Result) -> State:
    """Return the state with another result of a group that has one already: more is known of what it means."""
    trials = tuple(replace(t, result=result) if t.group.number == result.group else t for t in state.trials)
    return replace(state, trials=trials)


def without(state: State, departed: Departed) -> State:
    """Return the state without a node; groups that are waited for, and in which it is, have no result."""
    if departed.node not in state.fabric.nodes:
        return state
    state = replace(state, left={departed.node: departed.because, **state.left})
    for group in state.waiting:
        if departed.node in group.nodes:
            state = told(state, Result(group.number, Outcome.SKIP, because=f"{departed.node}: {departed.because}"))
    return state


def weigh_all(state: State) -> Evidence:
    """Return the evidence with every cause that it shows; each may explain what seemed to show another."""
    causes: tuple[Cause, ...] = ()
    while True:
        evidence = weigh(state, causes)
        found = shared.shared_cause(evidence) or own_cause(evidence)
        if found is None or found in causes:
            return evidence
        causes = (*causes, found)


def _too_many(evidence: Evidence) -> Reason | None:
    """Return why a person is needed, `None` while the suspects are few enough to be single faults."""
    limits, nodes = evidence.state.limits, len(evidence.fabric.nodes)
    most, found = limits.suspects_of(nodes), len(suspects(evidence))
    inputs = {"suspects": str(found), "most_suspects": str(most), "nodes": str(nodes)}
    if found > most:
        return Reason(
            f"At least {found} things would have to be at fault at once, in a sweep of {nodes} nodes: that is a change "
            "of the fabric, a driver or a limit, and not so many faults. Nothing is condemned.",
            inputs,
            f"at most {most} had been suspected",
        )
    slow = Counter(cause.lanes for cause in evidence.causes if cause.kind is CauseKind.LEAF)
    units, alike = len(evidence.fabric.units), max(slow.values(), default=0)
    if units > 1 and 2 * alike > units:
        return Reason(
            f"{alike} of {units} units are slow as a whole, on the same rails: that is a change of the fabric, a "
            "driver or a limit, and not so many switches. Nothing is condemned.",
            {**inputs, "slow_units": str(alike)},
            "at most half of the units had been slow as a whole",
        )
    return None


# --- what to run -----------------------------------------------------------------------------------------------------


def _plan(evidence: Evidence) -> tuple[Group, ...]:
    state = evidence.state
    most = min(state.limits.at_once, state.most_tests - state.tests)
    questions = list(_screen(evidence)) or list(_inquire(evidence))
    asked = [_group(state, number, question) for number, question in enumerate(questions[: max(0, most)])]
    return tuple(asked)


def _group(state: State, number: int, question: Question) -> Group:
    return Group(
        state.tests + number,
        state.round + 1,
        question.nodes,
        question.purpose,
        question.key,
        question.suspect,
        question.because,
    )


def _screen(evidence: Evidence) -> Iterator[Question]:
    """Yield what is left of the first round of the screen, or else of the second."""
    if any(trial.group.purpose is not Purpose.SCREEN for trial in evidence.state.trials):
        return
    fabric, most = evidence.fabric, evidence.state.limits.group_nodes
    rounds = (screen.within(fabric, most), screen.across(fabric, most, evidence.state.seed))
    names = ("below the leaves", "across the units")
    for number, (groups, where) in enumerate(zip(rounds, names, strict=True), start=1):
        asked = [
            Question(live, Purpose.SCREEN, key, f"screen {where}")
            for key, nodes in ((f"screen {number}.{index}", nodes) for index, nodes in enumerate(groups))
            if len(live := tuple(n for n in nodes if n not in evidence.state.left)) > 1 and not evidence.is_settled(key)
        ]
        if asked:
            yield from asked
            return


def _inquire(evidence: Evidence) -> Iterator[Question]:
    """Yield what to ask about nodes and units, the surest first, so that no node is in two groups at once."""
    inquiry = Inquiry(evidence, frozenset(evidence.state.left))
    probed = set(between.to_probe(evidence))
    below = [(seen, asked) for seen, asked in inquiry.questions() if asked and not _waits(seen, probed)]
    busy: set[str] = set()
    for crosses in (False, True):
        for seen, questions in below:
            if seen.crosses is crosses and busy.isdisjoint(seen.nodes):
                taken = set(seen.nodes)
                busy |= taken
                for question in questions:
                    yield from _if_free(busy, question, taken)
        for question in () if crosses else _probes(evidence):
            yield from _if_free(busy, question, set())
    for question in inquiry.of_doubts():
        yield from _if_free(busy, question, set())


def _if_free(busy: set[str], question: Question, own: set[str]) -> Iterator[Question]:
    """Yield the question unless nodes of it are in another group, and make its nodes busy."""
    if busy.isdisjoint(set(question.nodes) - own):
        busy |= set(question.nodes)
        yield question


def _waits(seen: Seen, probed: set[int]) -> bool:
    """A failure between units is left alone while probes may explain it."""
    return seen.crosses and not probed.isdisjoint(seen.units)


def _probes(evidence: Evidence) -> Iterator[Question]:
    inside = list(dict.fromkeys(between.to_look_inside(evidence)))
    yield from (look for unit in inside for look in _look(evidence, unit))
    for unit in dict.fromkeys(between.to_probe(evidence)):
        question = _probe(evidence, unit)
        if question is not None:
            yield question


def _look(evidence: Evidence, unit: int) -> Iterator[Question]:
    name = between.looks_of(unit)
    turn = sum(trial.group.suspect == name for trial in evidence.state.trials)
    nodes = _live(evidence, unit)[: evidence.state.limits.group_nodes]
    if len(nodes) > 1:
        because = f"{evidence.fabric.units[unit].name} is slow towards others: is it so below its leaf, too?"
        yield Question(tuple(nodes), Purpose.PROBE, f"{name} {turn}", because, name)


def _probe(evidence: Evidence, unit: int) -> Question | None:
    """Return a group of half this unit's nodes and half another's, that it has met least and that is well itself."""
    name = between.suspect_of(unit)
    number = sum(trial.group.suspect == name for trial in evidence.state.trials)
    other = _other_unit(evidence, unit)
    sides = [_half(evidence, each, number) for each in (unit, other) if each is not None]
    if len(sides) < 2 or not all(sides):
        return None
    units = evidence.fabric.units
    because = f"it was slow between {units[unit].name} and another unit, and is tried towards {units[other or 0].name}"
    return Question(screen.interleaved(*sides), Purpose.PROBE, f"{name} probe {number}", because, name)


def _other_unit(evidence: Evidence, unit: int) -> int | None:
    met = [seen for seen in evidence.seen if unit in seen.units and seen.crosses]
    slow = {other for seen in evidence.seen if seen.crosses and seen.open for other in seen.units}
    count = len(evidence.fabric.units)
    others = [number for number in range(count) if number != unit]
    live = [number for number in others if _half(evidence, number, 0)]
    return min(live, key=lambda n: (sum(n in seen.units for seen in met), n in slow, (n - unit) % count), default=None)


def _half(evidence: Evidence, unit: int, turn: int) -> list[str]:
    """Return half of the unit's nodes, the other half at the next turn, and other halves after that."""
    nodes = shuffled(_live(evidence, unit), evidence.state.seed, unit, turn // 2)
    middle = (len(nodes) + 1) // 2
    half = nodes[middle:] if turn % 2 and len(nodes) > 1 else nodes[:middle]
    return half[: evidence.state.limits.group_nodes // 2]


def _live(evidence: Evidence, unit: int) -> list[str]:
    out = evidence.condemned | frozenset(evidence.state.left)
    return [node for node in evidence.fabric.units[unit].nodes if node not in out]


# --- what is said in the end -----------------------------------------------------------------------------------------


def _concluded(evidence: Evidence) -> Diagnosis:
    """Say of every node one thing: it is at fault, cleared, untested or in doubt."""
    stopped = _too_many(evidence)
    chosen = smallest_explanation(weigh(evidence.state), evidence.causes) if stopped is None else []
    verdicts = tuple(verdict_of(evidence, cause) for cause in evidence.causes if cause in chosen)
    own = {node for cause in chosen if cause.is_own for node in cause.sides[0]}
    untested = _without_key(_untested(evidence), own)
    doubts = _without_key(_doubts(evidence, stopped), own | untested.keys())
    rest = [node for node in evidence.fabric.nodes if node not in own | untested.keys() | doubts.keys()]
    well, behind = _passed(evidence), _behind(evidence)
    cleared = tuple(node for node in rest if node in well)
    for node in rest:
        if node not in well and node in behind:
            untested[node] = f"all its ways lead over {behind[node]}, which is to be mended first"
        elif node not in well:
            doubts[node] = _passed_nowhere(evidence, node)
    return Diagnosis(verdicts, cleared, untested, doubts, stopped, evidence.state.tests, evidence.state.round)


def _passed_nowhere(evidence: Evidence, node: str) -> str:
    """Return the sentence about a node no group of which passed, with what the last of them said."""
    said = [seen.trial.result.because for seen in evidence.seen if node in seen.nodes]
    because = next((each for each in reversed(said) if each), "")
    return f"no group that it was in passed{': ' * bool(because)}{because}"


def _without_key(said: dict[str, str], nodes: Set[str]) -> dict[str, str]:
    return {node: why for node, why in said.items() if node not in nodes}


def _behind(evidence: Evidence) -> dict[str, str]:
    """Return the nodes of units with a bad leaf, and which leaf that is."""
    leaves = [cause for cause in evidence.causes if cause.kind is CauseKind.LEAF]
    return {node: verdict_of(evidence, leaf).parts[0] for leaf in leaves for node in leaf.sides[0]}


def _passed(evidence: Evidence) -> set[str]:
    """Return the nodes that passed on every lane but those of a bad leaf of theirs."""
    passed: dict[str, set[str]] = defaultdict(set)
    for seen in evidence.seen:
        for node in seen.nodes if not seen.open else ():
            passed[node] |= seen.passed
    behind: dict[int, set[str]] = defaultdict(set)
    for cause in evidence.causes:
        if cause.kind is CauseKind.LEAF:
            behind[cause.units[0]] |= cause.lanes
    rails = set(evidence.fabric.lanes) - {ALL}
    return {
        node
        for node, lanes in passed.items()
        if evidence.passes[node] or (lanes and rails and rails - behind[evidence.unit_of[node]] <= lanes)
    }


def _untested(evidence: Evidence) -> dict[str, str]:
    measured = {node for seen in evidence.seen for node in seen.nodes}
    left = evidence.state.left
    return {
        node: left.get(node, "no group that it was in gave a result")
        for node in evidence.fabric.nodes
        if node not in measured or (node in left and not evidence.passes[node])
    }


def _doubts(evidence: Evidence, stopped: Reason | None) -> dict[str, str]:
    """Return the nodes that something unexplained speaks against, or that only a stopped sweep keeps from a verdict."""
    inquiry = Inquiry(evidence, frozenset(evidence.state.left))
    doubts = {
        node: f"group {seen.number} was slow, and it could not be found out why"
        for seen in inquiry.open
        for node in seen.trial.group.nodes
    }
    doubts |= dict.fromkeys(inquiry.doubts(), "it was slow with some partners and not with others")
    because = (
        "it was slow with every partner, and so were too many others" if stopped else "others explain its failures"
    )
    return doubts | dict.fromkeys(sorted(evidence.condemned), because)
