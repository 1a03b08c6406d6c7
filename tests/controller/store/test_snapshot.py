"""A snapshot and what came after is the same as the whole log; and one that cannot be read is never half believed."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import typing
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller import events
from controller.policy import folding
from controller.policy.belief import Belief
from controller.policy.rules import Budget, Rules
from controller.store.compaction import compact, write_snapshot
from controller.store.log import EventLog, Snapshot, StoreError
from controller.store.snapshot import BELIEF_SHAPE, SNAPSHOT_VERSION, belief_of, pieces, restore
from tests.controller.policy.test_invariants import BUDGET, NODES, Act, acts
from tests.support.policy import AGENT_LOST, GPU_LOST, GPU_MEMORY, PolicyRun, xid

RULES = Rules((GPU_LOST, GPU_MEMORY, AGENT_LOST), Budget(nodes=BUDGET))


def fold(entries: list[events.Logged], belief: Belief | None = None) -> Belief:
    belief = belief or Belief()
    for entry in entries:
        folding.apply(belief, entry)
    return belief


def again(belief: Belief) -> Belief:
    return belief_of(pieces(belief))


def mutable_parts(value: Any, path: str = "") -> Iterator[tuple[int, str]]:
    """Yield the identity of everything that can change, with the path by which it is reached."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        if value.__dataclass_params__.frozen:  # type: ignore[attr-defined]
            return
        yield id(value), path
        for field in dataclasses.fields(value):
            yield from mutable_parts(getattr(value, field.name), f"{path}.{field.name}")
    elif isinstance(value, dict | list):
        keyed = value.items() if isinstance(value, dict) else enumerate(value)
        for key, each in keyed:
            yield from mutable_parts(each, f"{path}[{key!r}]")


def shared(belief: Belief) -> set[frozenset[str]]:
    """Return the groups of paths that lead to one and the same thing."""
    groups: dict[int, set[str]] = {}
    for identity, path in mutable_parts(belief):
        groups.setdefault(identity, set()).add(path)
    return {frozenset(paths) for paths in groups.values() if len(paths) > 1}


def orders(belief: Belief) -> list[list[Any]]:
    values = (getattr(belief, field.name) for field in dataclasses.fields(belief))
    return [list(value) for value in values if isinstance(value, dict)]


@settings(max_examples=60, deadline=None)
@given(history=st.lists(acts, max_size=30), part=st.floats(0, 1))
def test_i12_a_snapshot_and_the_tail_are_the_whole_log(history: list[Act], part: float) -> None:
    run = PolicyRun(RULES).nodes(*NODES)
    for act in history:
        act(run)
        run.now += 0.01
    cut = int(part * len(run.log))
    restored = fold(run.log[cut:], again(fold(run.log[:cut])))
    assert run.belief == restored
    assert orders(run.belief) == orders(restored)
    assert shared(run.belief) == shared(restored)


def test_what_is_one_thing_is_one_thing_again() -> None:
    run = PolicyRun(RULES).nodes(*NODES)
    run.raise_on("n1", xid("79"))
    belief = again(run.belief)
    assert shared(run.belief) == shared(belief) != set()
    assert belief.open_incidents["inc-000001"] is belief.incidents["inc-000001"]


def shape(kind: Any, seen: set[Any]) -> Iterator[str]:
    """Yield what a type is made of, down to its leaves."""
    if kind in seen:
        return
    seen.add(kind)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        yield f"{kind.__name__}: {[str(member) for member in kind]}"
    elif dataclasses.is_dataclass(kind) or (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        hints = typing.get_type_hints(kind)
        yield f"{getattr(kind, '__name__', kind)}: {hints}"
        for hint in hints.values():
            yield from shape(hint, seen)
    for argument in typing.get_args(kind):
        yield from shape(argument, seen)


def test_whoever_changes_belief_thinks_of_older_snapshots() -> None:
    """Belief's shape is not what `BELIEF_SHAPE` says: raise SNAPSHOT_VERSION unless a snapshot of before still reads
    as the same belief, teach `belief_of` the older version, and then set BELIEF_SHAPE to what this test found."""
    text = "\n".join(shape(Belief, set()))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == BELIEF_SHAPE


async def fill(log: EventLog, nodes: int = 1200) -> PolicyRun:
    run = PolicyRun(RULES)
    for number in range(nodes):
        run.believe(events.PresenceChanged(f"n{number}", "online", "so"))
    run.raise_on("n1", xid("79"))
    await log.append(run.log, [])
    return run


async def test_a_start_reads_the_snapshot_and_the_tail(log: EventLog) -> None:
    run = await fill(log)
    before = len(run.log)
    written = write_snapshot(log, run.belief, now=5.0)
    assert [written] == log.snapshots() == [Snapshot(before, 5.0, SNAPSHOT_VERSION, 5)]
    run.raise_on("n2", xid("95"))
    await log.append(run.log[before:], [])
    assert restore(log) == (run.belief, len(run.log) - before)


async def test_old_entries_go_once_a_snapshot_holds_them(log: EventLog) -> None:
    run = await fill(log, 700)
    day = 86_400.0
    assert compact(log, snapshot_every=10_000, keep_s=day, now=run.now + 2 * day).deleted_through == 0
    told = compact(log, snapshot_every=100, keep_s=day, now=run.now + 2 * day, batch=100)
    assert (len(run.log), len(run.log)) == (told.snapshot_event_id, told.deleted_through)
    left = list(log.read())
    assert left == [entry for entry in run.log if events.incident_of(entry.event)] != []
    assert restore(log) == (run.belief, 0)
    again = compact(log, snapshot_every=100, keep_s=day, now=run.now + 2 * day)
    assert again.snapshot_event_id == told.snapshot_event_id


async def test_only_the_newest_snapshot_is_kept(log: EventLog) -> None:
    run = await fill(log, 700)
    for _ in range(3):
        before = len(run.log)
        run.say(*(events.PresenceChanged(f"n{number}", "stopped", "so") for number in range(200)))
        await log.append(run.log[before:], [])
        compact(log, snapshot_every=100, keep_s=1e9, now=run.now)
    assert [len(run.log)] == [kept.event_id for kept in log.snapshots()]
    assert restore(log) == (run.belief, 0)


@pytest.mark.parametrize("damage", ["version", "missing", "garbage"])
async def test_a_snapshot_that_cannot_be_read_is_passed_over_while_the_log_is_whole(log: EventLog, damage: str) -> None:
    run = await fill(log, 700)
    last = len(run.log)
    parts = list(pieces(run.belief))
    stored = parts[: -1 if damage == "missing" else None]
    for number, part in enumerate(stored):
        log.put_part(last, number, b"garbage" if damage == "garbage" and number == 1 else part)
    version = SNAPSHOT_VERSION + (damage == "version")
    log.finish_snapshot(Snapshot(last, 1.0, version, len(parts)))
    assert restore(log) == (run.belief, last)
    log.delete_events(through=last, before=1e12, keep_incidents=frozenset(), limit=10)
    with pytest.raises(StoreError, match=r"entries up to 10 were deleted .* can read no snapshot \(the one of event"):
        restore(log)


async def test_i6_a_snapshot_of_version_1_keeps_what_is_held(log: EventLog) -> None:
    """It says nothing of confirmed cordons; a node that people have must not be given back for that."""
    run = PolicyRun(RULES).nodes("n1", "n2")
    run.raise_on("n1", xid("79"))
    run.end(run.under_way("n1")[0])
    run.raise_on("n2", xid("79"))
    await log.append(run.log, [])
    older = again(run.belief)
    older.incidents["inc-000001"].cordoned = False
    parts = list(pieces(older))
    for number, part in enumerate(parts):
        log.put_part(len(run.log), number, part)
    log.finish_snapshot(Snapshot(len(run.log), 1.0, 1, len(parts)))
    assert restore(log) == (run.belief, 0)
    assert [incident.cordoned for incident in run.belief.incidents.values()] == [True, False]


class Killed(BaseException):
    """The process that compacts was killed here."""


class Dying:
    """A log whose user dies before or after its n-th write."""

    WRITES = frozenset({"put_part", "finish_snapshot", "drop_parts_before", "delete_events"})

    def __init__(self, log: EventLog, burns_at: int) -> None:
        self._log, self._left = log, burns_at

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._log, name)
        return (lambda *args, **kwargs: self._write(method, args, kwargs)) if name in self.WRITES else method

    def _write(self, method: Any, args: Any, kwargs: Any) -> Any:
        self._burn()
        result = method(*args, **kwargs)
        self._burn()
        return result

    def _burn(self) -> None:
        self._left -= 1
        if self._left == 0:
            raise Killed


async def test_i7_a_compaction_may_be_killed_anywhere(log: EventLog) -> None:
    """Enumerated over every write of compactions that write a snapshot, drop the one before, and delete entries."""
    run = await fill(log, 150)
    died, burns_at = True, 0
    while died:
        burns_at += 1
        before = len(run.log)
        run.say(*(events.PresenceChanged(f"n{number}", "stopped", str(burns_at)) for number in range(30)))
        await log.append(run.log[before:], [])
        dying: Any = Dying(log, burns_at)
        try:
            compact(dying, snapshot_every=10, keep_s=1.0, now=run.now + 100, batch=50)
            died = False
        except Killed:
            assert restore(log)[0] == run.belief, f"boundary {burns_at}"
    assert restore(log) == (run.belief, 0)
    assert log.deleted_through() == len(run.log)
    assert burns_at > 15
