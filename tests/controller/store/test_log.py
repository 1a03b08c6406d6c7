"""What every event log does, whichever database holds it."""

from __future__ import annotations

import asyncio

import pytest

from controller import events
from controller.policy.playbook import Verb
from controller.store.log import EventLog, Fenced, Receipt, Snapshot, StoreError
from controller.store.taken import Taken
from tests.controller.store.conftest import Opener
from wire.messages import NodeFacts


def entry(event_id: int, node: str = "n1", *, at: float | None = None) -> events.Logged:
    fact = events.NodeSeen(node, "boot-1", NodeFacts(gpu_count=event_id, gpu_model='H100 "80GB" – \x00 ü'))
    return events.Logged(event_id, float(event_id) if at is None else at, fact)


def waiting(event_id: int, incident_id: str) -> events.Logged:
    reason = events.Reason("Waiting.", {"verb": Verb.CORDON, "a": "b"})
    return events.Logged(event_id, float(event_id), events.IncidentWaiting(incident_id, "budget", reason))


async def test_what_is_committed_is_read_back_in_order(open_log: Opener) -> None:
    log = open_log()
    log.begin_term()
    await log.append([entry(1), entry(2, "n2"), waiting(3, "inc-1")], [Receipt("n1", "boot-1", 5)])
    again = open_log()
    assert [entry(1), entry(2, "n2"), waiting(3, "inc-1")] == list(again.read())
    assert [waiting(3, "inc-1")] == list(again.read(after=2))
    assert {("n1", "boot-1"): Taken.parse("5", heard_at=0)} == again.recall_taken()


async def test_the_time_is_kept_exactly(log: EventLog) -> None:
    times = [1_790_000_000.123456, 1_790_000_000.1234562, 0.1 + 0.2]
    await log.append([entry(number, at=at) for number, at in enumerate(times, 1)], [])
    assert times == [logged.at for logged in log.read()]


async def test_the_newest_entries_of_a_node_or_an_incident_are_shown(log: EventLog) -> None:
    await log.append([entry(1), entry(2, "n2"), waiting(3, "inc-1"), entry(4)], [])
    assert [entry(1), entry(4)] == await log.timeline(node="n1")
    assert [entry(4)] == await log.timeline(node="n1", limit=1)
    assert [waiting(3, "inc-1")] == await log.timeline(incident_id="inc-1")
    assert [waiting(3, "inc-1"), entry(4)] == await log.timeline(limit=2)


async def test_the_newest_entries_of_some_kinds_that_name_a_node(log: EventLog) -> None:
    online = events.Logged(3, 3.0, events.PresenceChanged("n1", "online", "so"))
    await log.append([entry(1), entry(2, "n2"), online, entry(4), waiting(5, "inc-1")], [])
    assert [entry(1), entry(4)] == await log.of_node("n1", kinds=("node.seen",), limit=9)
    assert [online, entry(4)] == await log.of_node("n1", kinds=("node.seen", "presence.changed"), limit=2)
    assert await log.of_node("n3", kinds=("node.seen",), limit=9) == []
    assert await log.of_node("", kinds=("node.seen", "incident.waiting"), limit=9) == []


async def test_the_timeline_of_a_node_holds_what_its_incidents_came_to(log: EventLog) -> None:
    begun = events.StepIntended(
        "inc-1", "automatic", "cordon", "cordon", 1, "k", "n1", "", {}, 9.0, events.Reason("why")
    )
    ended = events.StepEnded("inc-1", "cordon", 1, "done", "n1 is held.", "k")
    other = events.StepEnded("inc-2", "cordon", 1, "done", "n2 is held.", "k2")
    happened: tuple[events.Event, ...] = (begun, other, ended)
    logged = [events.Logged(number, float(number), event) for number, event in enumerate(happened, 1)]
    await log.append([*logged, entry(4, "n2")], [])
    assert [logged[0], logged[2]] == await log.timeline(node="n1")
    assert [entry(4, "n2")] == await log.timeline(node="n2")
    assert logged[2:] == await log.timeline(node="n1", limit=1)


async def test_entries_and_receipts_are_one_transaction(log: EventLog) -> None:
    await log.append([entry(1)], [])
    with pytest.raises(StoreError, match="cannot write to the event log"):
        await log.append([entry(2), entry(1)], [Receipt("n1", "boot-1", 5)])
    assert ([entry(1)], {}) == (list(log.read()), log.taken)
    assert log.recall_taken() == {}


async def test_commits_queue_up_in_order(log: EventLog) -> None:
    await asyncio.gather(*(log.append([entry(number)], []) for number in range(1, 51)))
    assert [entry(number) for number in range(1, 51)] == list(log.read())


async def test_receipts_take_one_row_for_each_boot(open_log: Opener) -> None:
    log = open_log()
    log.begin_term()
    for first in range(1, 101, 10):
        await log.append([], [Receipt("n1", "boot-1", seq) for seq in range(first, first + 10) if seq != 55])
    await log.append([], [Receipt("n1", "boot-2", 1)])
    again = open_log()
    assert [str(taken) for _, taken in sorted(again.recall_taken().items())] == ["1-54,56-100", "1-1"]


async def test_a_boot_that_is_over_can_be_forgotten(open_log: Opener) -> None:
    log = open_log()
    log.begin_term()
    await log.append([], [Receipt("n1", "boot-1", 1), Receipt("n1", "boot-2", 1)])
    await log.forget_boots([("n1", "boot-1")])
    assert [("n1", "boot-2")] == list(log.taken) == list(open_log().recall_taken())


def test_each_term_has_a_higher_token(open_log: Opener) -> None:
    assert [open_log().begin_term() for _ in range(3)] == [1, 2, 3]


async def test_i8_a_term_that_is_over_commits_nothing(open_log: Opener) -> None:
    old, new = open_log(), open_log()
    old.begin_term()
    await old.append([entry(1)], [])
    new.begin_term()
    for _ in range(2):
        with pytest.raises(Fenced, match=r"term 1 is over, another controller leads"):
            await old.append([entry(2)], [Receipt("n1", "boot-1", 1)])
    await new.append([entry(2, "n2")], [])
    assert [entry(1), entry(2, "n2")] == list(open_log().read())
    assert open_log().recall_taken() == {}


async def test_old_entries_go_and_those_of_open_incidents_stay(log: EventLog) -> None:
    await log.append([entry(1), waiting(2, "inc-1"), waiting(3, "inc-2"), entry(4), entry(5), entry(6)], [])
    batches = []
    while last := log.delete_events(through=5, before=5.0, keep_incidents=frozenset({"inc-2"}), limit=3):
        batches.append(last)
    assert (batches, log.deleted_through()) == ([3, 4], 4)
    assert [waiting(3, "inc-2"), entry(5), entry(6)] == list(log.read())
    size = await log.size()
    assert (size.events, size.deleted_through, size.snapshot_event_id) == (2, 4, 0) and size.used_bytes > 0


async def test_a_young_entry_keeps_all_that_came_after_it(log: EventLog) -> None:
    """The controller's clock was set back: what was written later looks older."""
    await log.append([entry(1), entry(2, at=100.0), entry(3)], [])
    assert log.delete_events(through=3, before=50.0, keep_incidents=frozenset(), limit=10) == 1
    assert log.delete_events(through=3, before=50.0, keep_incidents=frozenset(), limit=10) == 0
    assert [logged.event_id for logged in log.read()] == [2, 3]


async def test_a_snapshot_counts_once_it_is_finished_and_replaces_older_ones(open_log: Opener) -> None:
    log = open_log()
    for event_id in (7, 9):
        for part in range(3):
            log.put_part(event_id, part, bytes([event_id, part]) * 1000)
    assert log.snapshots() == []
    old, new = Snapshot(7, 1.5, 1, 3), Snapshot(9, 2.5, 1, 3)
    log.finish_snapshot(old)
    log.finish_snapshot(new)
    again = open_log()
    assert [new, old] == again.snapshots()
    assert [bytes([7, part]) * 1000 for part in range(3)] == list(again.snapshot_parts(old))
    assert [log.drop_parts_before(9, 2) for _ in range(3)] == [2, 1, 0]
    assert ([new], 3) == (again.snapshots(), len(list(again.snapshot_parts(new))))
    assert (await log.size()).snapshot_event_id == 9


async def test_an_entry_is_the_same_bytes_in_every_store(log: EventLog) -> None:
    """I12: the body is JSON, its keys in the order of the event's fields, those of mappings sorted."""
    await log.append([waiting(1, "inc-1")], [])
    assert stored_body(log) == (
        b'{"type":"incident.waiting","incident_id":"inc-1","for_what":"budget",'
        b'"reason":{"because":"Waiting.","inputs":{"a":"b","verb":"cordon"},"unless":""}}'
    )


def stored_body(log: EventLog) -> bytes:
    row = log._connection.execute("SELECT body FROM events").fetchone()  # type: ignore[attr-defined]
    return row[0] if isinstance(row[0], bytes) else str(row[0]).encode()
