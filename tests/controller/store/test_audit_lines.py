"""An audited export proves that it is whole: any single change of it is found."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import closing

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from controller import events, keys
from controller.store.audit_lines import LinesAudit, audit_lines
from controller.store.chain import Head
from controller.store.exported import read_exported
from controller.store.log import EventLog
from controller.store.seals import KnownKeys, Signer
from controller.store.sqlite import SqliteLog
from tests.controller.store.conftest import Opener

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes([1] * 32))


def signer(key: Ed25519PrivateKey = KEY) -> Signer:
    return Signer(keys.key_id(key), key, KnownKeys("main", keys.public_half(key)))


def entry(event_id: int) -> events.Logged:
    at = 1_790_000_000.123456 + event_id / 7
    if event_id % 3:
        return events.Logged(event_id, at, events.PresenceChanged("n1", "online", f'so "{event_id}" – \x00 ü'))
    reason = events.Reason("Waiting.", {"a": "b"})
    return events.Logged(event_id, at, events.IncidentWaiting("inc-1", "budget", reason))


async def fill(log: EventLog) -> None:
    """A log with a gap, with heads, and with entries that no head vouches for yet."""
    log.begin_term()
    for ids in (range(1, 6), range(6, 9), range(9, 11)):
        await log.append([entry(event_id) for event_id in ids], [])
        place = await log.last_place()
        if place.event_id < 10:
            await log.keep_head(signer().sealed_head(Head(place.event_id, 1.79e9, place.link)))
    log.delete_events(through=3, before=2e9, keep_incidents=frozenset(), limit=9, seals=signer())


def exported(log: EventLog, *, after: int = 0, key: Ed25519PrivateKey = KEY) -> list[bytes]:
    return list(audit_lines(log, signer(key), after=after, now=1.79e9))


def read(*exports: list[bytes], key: Ed25519PrivateKey = KEY) -> LinesAudit:
    walk = LinesAudit(keys.public_half(key))
    for number, lines in enumerate(exports, 1):
        walk.read(b"".join(lines).splitlines(keepends=True), f"export {number}")
    walk.audit.finish()
    return walk


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[bytes]]:
    """One export of a log that was lived in."""
    with closing(SqliteLog(tmp_path_factory.mktemp("log") / "events.sqlite")) as log:
        asyncio.run(fill(log))
        yield exported(log)


async def test_an_export_is_whole_whatever_the_store(open_log: Opener) -> None:
    log = open_log()
    await fill(log)
    walk = read(exported(log))
    found = walk.audit
    assert (found.flaws, found.notes, walk.cell) == ([], [], "main")
    assert (found.entries, found.deleted, found.heads, found.signed_through) == (7, 3, 2, 10)


async def test_an_export_is_read_like_any_other(open_log: Opener) -> None:
    log = open_log()
    await fill(log)
    assert [entry.event_id for entry in read_exported(exported(log), "export")] == list(range(4, 11))
    assert list(log.read()) == list(map(_whole, read_exported(exported(log), "export")))


def _whole(read_back: events.Logged) -> events.Logged:
    """Return the entry: CloudEvents' own time has microseconds."""
    original = entry(read_back.event_id)
    assert abs(original.at - read_back.at) < 1e-6
    return original


async def test_exports_that_follow_each_other_are_one(open_log: Opener) -> None:
    log = open_log()
    await fill(log)
    first = exported(log)
    await log.append([entry(11), entry(12)], [])
    second = exported(log, after=10)
    found = read(first, second).audit
    assert (found.flaws, found.entries, found.signed_through) == ([], 9, 12)
    alone = read(second).audit
    assert alone.flaws == []
    assert alone.notes == ["it begins behind entry 10: nothing is said of what came before"]
    await log.append([entry(13)], [])
    (flaw,) = read(first, exported(log, after=12)).audit.flaws
    assert flaw == "export 2, line 1: it does not follow: it begins behind entry 12, not 10"


def test_an_export_of_a_stranger_is_nobodys(lines: list[bytes]) -> None:
    flaws = read(lines, key=STRANGER).audit.flaws
    assert len(flaws) == 4 and all("which is not known here" in flaw for flaw in flaws)


def test_an_empty_file_is_cut_off() -> None:
    assert read([]).audit.flaws == ["export 1: it is cut off: the last line is not the one that is signed"]


@given(data=st.data())
def test_any_byte_that_is_changed_is_found(lines: list[bytes], data: st.DataObject) -> None:
    whole = bytearray(b"".join(lines))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    assert read([bytes(whole)]).audit.flaws != []


@given(data=st.data())
def test_any_line_that_is_missing_doubled_or_moved_is_found(lines: list[bytes], data: st.DataObject) -> None:
    number, place = (data.draw(st.integers(0, len(lines) - 1)) for _ in range(2))
    match data.draw(st.sampled_from(["missing", "doubled", "moved"])):
        case "missing":
            changed = lines[:number] + lines[number + 1 :]
        case "doubled":
            changed = [*lines[:place], lines[number], *lines[place:]]
        case _:
            rest = lines[:number] + lines[number + 1 :]
            changed = [*rest[:place], lines[number], *rest[place:]]
    assert (changed == lines) == (read(changed).audit.flaws == [])


@given(data=st.data())
def test_any_cut_and_any_insertion_is_found(lines: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(lines)
    begin = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(begin, len(whole)))
    more = data.draw(st.binary(max_size=40) | st.just(b"\n") | st.sampled_from(lines))
    changed = whole[:begin] + more + whole[end:]
    assert (changed == whole) == (read([changed]).audit.flaws == [])


def test_a_line_that_says_the_same_in_other_letters_is_found(lines: list[bytes]) -> None:
    for number, line in enumerate(lines):
        spaced = json.dumps(json.loads(line)).encode() + b"\n"
        flaws = read([*lines[:number], spaced, *lines[number + 1 :]]).audit.flaws
        assert f"export 1, line {number + 1}: it was not written like this" in flaws


@given(junk=st.lists(st.binary(max_size=200), max_size=5))
def test_no_bytes_make_a_traceback_or_a_whole_export(junk: list[bytes]) -> None:
    assert read(junk).audit.flaws != []


def test_thousands_of_flaws_are_counted_and_not_all_told(lines: list[bytes]) -> None:
    found = read([lines[0], *[b"{}\n"] * 1_000]).audit
    assert (len(found.flaws), found.more_flaws) == (100, 901)
