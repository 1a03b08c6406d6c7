"""I4 where things only half work: killed at every boundary of retries, of what is undone, of canaries and approvals.

The scheduler, the BMC, the node and the receivers of notices count what is done to them. Boundaries are those of
test_interrupted.py: before and after every commit, and before and after every effect.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from controller.events import Logged, PlaybooksTrusted, StepProgressed
from controller.policy.belief import Belief
from controller.policy.playbook import Mode, Playbook, Retry, Step, Verb
from controller.store.sqlite import SqliteLog
from tests.controller.conftest import Store
from tests.controller.test_interrupted import FINDING, HANDED_OVER, NO_FUSE, new_world, quick, rules
from tests.support.interrupted import Died, Fuse, World, live
from tests.support.policy import playbook

POWER_LIMIT_S = 2.0
"""How long a power cycle that may have happened is waited for: above what a busy machine takes to come back."""

QUICK = Retry(0.01, 1.0, 0.02)


def retried(book: Playbook, **changes: float) -> Playbook:
    """Return the playbook with attempts that come soon."""
    steps = tuple(replace(step, retry=QUICK, limit_s=changes.get(step.name, step.limit_s)) for step in book.steps)
    return replace(book, steps=steps, hand_over=tuple(replace(step, retry=QUICK) for step in book.hand_over))


POWERED = retried(
    playbook("gpu_lost", Verb.CORDON, Verb.DRAIN, Verb.POWER_CYCLE, Verb.VERIFY, Verb.UNCORDON),
    power_cycle=POWER_LIMIT_S,
)
FLAKY = retried(quick(playbook("gpu_lost", Verb.CORDON, Verb.DRAIN, Verb.REBOOT, Verb.VERIFY, Verb.UNCORDON)))
ASKING = replace(
    FLAKY,
    mode=Mode.ASK,
    steps=(Step("approve", Verb.APPROVE, 60.0, parameters={"question": "Now?"}), *FLAKY.steps),
)
FAILS_TWICE = {"cordon": 2, "uncordon": 2, "ticket": 1, "page": 1, "power": 2}


@dataclass(frozen=True, slots=True)
class Story:
    """One whole incident.

    Attributes:
        effects: what must have been done in the end, each under its own key.
        before: the text that the cell trusts, where `book` is a changed one.
    """

    book: Playbook
    end: str
    effects: tuple[str, ...]
    has_bmc: bool = False
    unanswered: tuple[str, ...] = ()
    half_done: bool = False
    person: bool = False
    before: Playbook | None = None

    def world(self) -> World:
        world = new_world()
        world.has_bmc, world.half_done, world.person = self.has_bmc, self.half_done, self.person
        world.unanswered = {what: FAILS_TWICE[what] for what in self.unanswered}
        return world


STORIES = {
    "power": Story(POWERED, "returned", ("cordon", "power_cycle", "run_checks", "uncordon"), has_bmc=True),
    "retries": Story(
        FLAKY, "returned", ("cordon", "reboot", "run_checks", "uncordon"), unanswered=("cordon", "uncordon")
    ),
    "retried notices": Story(
        retried(HANDED_OVER), "handed_over", ("cordon", "ticket", "page"), unanswered=("cordon", "ticket", "page")
    ),
    "retried power": Story(
        POWERED,
        "returned",
        ("cordon", "power_cycle", "run_checks", "uncordon"),
        has_bmc=True,
        unanswered=("power",),
    ),
    "compensation": Story(FLAKY, "handed_over", ("cordon", "ticket", "page", "uncordon"), half_done=True),
    "approvals": Story(ASKING, "returned", ("cordon", "reboot", "run_checks", "uncordon"), person=True),
    "canary ends well": Story(
        FLAKY,
        "returned",
        ("cordon", "reboot", "run_checks", "uncordon"),
        before=replace(FLAKY, summary="as before", digest="before"),
    ),
    "canary ends badly": Story(
        retried(HANDED_OVER),
        "handed_over,",
        ("cordon", "ticket", "page", "ticket of inc-000002"),
        before=replace(HANDED_OVER, summary="as before", digest="before"),
    ),
}


async def trust(store: Store, book: Playbook) -> None:
    """Have a cell that has trusted a text."""
    log = store()
    log.begin_term()
    await log.append([Logged(1, time.time(), PlaybooksTrusted([book], "so."))], [])
    log.close()


async def told(store: Store, story: Story, burns_at: int) -> tuple[World, str, Belief, bool]:
    """Tell a story to its end, dying once; return the world, how its incidents ended, belief, and whether it died."""
    world, fuse = story.world(), Fuse(burns_at)
    if story.before is not None:
        await trust(store, story.before)
    cell = None
    with contextlib.suppress(Died):
        cell = await live(store, world, rules(story.book), FINDING, fuse, until=time.monotonic() + 20)
    if fuse.died.is_set() or cell is None:
        cell = await live(store, world, rules(story.book), FINDING, Fuse(NO_FUSE), until=time.monotonic() + 20)
    outcomes = ",".join(incident.outcome for incident in cell.belief.incidents.values())
    return world, outcomes, cell.belief, fuse.died.is_set()


def named(world: World) -> set[str]:
    """Return what was done, without attempts; of another incident than the first with its name."""
    found = set()
    for effect in world.effects:
        what, _, key = effect.partition(" ")
        incident = key.partition("/")[0]
        found.add(what if incident == "inc-000001" else f"{what} of {incident}")
    return found


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", STORIES)
async def test_i4_killed_at_every_boundary_of_what_half_works(tmp_path: Path, name: str) -> None:
    story, died, burns_at = STORIES[name], True, 0
    while died:
        store = partial(SqliteLog, tmp_path / f"{burns_at}.sqlite")
        world, outcome, belief, died = await told(store, story, burns_at or NO_FUSE)
        where = f"{name}: boundary {burns_at}"
        assert outcome == story.end, where
        assert set(world.effects.values()) == {1}, f"{where}: {world.effects}"
        assert named(world) == set(story.effects), where
        assert world.held == ({} if "uncordon" in story.effects else {"n1": "inc-000001"}), where
        assert set(belief.held) == set(world.held), where
        died, burns_at = died or not burns_at, burns_at + 1
    assert burns_at > 10


@dataclass(slots=True)
class FuseAt(Fuse):
    """Kills at the n-th time that one boundary is crossed."""

    where: str = ""
    times: int = 1

    def cross(self, where: str) -> None:
        self.times -= where == self.where
        if where == self.where and not self.times:
            self.burns_at = len(self.crossed) + 1
        Fuse.cross(self, where)


@pytest.mark.timeout(60)
async def test_a_retry_that_outlives_a_restart_goes_on_counting(tmp_path: Path) -> None:
    """Two failures before the controller dies and one after it are three."""
    world = STORIES["retries"].world()
    world.unanswered = {"cordon": 3}
    fuse = FuseAt(NO_FUSE, where="before cordon", times=3)
    store = partial(SqliteLog, tmp_path / "events.sqlite")
    with contextlib.suppress(Died):
        await live(store, world, rules(FLAKY), FINDING, fuse, until=time.monotonic() + 20)
    assert (fuse.died.is_set(), world.unanswered) == (True, {"cordon": 1})
    await live(store, world, rules(FLAKY), FINDING, Fuse(NO_FUSE), until=time.monotonic() + 20)
    log = store()
    counted = [entry.event.failures for entry in log.read() if isinstance(entry.event, StepProgressed)]
    log.close()
    assert (counted, world.effects["cordon inc-000001/cordon/1"]) == ([1, 2, 3], 1)
