"""Sweeps over HTTP: asked for, shown, stopped; what cannot be swept is refused with the reason."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from controller.bench_events import LeaseGranted
from controller.events import NodePlaced, NodeSeen, ScheduleObserved
from controller.policy.benching.bench_rules import BenchRules
from controller.sweep_events import SweepGroupMet
from tests.support.open_cell import OpenCell, open_cell, rules


@pytest.fixture
async def cell(tmp_path: Path) -> AsyncIterator[OpenCell]:
    """A cell with n1 to n10, all idle, of which n1 to n6 hang on one leaf."""
    async with open_cell(tmp_path, replace(rules(), bench=BenchRules(idle_by="memory"))) as opened:
        names = [f"n{number}" for number in range(1, 11)]
        await opened.add_nodes(*names)
        await opened.tell(*(NodePlaced(name, {"leaf": ["leaf-1"]}) for name in names[:6]))
        yield opened


async def post(http: aiohttp.ClientSession, path: str, *, status: int = 200, **body: Any) -> Any:
    """Return a POST's JSON and insist on its status."""
    headers = {"X-Fleetmend-User": "alice"}
    async with http.post(f"/api/v1/bench/sweeps{path}", json=body, headers=headers) as answer:
        content = await answer.json()
        assert status == answer.status, content
        return content


async def get(http: aiohttp.ClientSession, path: str = "", *, status: int = 200) -> Any:
    async with http.get(f"/api/v1/bench/sweeps{path}") as answer:
        assert status == answer.status
        return await answer.json()


async def test_a_sweep_is_asked_for_shown_and_stopped(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    answer = await post(http, "", scope="leaf=leaf-1", because="jobs are slow", options={"ways": "ring"})
    assert answer["sweep_id"] == "sweep-000001"
    assert answer["text"] == "sweep-000001 over 6 nodes begins with 1 group."
    (row,) = await get(http)
    assert (row["state"], row["by"], row["nodes"], row["running"]) == ("running", "alice", 6, 1)
    assert row["text"] == "Round 1: 0 of 1 groups have ended."
    (group,) = (await get(http, "/sweep-000001"))["groups"]
    assert (group["state"], group["run_id"]) == ("meeting", "sweep-000001-0")
    assert group["nodes"] == [f"n{number}" for number in range(1, 7)]
    (lease,) = [e.event for e in await cell.front.timeline() if isinstance(e.event, LeaseGranted)]
    await cell.tell(SweepGroupMet("sweep-000001", 0, lease.lease_id))
    assert (await get(http, "/sweep-000001"))["groups"][0]["state"] == "running"
    assert (await post(http, "/sweep-000001/stop", because="urgent job"))["text"] == "sweep-000001 is stopped."
    shown = await get(http, "/sweep-000001")
    assert (shown["sweep"]["state"], shown["sweep"]["text"]) == ("stopped", "It was stopped by alice: urgent job.")
    assert set(shown["untested"]) == {f"n{number}" for number in range(1, 7)}
    again = await post(http, "/sweep-000001/stop")
    assert (again["event_id"], again["text"]) == (None, "sweep-000001 is over: stopped.")
    assert cell.cell.belief.bench.leases == {}


async def test_the_whole_fleet_or_nodes_by_name(http: aiohttp.ClientSession) -> None:
    await post(http, "", nodes=["n9", "n10", "n9"])
    await post(http, "/sweep-000001/stop")
    await post(http, "", scope="fleet")
    assert [row["nodes"] for row in await get(http)] == [10, 2]


async def test_who_is_at_work_is_told_apart(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    cell.scheduler.jobs["n1"] = ("4711",)
    await cell.tell(ScheduleObserved("n1", True, "", "", ["4711"], cell.clock.now))
    await post(http, "", scope="leaf=leaf-1")
    assert (await get(http, "/sweep-000001"))["left"] == {"n1": "it has work: 4711"}


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({}, 422, "neither nodes nor a scope are named, or both"),
        ({"nodes": ["n1", "n2"], "scope": "fleet"}, 422, "neither nodes nor a scope are named, or both"),
        ({"nodes": ["n1"]}, 422, "1 node cannot be swept"),
        ({"scope": "n1"}, 422, "1 node cannot be swept"),
        ({"nodes": ["n1", "m1"]}, 404, "no node is called 'm1'"),
        ({"scope": "leaf=leaf-9"}, 404, "no node stands in leaf=leaf-9"),
        ({"scope": "leaf=leaf-1", "because": "a\u0007b"}, 422, "because holds a control character"),
        ({"scope": "leaf=leaf-1", "options": {"ways": "a\nb"}}, 422, "options.ways holds a control character"),
        ({"scope": "leaf=leaf-1", "wish": 1}, 400, "Object contains unknown field `wish`"),
    ],
)
async def test_what_cannot_be_swept_is_refused(
    http: aiohttp.ClientSession, body: dict[str, Any], status: int, error: str
) -> None:
    assert error in (await post(http, "", status=status, **body))["error"]
    assert await get(http) == []


async def test_a_node_is_in_one_sweep_at_a_time(http: aiohttp.ClientSession) -> None:
    await post(http, "", nodes=["n1", "n2"])
    answer = await post(http, "", status=409, nodes=["n2", "n3"])
    assert answer["error"] == "sweep-000001 has n2 already"
    await post(http, "", nodes=["n3", "n4"])


async def test_nodes_of_several_models_are_swept_each_by_itself(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    facts = cell.cell.belief.nodes["n1"].facts
    await cell.tell(NodeSeen("n1", "boot-1", msgspec.structs.replace(facts, gpu_model="NVIDIA B200")))
    answer = await post(http, "", status=422, nodes=["n1", "n2", "n3"])
    assert answer["error"] == "these nodes have several models: 2 × NVIDIA H100 80GB HBM3, 1 × NVIDIA B200"


async def test_an_unknown_sweep_is_not_found(http: aiohttp.ClientSession) -> None:
    assert "sweep-000009" in (await get(http, "/sweep-000009", status=404))["error"]
    await post(http, "/sweep-000009/stop", status=404)
