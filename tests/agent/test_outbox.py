"""The outbox on a real disk: nothing that was put is lost, whatever is killed, full or damaged."""

from __future__ import annotations

import itertools
import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.database_file import LASTING, SET_ASIDE_KEPT, SIDES
from agent.outbox import MAX_MOMENTS, RETRY_S, Outbox
from checks.finding import Action, Finding, FindingKey, Verdict
from wire import messages
from wire.messages import AgentStarted, EventBody, FindingCleared, FindingRaised, OrderEnded, Unknown


class HandClock:
    """Unix time, moved by hand."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def cleared(number: int, *, size: int = 0) -> FindingCleared:
    return FindingCleared(FindingKey("gpu.xid", "host", str(number)), "x" * size, float(number))


def numbers(outbox: Outbox, limit: int = 10_000) -> list[int]:
    return [event.seq for event in outbox.pending(limit)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give where the outbox lies, after an earlier boot, so that numbers begin at 1."""
    Outbox(tmp_path / "outbox.sqlite", "boot-0").close()
    return tmp_path / "outbox.sqlite"


@pytest.mark.parametrize(
    "body",
    [
        FindingRaised(Finding("gpu.xid", "GPU-1", "79", Verdict.FAILED, Action.REBOOT, "off the bus"), 1.0),
        cleared(1),
        AgentStarted(True, "boot-0", "0.1.0", 1.0),
        OrderEnded("inc-1/2/1", "done", "reset", 1.0, 2.0, {"dmesg": "x\x00\n"}),
    ],
)
def test_every_event_comes_out_as_it_went_in(path: Path, body: EventBody) -> None:
    outbox = Outbox(path, "boot-1")
    seq = outbox.put(body, 12.5)
    (event,) = outbox.pending(10)
    outbox.close()

    assert (event.boot_id, event.seq, event.observed_at, event.body) == ("boot-1", seq, 12.5, body)


def test_an_event_says_when_it_was_safe_on_the_disk(path: Path) -> None:
    clock = HandClock()
    outbox = Outbox(path, "boot-1", clock=clock)
    for number in range(MAX_MOMENTS + 1):
        clock.now = 1_700_000_000.0 + number
        outbox.put(cleared(number), 0.0)
    recorded = [event.recorded_at for event in outbox.pending(MAX_MOMENTS + 1)]
    assert recorded == [1_700_000_000.0 + number for number in range(MAX_MOMENTS)] + [0.0], "bounded in memory"
    outbox.stored("boot-1", [1])
    seq = outbox.put(cleared(0), 0.0)
    assert {event.seq: event.recorded_at for event in outbox.pending(1_000)}[seq] == clock.now
    outbox.close()

    outbox = Outbox(path, "boot-1", clock=clock)
    assert {event.recorded_at for event in outbox.pending(1_000)} == {0.0}, "an earlier run of the agent wrote them"
    outbox.close()


def test_an_event_that_the_disk_did_not_take_is_not_said_to_be_safe(path: Path) -> None:
    with sqlite3.connect(path, isolation_level=None) as other:
        outbox = Outbox(path, "boot-1")
        other.execute("BEGIN IMMEDIATE")
        outbox.put(cleared(1), 0.0)
        assert [event.recorded_at for event in outbox.pending(9)] == [0.0]
        other.execute("ROLLBACK")
        outbox.close()


def test_events_wait_oldest_first_until_they_are_stored(path: Path) -> None:
    outbox = Outbox(path, "boot-1")
    assert [outbox.put(cleared(number), 0.0) for number in range(5)] == [1, 2, 3, 4, 5]
    assert numbers(outbox, 3) == [1, 2, 3]
    outbox.stored("boot-1", [2, 3, 99])
    outbox.stored("boot-9", [1])
    assert (numbers(outbox), outbox.depth()) == ([1, 4, 5], 3)
    outbox.close()


def test_a_number_is_never_given_twice_even_when_everything_was_stored(path: Path) -> None:
    for expected in range(1, 6):
        outbox = Outbox(path, "boot-1")
        assert outbox.put(cleared(expected), 0.0) == expected
        outbox.stored("boot-1", [expected])
        assert outbox.depth() == 0
        outbox.close()


def test_each_boot_counts_for_itself_and_earlier_boots_come_first(path: Path) -> None:
    for boot in ("boot-1", "boot-2"):
        outbox = Outbox(path, boot)
        for number in range(2):
            outbox.put(cleared(number), 0.0)
        outbox.close()
    outbox = Outbox(path, "boot-2")

    assert [(event.boot_id, event.seq) for event in outbox.pending(9)] == [
        ("boot-1", 1),
        ("boot-1", 2),
        ("boot-2", 1),
        ("boot-2", 2),
    ]
    outbox.close()


def test_a_new_file_begins_above_all_that_a_lost_one_of_the_same_boot_gave(tmp_path: Path) -> None:
    """The controller would take a number that comes again for a repetition, and drop the event."""
    given_numbers: list[int] = []
    for second in range(3):
        clock = HandClock(1_700_000_000.0 + second)
        outbox = Outbox(tmp_path / "outbox.sqlite", "boot-1", clock=clock)
        given_numbers += [outbox.put(cleared(number), 0.0) for number in range(100)]
        outbox.close()
        (tmp_path / "outbox.sqlite").unlink()

    assert given_numbers == sorted(set(given_numbers))


def test_state_is_kept_under_its_key(path: Path) -> None:
    outbox = Outbox(path, "boot-1")
    assert outbox.load("book") == {}
    outbox.save("book", {"raised": [1, {"a": None}]})
    outbox.save("book", {"raised": [2]})
    outbox.save("ledger", {})
    outbox.close()
    again = Outbox(path, "boot-2")

    assert (again.load("book"), again.load("ledger")) == ({"raised": [2]}, {})
    again.close()


@pytest.mark.parametrize("caps", [{"max_rows": 10}, {"max_bytes": 10 * 1_116}], ids=["rows", "bytes"])
def test_beyond_the_caps_the_oldest_are_dropped_and_counted(path: Path, caps: dict[str, int]) -> None:
    outbox = Outbox(path, "boot-1", **caps)  # type: ignore[arg-type]
    with structlog.testing.capture_logs() as logs:
        for number in range(10, 40):
            outbox.put(cleared(number, size=1_000), 0.0)
    assert (len(numbers(outbox)), outbox.depth(), outbox.dropped) == (10, 10, 20)
    assert numbers(outbox) == list(range(21, 31))
    assert [entry["event"] for entry in logs] == ["outbox.overflowed"]
    outbox.close()
    again = Outbox(path, "boot-2")

    assert again.dropped == 20
    again.close()


KILLED = """
import sys
from pathlib import Path
from agent.outbox import Outbox
from checks.finding import FindingKey
from wire.messages import FindingCleared

outbox = Outbox(Path(sys.argv[1]), "boot-1")
number = 0
while True:
    number += 1
    print("begin", flush=True)
    seq = outbox.put(FindingCleared(FindingKey("c", "d", str(number)), "", 0.0), 0.0)
    print("put", seq, flush=True)
    outbox.save("book", {"seq": seq})
    print("saved", seq, flush=True)
    if number % 3 == 0:
        print("storing", seq - 1, flush=True)
        outbox.stored("boot-1", [seq - 1])
        print("stored", seq - 1, flush=True)
"""


def test_kill_9_at_any_moment_loses_nothing_and_repeats_no_number(path: Path) -> None:
    """Ten agents in a row on one file, each killed after a random word; what they printed they were promised."""
    chance = random.Random(7)
    put: list[int] = []
    gone: set[int] = set()
    perhaps_gone: set[int] = set()
    saved = 0
    for _ in range(10):
        agent = subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True)
        assert agent.stdout is not None
        output = "".join(agent.stdout.readline() for _ in range(chance.randrange(20, 160)))
        agent.kill()
        output += agent.communicate()[0]
        for word, *rest in (line.split() for line in output.splitlines() if line.count(" ") == 1):
            seq = int(rest[0])
            if word == "put":
                put.append(seq)
            elif word == "saved":
                saved = seq
            else:
                (gone if word == "stored" else perhaps_gone).add(seq)
    outbox = Outbox(path, "boot-1")
    waiting = set(numbers(outbox, 1_000_000))

    assert put == sorted(set(put))
    assert len(put) > 100
    assert set(put) - perhaps_gone <= waiting
    assert not gone & waiting
    assert saved <= outbox.load("book")["seq"] <= saved + 1_000
    assert outbox.put(cleared(1), 0.0) > max(put)
    outbox.close()


@contextmanager
def no_more_room(path: Path) -> Iterator[None]:
    """Let the files of this process grow by 200 KB, and no further: a full disk, for real."""
    sizes = [file.stat().st_size for file in path.parent.iterdir()]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (max(sizes) + 200_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def fill(outbox: Outbox) -> list[int]:
    """Put events until the disk takes no more, and three on top."""
    seqs: list[int] = []
    while not outbox.problem:
        seqs.append(outbox.put(cleared(len(seqs), size=4_000), 0.0))
        assert len(seqs) < 5_000, "the disk never became full"
    return seqs + [outbox.put(cleared(number), 0.0) for number in range(3)]


def test_a_full_disk_loses_nothing_while_the_process_lives(path: Path) -> None:
    clock = HandClock()
    outbox = Outbox(path, "boot-1", clock=clock)
    outbox.save("book", {"a": 1})
    with structlog.testing.capture_logs() as logs:
        with no_more_room(path):
            seqs = fill(outbox)
            assert len(seqs) > 10
            outbox.save("book", {"a": 2})
            assert numbers(outbox) == seqs
            assert outbox.load("book") == {"a": 2}
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            outbox.stored("boot-1", seqs[:2])
            assert numbers(outbox) == seqs[2:]
            assert outbox.depth() == len(seqs) - 2
            assert not outbox.flush()
        clock.now += RETRY_S
        assert outbox.flush()
        assert outbox.problem == ""
    assert [entry["event"] for entry in logs] == ["outbox.unwritable"]
    assert "full" in logs[0]["because"] or "I/O" in logs[0]["because"]
    assert seqs == sorted(set(seqs))
    outbox.close()
    again = Outbox(path, "boot-1")

    assert (numbers(again), again.load("book"), again.depth()) == (seqs[2:], {"a": 2}, len(seqs) - 2)
    assert again.put(cleared(0), 0.0) > max(seqs)
    again.close()


def test_after_a_full_disk_and_a_crash_no_number_is_given_twice(path: Path) -> None:
    """Events in memory may have been sent: their numbers must never name others."""
    outbox = Outbox(path, "boot-1")
    with no_more_room(path):
        seqs = fill(outbox)
        outbox._close()
    again = Outbox(path, "boot-1")
    more = [again.put(cleared(number), 0.0) for number in range(50)]
    again.close()

    assert not set(seqs) & set(more)


def test_a_directory_that_cannot_be_written_is_no_reason_not_to_start(tmp_path: Path) -> None:
    """A file stands where the directory should be: nothing can be opened, whoever we are."""
    (tmp_path / "state").write_text("in the way")
    clock = HandClock()
    outbox = Outbox(tmp_path / "state" / "outbox.sqlite", "boot-1", clock=clock)
    seqs = [outbox.put(cleared(number), 0.0) for number in range(3)]
    assert numbers(outbox) == seqs
    assert "outbox.sqlite" in outbox.problem
    (tmp_path / "state").unlink()
    clock.now += RETRY_S
    assert outbox.flush()
    outbox.close()
    again = Outbox(tmp_path / "state" / "outbox.sqlite", "boot-1")

    assert numbers(again) == seqs
    again.close()


def _overwrite_header(path: Path) -> None:
    path.write_bytes(b"not a database, by no means" * 1_000)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _scribble(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for place in range(4_096, len(content), 64):
        content[place : place + 32] = b"\xff" * 32
    path.write_bytes(content)


def _write_by_another_version(path: Path) -> None:
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 99")
    database.close()


@pytest.mark.parametrize("damage", [_overwrite_header, _truncate, _scribble, _write_by_another_version])
def test_a_damaged_file_is_set_aside_and_a_new_one_begun(path: Path, damage: object) -> None:
    outbox = Outbox(path, "boot-1")
    before = [outbox.put(cleared(number, size=200), 0.0) for number in range(200)]
    outbox.close()
    assert callable(damage)
    damage(path)
    with structlog.testing.capture_logs() as logs:
        again = Outbox(path, "boot-1")
    seq = again.put(cleared(1), 0.0)

    assert [entry["event"] for entry in logs] == ["outbox.damaged"]
    assert Path(logs[0]["set_aside"]).is_file()
    assert (numbers(again), again.problem) == ([seq], "")
    assert seq > max(before)
    again.close()


def test_of_many_damaged_files_the_newest_are_kept(path: Path) -> None:
    for number in range(SET_ASIDE_KEPT + 2):
        _overwrite_header(path)
        Outbox(path, "boot-1", clock=HandClock(1_700_000_000.0 + number)).close()

    assert len(list(path.parent.glob("*.damaged-*"))) == SET_ASIDE_KEPT


def test_a_file_damaged_while_it_is_open_is_set_aside_and_what_follows_is_kept(path: Path) -> None:
    outbox = Outbox(path, "boot-1")
    for number in range(500):
        outbox.put(cleared(number, size=400), 0.0)
    assert outbox._connection is not None
    outbox._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    outbox._connection.execute("PRAGMA shrink_memory")
    _scribble(path)
    numbers(outbox)
    later = [outbox.put(cleared(number), 0.0) for number in range(3)]

    assert later == sorted(set(later))
    assert later[0] > 500
    assert set(later) <= set(numbers(outbox))
    assert outbox.problem == ""
    outbox.close()


def _make_folder(path: Path) -> None:
    path.mkdir()
    (path / "something").touch()


@pytest.mark.parametrize("put", [_make_folder, os.mkfifo, lambda path: path.symlink_to("/dev/null")])
def test_what_is_no_file_is_set_aside(tmp_path: Path, put: Callable[[Path], object]) -> None:
    path = tmp_path / "outbox.sqlite"
    put(path)
    outbox = Outbox(path, "boot-1")
    seq = outbox.put(cleared(1), 0.0)
    assert (outbox.problem, len(list(tmp_path.glob("*.damaged-*")))) == ("", 1)
    outbox.close()
    again = Outbox(path, "boot-1")
    assert numbers(again) == [seq]
    again.close()


def _delete(path: Path) -> None:
    for side in SIDES:
        Path(f"{path}{side}").unlink()


def _replace_by_folder(path: Path) -> None:
    _delete(path)
    path.mkdir()


def _restore_a_copy(path: Path) -> None:
    for side in SIDES:
        copy = Path(f"{path}{side}.copy")
        shutil.copyfile(f"{path}{side}", copy)
        copy.replace(f"{path}{side}")


def _cut_short(path: Path) -> None:
    for side in LASTING:
        os.truncate(f"{path}{side}", 0)


@pytest.mark.parametrize("harm", [_delete, _replace_by_folder, _restore_a_copy, _cut_short])
def test_a_file_that_goes_while_it_is_open_takes_nothing_with_it(path: Path, harm: Callable[[Path], None]) -> None:
    outbox = Outbox(path, "boot-1")
    for number in range(5):
        outbox.put(cleared(number), 0.0)
    outbox.stored("boot-1", [1])
    outbox.save("book", {"raised": 1})
    harm(path)
    with structlog.testing.capture_logs() as logs:
        assert outbox.put(cleared(5), 0.0) > 5
    assert logs[0]["event"] == "outbox.replaced"
    assert outbox.problem == ""
    waiting = numbers(outbox)
    assert waiting[:4] == [2, 3, 4, 5]
    outbox.close()
    again = Outbox(path, "boot-1")
    assert (numbers(again), again.depth(), again.load("book")) == (waiting, 5, {"raised": 1})
    assert again.put(cleared(6), 0.0) > waiting[-1]
    again.close()


NEWER = [
    ("future", {"type": "future", "colour": 3}),
    ("finding.cleared", {"type": "finding.cleared", "key": ["not", "as", "here"]}),
]


@pytest.mark.parametrize(("kind", "body"), NEWER)
def test_an_event_of_a_newer_version_is_handed_on_as_it_is(path: Path, kind: str, body: dict[str, Any]) -> None:
    """An agent that went back to an older version sends what the newer one had not sent yet."""
    outbox = Outbox(path, "boot-1")
    outbox.put(cleared(1), 0.0)
    assert outbox._connection is not None
    outbox._connection.execute("UPDATE events SET body = ?", (json.dumps(body).encode(),))
    (event,) = outbox.pending(10)
    assert isinstance(event.body, Unknown)
    assert event.body.kind == kind
    sent = json.loads(messages.encode(messages.Envelope(1, "n1", "boot-1", event.seq, 0.0, event.body)))
    assert (sent["body"], outbox.dropped) == (body, 0)
    outbox.close()


@pytest.mark.parametrize("body", [b'{"type":"future"', b'{"type":"\xff\xff"}', b'{"kind":"future"}', b"[]"])
def test_an_event_that_cannot_be_understood_is_given_up_and_counted(path: Path, body: bytes) -> None:
    """The disk damaged it."""
    outbox = Outbox(path, "boot-1")
    for number in range(3):
        outbox.put(cleared(number), 0.0)
    assert outbox._connection is not None
    outbox._connection.execute("UPDATE events SET body = ? WHERE seq = 2", (body,))

    assert numbers(outbox) == [1, 3]
    assert (outbox.depth(), outbox.dropped) == (2, 1)
    outbox.close()


@pytest.mark.parametrize("value", [b"[", b'{"raised":"\xff\xff"}'])
def test_state_that_cannot_be_understood_is_none(path: Path, value: bytes) -> None:
    outbox = Outbox(path, "boot-1")
    outbox.save("book", {"raised": 1})
    assert outbox._connection is not None
    outbox._connection.execute("UPDATE state SET value = ?", (value,))
    outbox.close()
    again = Outbox(path, "boot-1")
    assert again.load("book") == {}
    again.close()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(["put", "store oldest", "store newest", "reopen", "reboot"]), max_size=25))
def test_it_holds_what_was_put_and_not_stored_whatever_the_order(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    path = tmp_path_factory.mktemp("outbox") / "outbox.sqlite"
    boots = (f"boot-{number}" for number in itertools.count())
    boot = next(boots)
    outbox = Outbox(path, boot)
    expected: list[tuple[str, int]] = []
    ever: list[tuple[str, int]] = []
    for step in steps:
        if step == "put":
            name = (boot, outbox.put(cleared(1), 0.0))
            expected.append(name)
            ever.append(name)
        elif step.startswith("store") and expected:
            boot_id, seq = expected.pop(0 if step == "store oldest" else -1)
            outbox.stored(boot_id, [seq])
        elif step in ("reopen", "reboot"):
            outbox.close()
            boot = next(boots) if step == "reboot" else boot
            outbox = Outbox(path, boot)
        assert [(event.boot_id, event.seq) for event in outbox.pending(100)] == expected
        assert outbox.depth() == len(expected)
    assert len(ever) == len(set(ever))
    outbox.close()
