"""I4 for tickets and pages to their end: killed at every boundary from the hand-over on, nothing is sent twice.

The ticket is filed, somebody closes it there, the node is verified and returned, ticket and page are closed. Boundaries
are those of tests/controller/test_interrupted.py, and before and after each change of a notice.
"""

from __future__ import annotations

import contextlib
import time
from functools import partial
from pathlib import Path

import pytest

from controller.policy.belief import Belief
from controller.store.sqlite import SqliteLog
from tests.controller.test_interrupted import FINDING, HANDED_OVER, NO_FUSE, new_world, rules
from tests.support.interrupted import Died, Fuse, World, live

EXPECTED = {"cordon", "ticket", "page", "run_checks", "uncordon", "ticket closed", "page closed"}
TOLD = {"ticket told", "page told"}
"""Whether these come depends on who is heard first."""


async def told(path: Path, burns_at: int, *, tells_repeats: bool) -> tuple[World, Belief, Fuse]:
    """Tell the story to its end, dying once."""
    world, fuse = new_world(), Fuse(burns_at)
    world.mail, world.tells_repeats, world.broken = True, tells_repeats, FINDING
    store = partial(SqliteLog, path)
    cell = None
    with contextlib.suppress(Died):
        cell = await live(store, world, rules(HANDED_OVER), FINDING, fuse, until=time.monotonic() + 20)
    if fuse.died.is_set() or cell is None:
        cell = await live(store, world, rules(HANDED_OVER), FINDING, Fuse(NO_FUSE), until=time.monotonic() + 20)
    return world, cell.belief, fuse


@pytest.mark.timeout(120)
@pytest.mark.parametrize("tells_repeats", [True, False], ids=["looks first", "cannot tell a repeat"])
async def test_i4_notices_are_followed_to_their_end_wherever_a_controller_dies(
    tmp_path: Path, *, tells_repeats: bool
) -> None:
    world, _, fuse = await told(tmp_path / "whole.sqlite", NO_FUSE, tells_repeats=tells_repeats)
    assert set(_names(world)) - TOLD == EXPECTED
    begins = fuse.crossed.index("before ticket")
    seams = [n for n, where in enumerate(fuse.crossed, 1) if n > begins and "looked" not in where]
    for burns_at in seams:
        world, belief, _ = await told(tmp_path / f"{burns_at}.sqlite", burns_at, tells_repeats=tells_repeats)
        where = f"boundary {burns_at}"
        assert [incident.outcome for incident in belief.incidents.values()] == ["returned"], where
        assert set(world.effects.values()) == {1}, f"{where}: {world.effects}"
        assert set(_names(world)) - TOLD == EXPECTED, where
        assert not (tells_repeats and world.open_mail()), where
        assert not belief.notices.open_threads, where
    assert len(seams) > 10


def _names(world: World) -> list[str]:
    return [effect.rpartition(" ")[0] for effect in world.effects if world.effects[effect]]
