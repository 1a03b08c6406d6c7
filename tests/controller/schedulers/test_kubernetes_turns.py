"""Few at one time, the urgent first, and none held up by one that hangs."""

from __future__ import annotations

import asyncio

from controller.schedulers.kubernetes_turns import Turns, Urgency


async def ask(turns: Turns, urgency: Urgency, name: str, done: list[str], until: asyncio.Event | None = None) -> None:
    async with turns.turn(urgency):
        if until is not None:
            await until.wait()
        done.append(name)


async def test_the_urgent_go_first_and_else_whoever_came_first() -> None:
    turns, done, blocked = Turns(free=1, slow_s=60.0), list[str](), asyncio.Event()
    first = asyncio.create_task(ask(turns, Urgency.NOTE, "first", done, blocked))
    await asyncio.sleep(0)
    asked = [(Urgency.NOTE, "note"), (Urgency.LOOK, "look"), (Urgency.EFFECT, "one"), (Urgency.EFFECT, "two")]
    others = [asyncio.create_task(ask(turns, urgency, name, done)) for urgency, name in asked]
    await asyncio.sleep(0)

    blocked.set()
    await asyncio.gather(first, *others)

    assert done == ["first", "one", "two", "look", "note"]
    assert turns.free == 1


async def test_one_that_hangs_gives_its_turn_up_and_none_is_given_twice() -> None:
    turns, done, never = Turns(free=1, slow_s=0.01), list[str](), asyncio.Event()
    hanging = asyncio.create_task(ask(turns, Urgency.EFFECT, "hanging", done, never))
    await asyncio.sleep(0)

    await ask(turns, Urgency.LOOK, "other", done)

    assert done == ["other"]
    never.set()
    await hanging
    assert turns.free == 1


async def test_one_that_gives_up_waiting_leaves_its_turn_to_the_next() -> None:
    turns, done, blocked = Turns(free=1, slow_s=60.0), list[str](), asyncio.Event()
    first = asyncio.create_task(ask(turns, Urgency.LOOK, "first", done, blocked))
    await asyncio.sleep(0)
    impatient = asyncio.create_task(ask(turns, Urgency.LOOK, "impatient", done))
    patient = asyncio.create_task(ask(turns, Urgency.LOOK, "patient", done))
    await asyncio.sleep(0)

    impatient.cancel()
    blocked.set()
    await asyncio.gather(first, patient)

    assert done == ["first", "patient"]
    assert turns.free == 1


async def test_one_that_is_cancelled_in_the_moment_it_is_called_passes_the_turn_on() -> None:
    turns, done = Turns(free=1, slow_s=60.0), list[str]()
    await turns._take(Urgency.LOOK)
    called = asyncio.create_task(ask(turns, Urgency.LOOK, "called", done))
    await asyncio.sleep(0)

    turns._give()
    called.cancel()
    await asyncio.gather(called, return_exceptions=True)

    assert done == []
    assert turns.free == 1
