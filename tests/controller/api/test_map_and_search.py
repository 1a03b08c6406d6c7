"""The map's columns are what each node would say by itself, however it came to them; a search finds by any name."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from controller.events import NodePlaced, OperatorActed, PresenceChanged
from tests.support.open_cell import GPU, OpenCell, disk_full, off_the_bus
from wire.messages import NodeFacts


async def shown(http: aiohttp.ClientSession) -> dict[str, Any]:
    """Return the map as it is asked for."""
    async with http.get("/api/v1/map") as answer:
        content: dict[str, Any] = await answer.json()
        return content


def doing(content: dict[str, Any]) -> dict[str, str]:
    """Return what is done about each node, by name."""
    return {content["nodes"][at]: words for words, nodes in content["doing"].items() for at in nodes}


async def test_the_map_says_what_each_node_is_at(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    assert (await shown(http))["health"] == "o" * 10
    cell.scheduler.jobs["n2"] = ("17",)
    await cell.nodes.find("n2", off_the_bus())
    await cell.until_step("n2", "drain")
    cell.scheduler.foreign["n5"] = "bios update (bob)"
    await cell.until_foreign("n5")
    await cell.nodes.find("n3", disk_full())
    await cell.until("n3", "waiting")
    await cell.tell(OperatorActed("pause", "n7", "alice", ""), PresenceChanged("n9", "lost", "Last Will"))
    content = await shown(http)
    assert content["nodes"] == [f"n{number}" for number in range(1, 11)]
    assert content["health"] == "ofdooooouo"
    assert (content["held"], content["paused"]) == ([1], [6])
    assert doing(content) == {"n2": "drain", "n3": "waits: approval", "n5": "held by others"}
    assert content["event_id"] == cell.cell.belief.last_event_id


async def test_the_map_says_where_nodes_stand_and_keeps_up_with_it(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    await cell.tell(
        *(NodePlaced(f"n{n}", {"rack": [f"r{n % 2}"], "leaf": ["leaf-1", "leaf-2"]}, "file") for n in range(1, 9))
    )
    places = (await shown(http))["places"]
    assert [places["rack"]["sets"][at] for at in places["rack"]["of"]] == [["r1"], ["r0"]] * 4 + [[], []]
    assert places["leaf"]["sets"] == [["leaf-1", "leaf-2"], []]
    assert places["site"] == {"sets": [[]], "of": [0] * 10}
    await cell.tell(NodePlaced("n9", {"site": ["ams1"]}, "file"))
    assert (await shown(http))["places"]["site"] == {"sets": [[], ["ams1"]], "of": [0] * 8 + [1, 0]}


async def test_a_paused_place_pauses_its_nodes(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    await cell.tell(NodePlaced("n4", {"rack": ["r1"]}, "file"))
    await cell.tell(OperatorActed("pause", "rack=r1", "alice", "new cables"))
    assert (await shown(http))["paused"] == [3]
    await cell.tell(OperatorActed("resume", "rack=r1", "alice", ""))
    assert (await shown(http))["paused"] == []


async def found(http: aiohttp.ClientSession, words: str) -> list[tuple[str, str]]:
    """Return kind and name of what a search finds."""
    async with http.get("/api/v1/search", params={"q": words}) as answer:
        return [(each["kind"], each["name"]) for each in await answer.json()]


async def test_a_search_finds_nodes_incidents_serials_and_devices(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    facts = NodeFacts(serial="S-0815", devices={GPU: "gpu 1650324018533"})
    await cell.add_nodes("gpu/17 <b>", facts=facts)
    await cell.nodes.find("n2", off_the_bus())
    await cell.until_step("n2", "probation")
    assert await found(http, "N1") == [
        ("node", "n1"),
        ("node", "n10"),
        ("serial", "S-4711-n1"),
        ("serial", "S-4711-n10"),
    ]
    assert await found(http, "s-0815") == [("serial", "S-0815-gpu/17 <b>")]
    assert await found(http, "16503240") == [("incident", "inc-000001"), ("device", GPU)]
    assert (await found(http, GPU))[0] == ("device", GPU)
    assert await found(http, "gpu lost") == [("incident", "inc-000001")]
    assert await found(http, "inc-000001") == [("incident", "inc-000001")]
    async with http.get("/api/v1/search", params={"q": "gpu/17"}) as answer:
        assert {each["url"] for each in await answer.json()} == {"/nodes/gpu%2F17%20%3Cb%3E"}
    assert await found(http, "nobody") == await found(http, " ") == await found(http, "") == []


@pytest.mark.parametrize(("query", "status", "field"), [("q=" + "x" * 201, 422, "q"), ("words=n1", 400, "words")])
async def test_a_search_that_cannot_be_meant_is_refused(
    http: aiohttp.ClientSession, query: str, status: int, field: str
) -> None:
    async with http.get(f"/api/v1/search?{query}") as answer:
        assert (answer.status, (await answer.json())["field"]) == (status, field)
