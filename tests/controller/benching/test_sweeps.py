"""A whole sweep over real messages: signed orders go out, ids are carried, results come back, and controllers die."""

from __future__ import annotations

import random
import time
from collections import Counter

import msgspec
import pytest

from benchmarks.simulated_fabric import Fault, Network, Noise
from controller.sweep_events import SweepEnded
from tests.controller.conftest import NewStore
from tests.support.interrupted import Died, Fuse
from tests.support.swept_nodes import SweptNodes
from tests.support.swept_world import SweptWorld, sweep_life

NO_FUSE = 10**9
LIMIT_S = 30.0


def world(*faults: Fault, size: int = 16) -> SweptWorld:
    """Return two units of eight nodes, n0 to n7 and n8 to n15, that a controller has not heard of yet."""
    made = Network(size, 8, 4, True, True, random.Random(1), Noise(0.0, 0.0, 0.0))
    made.faults = faults
    return SweptWorld(SweptNodes(made))


async def one_life(store: object, nodes: SweptWorld, burns_at: int = NO_FUSE) -> SweepEnded | None:
    fuse = Fuse(burns_at)
    try:
        return await sweep_life(store, nodes, fuse, until=time.monotonic() + LIMIT_S)  # type: ignore[arg-type]
    except Died:
        return None


async def test_a_unique_id_goes_from_rank_0_to_the_others_and_is_kept_nowhere(new_store: NewStore) -> None:
    store, nodes = new_store(), world(Fault("node", 0.5, node="n5"))
    ended = await one_life(store, nodes)
    assert ended is not None
    assert [(v.kind, v.parts) for v in ended.verdicts] == [("node", ["n5"])]
    first = {lease: nodes.ordered.index((lease, 0)) for lease in nodes.ids}
    assert all(first[lease] <= place for place, (lease, _) in enumerate(nodes.ordered))
    assert set(Counter(nodes.ordered).values()) == {1}, "each rank is ordered once"
    log = store()
    try:
        text = b"".join(msgspec.json.encode(entry) for entry in log.read())
    finally:
        log.close()
    assert nodes.ids and not any(unique_id.encode() in text for unique_id in nodes.ids.values())
    assert nodes.stopped == []


@pytest.mark.parametrize(
    ("fault", "kind", "parts"),
    [
        (Fault("port", 0.5, node="n3", rail=2), "link", ["n3 rail 2"]),
        (Fault("leaf", 0.5, unit=1, rail=4), "switch", ["leaf-12"]),
    ],
    ids=["link", "switch"],
)
async def test_links_and_switches_are_named(new_store: NewStore, fault: Fault, kind: str, parts: list[str]) -> None:
    ended = await one_life(new_store(), world(fault))
    assert ended is not None
    assert [(v.kind, v.parts) for v in ended.verdicts] == [(kind, parts)]


@pytest.mark.timeout(300)
async def test_killed_in_between_the_next_controller_asks_again_and_names_the_same(new_store: NewStore) -> None:
    """Before and after commits and orders, spread over the whole sweep: the same is named, and no lease is left."""
    whole = Fuse(NO_FUSE)
    await sweep_life(new_store(), world(Fault("node", 0.5, node="n5")), whole, until=time.monotonic() + LIMIT_S)
    cuts = [number for number, where in enumerate(whole.crossed, start=1) if where.split()[1] in {"commit", "order"}]
    assert len(cuts) > 100
    for burns_at in cuts[7::6]:
        store, nodes = new_store(), world(Fault("node", 0.5, node="n5"))
        ended = await one_life(store, nodes, burns_at) or await one_life(store, nodes)
        assert ended is not None, f"boundary {burns_at}"
        assert [v.parts for v in ended.verdicts] == [["n5"]], f"boundary {burns_at}"
        assert len(ended.cleared) == 15, f"boundary {burns_at}"


async def test_what_is_no_word_of_rank_0_is_not_handed_on(new_store: NewStore) -> None:
    """Neither from another rank nor in another form; the world asserts that each rank gets the true id."""
    nodes = world()
    nodes.lies = ((1, "ab" * 8), (0, "not an id"), (0, ""), (0, "abc"), (0, "ab" * 600))
    ended = await one_life(new_store(), nodes)
    assert nodes.ids and ended is not None and len(ended.cleared) == 16
