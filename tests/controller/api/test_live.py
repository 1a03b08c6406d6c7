"""The stream that keeps pages fresh: what changed and no more, from where a page left off, bounded for who is slow."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from controller.api import app, live
from controller.cell import Cell
from controller.changes import ENTRIES_KEPT, Changes
from controller.events import Logged, NodePlaced, OperatorActed, PresenceChanged
from controller.policy import folding
from controller.policy.belief import Belief
from tests.support.open_cell import OpenCell, disk_full, open_cell

LIVE = "/api/v1/live"


async def heard(answer: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, int, dict[str, Any]]]:
    """Yield what a browser's EventSource would hear: kind, number and content."""
    async with asyncio.timeout(10.0):
        async for line in answer.content:
            if line.startswith(b"event: "):
                kind = line[7:].strip().decode()
                number = int((await answer.content.readline())[4:])
                yield kind, number, json.loads((await answer.content.readline())[6:])


async def change(answer: aiohttp.ClientResponse) -> tuple[int, dict[str, Any]]:
    """Return the next change."""
    async for kind, number, content in heard(answer):
        if kind != "beat":
            assert kind == "change", kind
            return number, content
    raise AssertionError("the stream ended")


async def until_told_of(answer: aiohttp.ClientResponse, row: list[Any]) -> None:
    """Wait until a row of the map is told."""
    while row not in (await change(answer))[1]["nodes"]:
        pass


async def test_a_finding_is_told_with_the_row_that_the_map_draws(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    async with http.get(LIVE) as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream")
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        await cell.nodes.find("n3", disk_full())
        _, content = await change(answer)
        assert [row[0] for row in content["nodes"]] == ["n3"] and not content["moved"]
        assert content["incidents"] == ["inc-000001"]
        assert content["nodes"] == [["n3", "d", 0, 0, "waits: approval"]]


async def test_a_page_that_comes_back_gets_what_it_missed_as_one_message(
    cell: OpenCell, http: aiohttp.ClientSession
) -> None:
    async with http.get("/api/v1/map") as answer:
        since = (await answer.json())["event_id"]
    await cell.tell(PresenceChanged("n1", "lost", "Last Will"), PresenceChanged("n2", "stopped", "It was stopped."))
    await cell.tell(PresenceChanged("n1", "online", "The agent connected."))
    async with http.get(LIVE, headers={"Last-Event-ID": str(since)}) as answer:
        number, content = await change(answer)
    rows = {row[0]: row[1] for row in content["nodes"]}
    assert (rows["n1"], rows["n2"]) == ("o", "u") and number == cell.cell.belief.last_event_id
    async with http.get(f"{LIVE}?since={number}") as answer:
        await cell.tell(PresenceChanged("n4", "stopped", "It was stopped."))
        assert [row[0] for row in (await change(answer))[1]["nodes"]] == ["n4"]


@pytest.mark.parametrize("away", ["0", "999999999"])
async def test_a_page_of_another_time_is_told_to_look_anew(
    cell: OpenCell, http: aiohttp.ClientSession, away: str
) -> None:
    cell.front.changes = Changes()
    async with http.get(LIVE, headers={"Last-Event-ID": away}) as answer:
        kinds = [(kind, number) async for kind, number, _ in heard_first(answer, 2)]
    assert kinds[1] == ("reset", cell.cell.belief.last_event_id)


async def heard_first(answer: aiohttp.ClientResponse, count: int) -> AsyncIterator[tuple[str, int, dict[str, Any]]]:
    """Yield the first messages."""
    async for message in heard(answer):
        yield message
        count -= 1
        if not count:
            return


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("since=-1", 422, "since"),
        ("since=1e3", 422, "since"),
        ("since=", 422, "since"),
        ("since=" + "9" * 40, 422, "since"),
        ("after=1", 400, "after"),
    ],
)
async def test_a_place_that_is_none_is_refused(
    http: aiohttp.ClientSession, query: str, status: int, field: str
) -> None:
    async with http.get(f"{LIVE}?{query}") as answer:
        assert (answer.status, (await answer.json())["field"]) == (status, field)


async def test_no_more_pages_are_told_than_there_is_room_for(
    http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MOST_PAGES", 1)
    async with http.get(LIVE) as first:
        async with http.get(LIVE) as second:
            assert second.status == 429 and "1 pages are told already" in (await second.json())["error"]
        assert first.status == 200


async def test_who_hears_nothing_else_hears_the_beat(
    http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "BEAT_S", 0.02)
    async with http.get(LIVE) as answer:
        assert {kind async for kind, _, _ in heard_first(answer, 4)} == {"beat"}


async def test_a_page_that_knows_more_than_was_told_to_others_waits_for_what_comes_after(
    cell: OpenCell, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "GAP_S", 1.0)
    before = cell.cell.belief.last_event_id
    async with http.get(LIVE) as first:
        await cell.tell(PresenceChanged("n1", "stopped", "It was stopped."))
        await change(first)
        await cell.tell(PresenceChanged("n2", "stopped", "It was stopped."))
        async with http.get(f"{LIVE}?since={before - 1}") as second:
            assert [row[0] for row in (await change(second))[1]["nodes"]][:2] == ["n2", "n1"]
            await second.content.readline()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await second.content.readline()


async def test_who_comes_from_every_entry_in_turn_fills_no_memory(
    cell: OpenCell, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MOST_FRAMES", 3)
    for away in range(10):
        async with http.get(f"{LIVE}?since={10_000 + away}") as answer:
            kinds = [kind async for kind, _, _ in heard_first(answer, 2)]
        assert kinds == ["beat", "reset"]
    assert len(cell.app[app.LIVE]._frames) <= 3


async def test_a_page_that_reads_nothing_is_let_go(cell: OpenCell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "WRITE_LIMIT_S", 0.05)
    monkeypatch.setattr(live, "BEAT_S", 0.0)
    address = urlsplit(cell.url)
    with socket.create_connection((address.hostname, address.port)) as stopped:
        stopped.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        stopped.sendall(f"GET {LIVE} HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode())
        told = cell.app[app.LIVE]
        await cell.until_true(lambda: told.readers == 1)
        await cell.until_true(lambda: told.readers == 0)


def test_only_what_came_after_is_told_and_what_is_too_long_ago_is_nobodys_guess() -> None:
    belief, changes = Belief(), Changes()

    def tell(*events: PresenceChanged | NodePlaced | OperatorActed) -> None:
        for event in events:
            entry = Logged(belief.last_event_id + 1, 1_000.0, event)
            folding.apply(belief, entry)
            changes.note(entry, belief)

    tell(*(PresenceChanged(f"n{number % 7}", "online", "so") for number in range(ENTRIES_KEPT + 5)))
    assert changes.since(4, belief) is None and changes.since(ENTRIES_KEPT + 6, belief) is None
    whole, last = changes.since(5, belief), changes.since(ENTRIES_KEPT + 4, belief)
    assert whole is not None and len(whole.nodes) == 7
    assert last is not None and (last.through, len(last.nodes), last.moved) == (ENTRIES_KEPT + 5, 1, False)
    before = belief.last_event_id
    tell(OperatorActed("pause", "rack=r1", "alice", ""), NodePlaced("n1", {"rack": ["r1"]}))
    moved = changes.since(before, belief)
    assert moved is not None and moved.moved


async def test_streams_end_when_the_controller_does(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with aiohttp.ClientSession() as session:
        async with open_cell(tmp_path_factory.mktemp("cell")) as opened:
            answer = await session.get(f"{opened.url}{LIVE}")
            await answer.content.readline()
        async with asyncio.timeout(30.0):
            await answer.content.read()


async def test_a_controller_that_stands_by_tells_what_another_one_logged(cell: OpenCell) -> None:
    told: list[int] = []
    standby = Cell(cell.cell.log, cell.cell.rules, told=lambda entry: told.append(entry.event_id))
    await standby.catch_up()
    assert told == list(range(1, cell.cell.belief.last_event_id + 1))
