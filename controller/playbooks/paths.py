"""What a playbook could do on any of its paths, and what it must never do: the rules that need no finding to check.

Every combination of success and failure of every step is walked. Jumps go forward only, so the walk is short: what
matters of the past is only whether the node is cordoned, empty, verified, and whether people were told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from controller.policy.incident import return_steps
from controller.policy.playbook import (
    DEVICE,
    DEVICE_REPAIRS,
    HAND_OVER,
    REPAIRS,
    Clears,
    OnReturn,
    Playbook,
    Step,
    Verb,
)
from controller.policy.presence import AGENT_LOST

TELLS = frozenset({Verb.TICKET, Verb.PAGE})


@dataclass(frozen=True, slots=True, order=True)
class Flaw:
    """One thing a playbook must not do. `path` names the place, e.g. `steps[3]` or `hand_over`."""

    path: str
    wrong: str
    right: str


@dataclass(frozen=True, slots=True)
class Walk:
    """What is certain on reaching a step. `verified`: nothing that could have undone it came after.

    `freed`: no job is on the sick device; `drained`: none is on the node.
    """

    cordoned: bool = False
    freed: bool = False
    drained: bool = False
    verified: bool = False
    told: bool = False
    returned: bool = False


def flaws(playbook: Playbook) -> list[Flaw]:
    """Return everything that is wrong with the steps of a playbook, each once."""
    named = [
        *_names(playbook),
        *_jumps(playbook),
        *_hand_over(playbook),
        *_acts_on_silence(playbook),
        *_clears_by_person(playbook),
        *_goes_back(playbook),
        *_measures_nothing(playbook),
    ]
    return sorted(named) or sorted({*_walk_all(playbook), *_unreached(playbook)})


def _names(playbook: Playbook) -> Iterator[Flaw]:
    counts = Counter(step.name for step in (*playbook.steps, *playbook.hand_over))
    for path, step in _places(playbook):
        if step.name == HAND_OVER:
            yield Flaw(path, f"a step is called {HAND_OVER}", "that word is the jump to people; use another name")
        elif counts[step.name] > 1:
            yield Flaw(path, f"`{step.name}` is the name of {counts[step.name]} steps", "give each its own `name`")


def _places(playbook: Playbook) -> Iterator[tuple[str, Step]]:
    yield from ((f"steps[{index}]", step) for index, step in enumerate(playbook.steps))
    yield from ((f"{HAND_OVER}[{index}]", step) for index, step in enumerate(playbook.hand_over))


def _jumps(playbook: Playbook) -> Iterator[Flaw]:
    names = [step.name for step in playbook.steps]
    for index, step in enumerate(playbook.steps):
        for key, target in (("on_success", step.on_success), ("on_failure", step.on_failure)):
            if target in {"", HAND_OVER, *names[index + 1 :]}:
                continue
            what = "leads backwards" if target in names else "leads to a step that does not exist"
            later = ", ".join([*names[index + 1 :], HAND_OVER])
            yield Flaw(f"steps[{index}].{step.verb}.{key}", f"`{target}` {what}", f"jumps go forward, here to {later}")


def _hand_over(playbook: Playbook) -> Iterator[Flaw]:
    for index, step in enumerate(playbook.hand_over):
        if step.verb not in TELLS:
            yield Flaw(
                f"{HAND_OVER}[{index}]", f"`{step.verb}` is not for people", "only ticket and page may stand here"
            )
    if not any(step.verb in TELLS for step in playbook.hand_over):
        yield Flaw(HAND_OVER, "nobody is told", "add a ticket or a page")


def _acts_on_silence(playbook: Playbook) -> Iterator[Flaw]:
    if not any(line.check == AGENT_LOST.check for line in playbook.answers):
        return
    for path, step in _places(playbook):
        if step.verb is Verb.CORDON or step.verb in REPAIRS:
            wrong = f"`{step.verb}` would follow from silence alone"
            yield Flaw(path, wrong, f"{AGENT_LOST.check} may lead to wait, verify, ticket and page only (I1)")


def _clears_by_person(playbook: Playbook) -> Iterator[Flaw]:
    if playbook.clears is not Clears.PERSON:
        return
    if all(step.verb is not Verb.CORDON for step in playbook.steps):
        yield Flaw("clears", "the node would stay in service", "cordon it: until a person clears this, it stays out")
    for index, step in enumerate(playbook.steps):
        if step.verb is Verb.UNCORDON:
            wrong = f"`{step.name}` would return the node, and only a person may"
            yield Flaw(f"steps[{index}]", wrong, f"end with {HAND_OVER}: no diagnosis clears this")


def _goes_back(playbook: Playbook) -> Iterator[Flaw]:
    if playbook.on_return is OnReturn.RMA and not any(step.verb in REPAIRS for step in playbook.steps):
        yield Flaw("on_return", "no repair is tried here that could fail to last", "leave it out, or add a repair")


def _measures_nothing(playbook: Playbook) -> Iterator[Flaw]:
    for index, step in enumerate(playbook.steps):
        idle = sorted({"tier", "unmeasured"} & step.parameters.keys())
        if idle and "benchmarks" not in step.parameters:
            wrong = f"`{idle[0]}` is about benchmarks, and there are none"
            yield Flaw(f"steps[{index}].{step.verb}.{idle[0]}", wrong, "leave it out, or say which `benchmarks`")


def _unreached(playbook: Playbook) -> Iterator[Flaw]:
    """Yield each step that never runs: what its author believes to be done is not.

    A node that people return goes from the last verification on, so that nothing else need lead there.
    """
    steps, back = playbook.steps, return_steps(playbook)
    reached = _reached(steps, 0)
    if back == steps[-len(back) :]:
        reached |= _reached(steps, len(steps) - len(back))
    for index, step in enumerate(steps):
        if index not in reached:
            right = "let a step before it go on there by on_success or on_failure, or leave it out"
            yield Flaw(f"steps[{index}]", f"nothing leads to `{step.name}`", right)


def _reached(steps: tuple[Step, ...], start: int) -> set[int]:
    """Return the positions that some run visits which begins at one; steps lead forward only."""
    reached = {start}
    for position, step in enumerate(steps):
        if position in reached:
            targets = {step.on_success, step.on_failure} - {HAND_OVER}
            reached |= {_position(steps, position, target) for target in targets}
    return reached


def _walk_all(playbook: Playbook) -> Iterator[Flaw]:
    todo = [(0, Walk())]
    seen = set(todo)
    while todo:
        position, walk = todo.pop()
        if position >= len(playbook.steps):
            yield from _at_the_end(walk)
            continue
        yield from _at_a_step(playbook, position, walk)
        ways = set(_ways_on(playbook.steps, position, walk)) - seen
        seen |= ways
        todo.extend(ways)


def _at_the_end(walk: Walk) -> Iterator[Flaw]:
    if walk.cordoned:
        yield Flaw("steps", "a path ends with the node still cordoned", f"end it with uncordon or {HAND_OVER}")
    elif not (walk.verified or walk.told or walk.returned):
        right = "end it with verify, ticket or page, so that the fault is over or people know"
        yield Flaw("steps", "a path ends and nobody knows whether the fault is over", right)


def _at_a_step(playbook: Playbook, position: int, walk: Walk) -> Iterator[Flaw]:
    step, path = playbook.steps[position], f"steps[{position}]"
    if step.verb in REPAIRS and not walk.cordoned:
        yield Flaw(path, f"`{step.name}` can be reached without a cordon", "cordon the node before its repair")
    enough = walk.drained or (walk.freed and step.verb in DEVICE_REPAIRS)
    if step.verb in REPAIRS and playbook.drain_needed and not enough:
        right = "drain before the repair and let its failure hand over, or set guards.drain to not_needed"
        yield Flaw(path, f"`{step.name}` can be reached with jobs on the node", right)
    if step.verb is Verb.DRAIN and not walk.cordoned:
        yield Flaw(path, f"`{step.name}` can be reached without a cordon", "cordon first, or new jobs keep coming")
    if "benchmarks" in step.parameters and not (walk.cordoned and walk.drained):
        right = "cordon and drain the node before, and let the failure of either hand over"
        yield Flaw(path, f"`{step.name}` would run benchmarks on a node that may have jobs", right)
    if step.verb is Verb.UNCORDON and not walk.verified:
        right = "every path to an uncordon needs a verify that succeeded after the last repair (I6)"
        yield Flaw(path, f"`{step.name}` can be reached without a verify", right)


def _ways_on(steps: tuple[Step, ...], position: int, walk: Walk) -> Iterator[tuple[int, Walk]]:
    step = steps[position]
    for target, after in ((step.on_success, _succeeded(step, walk)), (step.on_failure, _failed(step, walk))):
        if target != HAND_OVER:
            yield _position(steps, position, target), after


def _position(steps: tuple[Step, ...], position: int, target: str) -> int:
    names = [step.name for step in steps]
    return names.index(target) if target else position + 1


def _succeeded(step: Step, walk: Walk) -> Walk:
    match step.verb:
        case Verb.CORDON:
            return replace(walk, cordoned=True, verified=False, returned=False)
        case Verb.DRAIN:
            only_device = step.parameters.get("scope") == DEVICE
            return replace(walk, freed=True, drained=walk.drained or not only_device)
        case Verb.VERIFY:
            return replace(walk, verified=True)
        case Verb.UNCORDON:
            return replace(walk, cordoned=False, freed=False, drained=False, returned=True)
        case Verb.TICKET | Verb.PAGE:
            return replace(walk, told=True)
        case _:
            return replace(walk, verified=walk.verified and step.verb not in REPAIRS)


def _failed(step: Step, walk: Walk) -> Walk:
    """A repair that failed may have changed the machine all the same, and a fault that came back is not over."""
    undone = step.verb in REPAIRS or step.verb in {Verb.VERIFY, Verb.PROBATION}
    return replace(walk, verified=False) if undone else walk
