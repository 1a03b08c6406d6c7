"""I4 and I7: the controller is killed at every boundary of a whole incident, enumerated, and resumes.

Boundaries are: before and after every commit, and before and after every effect. Whatever happens, no effect is made
twice for the same (incident, step, attempt), none is missing, and the incident comes to the same end.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import replace

import pytest

from checks.finding import Action, Finding, Verdict
from controller.policy.playbook import Playbook, Step, Verb
from controller.policy.rules import Budget, Rules
from tests.controller.conftest import NewStore, Store
from tests.support.interrupted import Died, Fuse, World, live
from tests.support.policy import playbook
from wire.messages import AgentStarted, FindingRaised

FINDING = Finding("gpu.xid", "GPU-0", "79", Verdict.FAILED, Action.REBOOT, "GPU-0 has fallen off the bus.")
NO_FUSE = 10**9


def quick(book: Playbook) -> Playbook:
    """Return the playbook with waits that a test can sit through."""

    def shorter(step: Step) -> Step:
        return replace(step, parameters={"for_s": "0.01"}) if step.verb is Verb.PROBATION else step

    return replace(book, steps=tuple(shorter(step) for step in book.steps))


RETURNED = quick(
    playbook(
        "gpu_lost",
        Verb.CORDON,
        Verb.DRAIN,
        Verb.COLLECT,
        Verb.REBOOT,
        Verb.VERIFY,
        Verb.PROBATION,
        Verb.UNCORDON,
    )
)
HANDED_OVER = playbook("gpu_lost", Verb.CORDON, Verb.POWER_CYCLE, Verb.VERIFY, Verb.UNCORDON)


MEASURED = replace(
    RETURNED,
    steps=tuple(
        replace(step, parameters={"benchmarks": "gpu_bandwidth"}) if step.verb is Verb.VERIFY else step
        for step in RETURNED.steps
    ),
)


def rules(book: Playbook) -> Rules:
    return Rules((book,), Budget(nodes=1))


async def one_life(store: Store, world: World, book: Playbook, fuse: Fuse) -> str:
    cell = await live(store, world, rules(book), FINDING, fuse, until=time.monotonic() + 20)
    outcomes = [incident.outcome for incident in cell.belief.incidents.values()]
    return ",".join(outcomes)


def new_world() -> World:
    world = World("n1")
    world.put(AgentStarted(False, "", "1", time.time()))
    world.put(FindingRaised(FINDING, time.time()))
    return world


async def whole_story(store: Store, book: Playbook, burns_at: int) -> tuple[World, str, bool]:
    """Run to the end, dying once; return the world, the outcome, and whether it died at all."""
    world, fuse = new_world(), Fuse(burns_at)
    world.measures = book is MEASURED
    try:
        outcome = await one_life(store, world, book, fuse)
    except Died:
        outcome = ""
    if fuse.died.is_set():
        outcome = await one_life(store, world, book, Fuse(NO_FUSE))
    return world, outcome, fuse.died.is_set()


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("book", "end", "expected"),
    [
        (RETURNED, "returned", ["cordon", "collect", "reboot", "run_checks", "uncordon"]),
        (HANDED_OVER, "handed_over", ["cordon", "ticket", "page"]),
        (MEASURED, "returned", ["cordon", "collect", "reboot", "run_checks", "bench", "uncordon"]),
    ],
    ids=["returned", "handed-over", "measured"],
)
async def test_i4_killed_at_every_boundary(new_store: NewStore, book: Playbook, end: str, expected: list[str]) -> None:
    world, outcome, _ = await whole_story(new_store(), book, NO_FUSE)
    assert (outcome, world.in_order) == (end, expected)
    died, burns_at = True, 0
    while died:
        burns_at += 1
        world, outcome, died = await whole_story(new_store(), book, burns_at)
        assert outcome == end, f"boundary {burns_at}"
        assert set(world.effects.values()) == {1}, f"boundary {burns_at}: {world.effects}"
        assert list(dict.fromkeys(world.in_order)) == expected, f"boundary {burns_at}"
    assert burns_at > 10


async def test_i7_what_was_acknowledged_is_in_the_log(new_store: NewStore) -> None:
    """A node's event leaves its outbox only when the log has it, wherever the controller dies."""
    for burns_at in range(1, 12):
        world, fuse = new_world(), Fuse(burns_at)
        store = new_store()
        with contextlib.suppress(Died):
            await one_life(store, world, RETURNED, fuse)
        missing = {1, 2} - set(world.outbox)
        cell = await live(store, World("n1"), rules(RETURNED), FINDING, Fuse(NO_FUSE), until=time.monotonic() + 0.05)
        if 2 in missing:
            assert cell.belief.incidents or cell.belief.nodes["n1"].findings
        await asyncio.sleep(0)
