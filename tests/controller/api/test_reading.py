"""What the API says about nodes and incidents."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from controller.events import NodePlaced, PresenceChanged
from tests.support.open_cell import GPU, OpenCell, disk_full, off_the_bus


async def get(http: aiohttp.ClientSession, path: str, *, status: int = 200) -> Any:
    """Return a GET's JSON and insist on its status."""
    async with http.get(path) as answer:
        content = await answer.json()
        assert (status, "application/json") == (answer.status, answer.content_type), content
        return content


async def test_nodes_are_listed_in_natural_order_with_exactly_these_fields(
    cell: OpenCell, http: aiohttp.ClientSession
) -> None:
    cell.clock.now += 3.0
    rows = await get(http, "/api/v1/nodes")
    assert [f"n{number}" for number in range(1, 11)] == [row["name"] for row in rows]
    assert rows[0] == {
        "name": "n1",
        "health": "ok",
        "schedulable": True,
        "held_by_us": False,
        "findings": [],
        "last_seen_s": 3.0,
        "places": {"sku": ["NVIDIA H100 80GB HBM3"], "driver": ["580.65.06"]},
    }


async def test_nodes_of_a_place_are_listed(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    for node in ("n10", "n2"):
        await cell.tell(NodePlaced(node, {"leaf": ["leaf 1", "leaf-2"], "rack": ["r=1"]}, "slurm"))
    for place in ("leaf=leaf%201", "rack=r=1"):
        rows = await get(http, f"/api/v1/nodes?in={place}")
        assert [row["name"] for row in rows] == ["n2", "n10"]
        assert rows[0]["places"]["leaf"] == ["leaf 1", "leaf-2"]
    assert len(await get(http, "/api/v1/nodes?in=driver=580.65.06")) == 10
    assert await get(http, "/api/v1/nodes?in=leaf=leaf-3") == []


@pytest.mark.parametrize("place", ["leaf", "leaf=", "=leaf-1"])
async def test_what_is_no_place_is_refused(place: str, http: aiohttp.ClientSession) -> None:
    refusal = await get(http, f"/api/v1/nodes?in={place}", status=422)
    assert (refusal["field"], refusal["hint"]) == ("in", "kind=name, e.g. leaf=leaf-3")


async def test_a_node_says_where_it_stands_and_who_says_so(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    await cell.tell(NodePlaced("n2", {"rack": ["r1"]}, "netbox"), NodePlaced("n2", {"rack": ["r2"]}, "file"))
    node = await get(http, "/api/v1/nodes/n2")
    assert (node["places"]["rack"], node["placed_by"]) == (["r2"], {"rack": "file"})
    assert node["timeline"][-1]["text"] == "file places n2 in rack r2"


async def test_a_source_of_places_that_cannot_be_read_is_shown(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    cell.front.topology_errors = {"slurm": "topology.conf:3: Nodes: hostlist"}
    assert (await get(http, "/api/v1/status"))["topology_errors"] == {"slurm": "topology.conf:3: Nodes: hostlist"}


async def test_a_node_nobody_heard_has_no_last_seen(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    await cell.tell(PresenceChanged("n11", "lost", "retained"))
    rows = await get(http, "/api/v1/nodes")
    assert (rows[-1]["name"], rows[-1]["last_seen_s"], rows[-1]["health"]) == ("n11", None, "unknown")


async def test_a_finding_is_shown_with_its_reason(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    cell.scheduler.jobs["n2"] = ("17",)
    await cell.nodes.find("n2", off_the_bus())
    await cell.until_step("n2", "drain")
    row = (await get(http, "/api/v1/nodes"))[1]
    assert (row["health"], row["schedulable"], row["held_by_us"]) == ("failed", False, True)
    assert [
        {
            "check": "gpu.xid",
            "device": GPU,
            "code": "79",
            "verdict": "failed",
            "action": "reboot",
            "because": off_the_bus().because,
        }
    ] == row["findings"]


async def test_an_incident_that_left_memory_is_read_from_the_log(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    await cell.nodes.find("n2", off_the_bus())
    await cell.until_step("n2", "probation")
    cell.clock.now += 100.0
    closed = await cell.until("n2", "closed")
    del cell.cell.belief.incidents[closed.id]
    shown = await get(http, "/api/v1/incidents/inc-000001")
    assert (shown["node"], shown["state"], shown["outcome"]) == ("n2", "closed", "returned")
    assert shown["timeline"][0]["kind"] == "incident.opened"


async def test_incidents_are_listed_newest_first_with_exactly_these_fields(
    cell: OpenCell, http: aiohttp.ClientSession
) -> None:
    await cell.nodes.find("n2", off_the_bus())
    await cell.until_step("n2", "probation")
    cell.clock.now += 100.0
    closed = await cell.until("n2", "closed")
    await cell.nodes.find("n3", disk_full())
    await cell.until("n3", "waiting")
    newest, oldest = await get(http, "/api/v1/incidents")
    assert {
        "id": "inc-000002",
        "node": "n3",
        "device": "/",
        "fault_class": "disk_full",
        "playbook": "disk_full",
        "state": "waiting",
        "outcome": None,
        "opened_at": newest["opened_at"],
        "closed_at": None,
        "because": disk_full().because,
        "acknowledged_by": "",
    } == newest
    assert ("closed", "returned", closed.because) == (oldest["state"], oldest["outcome"], oldest["because"])
    assert newest["opened_at"] >= oldest["closed_at"] > oldest["opened_at"]
    assert oldest["opened_at"].startswith("2026-09-21T14:13:20.") and oldest["opened_at"].endswith("Z")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["inc-000002", "inc-000001"]),
        ("?state=open", ["inc-000002"]),
        ("?state=closed", ["inc-000001"]),
        ("?node=n2", ["inc-000001"]),
        ("?node=n2&state=open", []),
    ],
)
async def test_incidents_can_be_narrowed(
    cell: OpenCell, http: aiohttp.ClientSession, query: str, expected: list[str]
) -> None:
    await cell.nodes.find("n2", off_the_bus())
    await cell.until_step("n2", "probation")
    cell.clock.now += 100.0
    await cell.until("n2", "closed")
    await cell.nodes.find("n3", disk_full())
    await cell.until("n3", "waiting")
    assert expected == [row["id"] for row in await get(http, f"/api/v1/incidents{query}")]


async def test_an_incident_says_what_was_done_what_goes_on_and_what_comes(
    cell: OpenCell, http: aiohttp.ClientSession
) -> None:
    cell.scheduler.jobs["n2"] = ("17",)
    await cell.nodes.find("n2", off_the_bus())
    await cell.until_step("n2", "drain")
    incident = await get(http, "/api/v1/incidents/inc-000001")
    assert [(step["step"], step["state"]) for step in incident["steps"]] == [
        ("cordon", "done"),
        ("drain", "current"),
        ("collect", "planned"),
        ("reboot", "planned"),
        ("verify", "planned"),
        ("probation", "planned"),
        ("uncordon", "planned"),
    ]
    assert incident["next"] == "Drain is under way, at most 10 min more."
    assert incident["acts"] == ["abort", "uncordon"]
    assert True is incident["holding"] and incident["severity"] == "critical"


async def test_an_incidents_timeline_says_why_with_inputs_and_what_would_have_stopped_it(
    cell: OpenCell, http: aiohttp.ClientSession
) -> None:
    await cell.nodes.find("n2", off_the_bus())
    await cell.until_step("n2", "probation")
    incident = await get(http, "/api/v1/incidents/inc-000001")
    opened = incident["timeline"][0]
    assert opened["kind"] == "incident.opened"
    assert off_the_bus().because == opened["because"]
    assert tuple(opened["inputs"][name] for name in ("check", "code", "verdict")) == ("gpu.xid", "79", "failed")
    assert "gpu.xid 79 were not failed" in opened["unless"]
    assert [e["event_id"] for e in incident["timeline"]] == sorted(e["event_id"] for e in incident["timeline"])
    assert "GPU" not in incident["evidence"] and "Xid" in incident["evidence"]["dmesg.txt"]


async def test_a_failed_step_is_shown_with_every_attempt_and_then_people_have_it(
    cell: OpenCell, http: aiohttp.ClientSession
) -> None:
    cell.nodes.mends = False
    await cell.nodes.find("n2", off_the_bus())
    for _ in range(3):
        await cell.until_step("n2", "verify") if cell.cell.belief.incidents else None
        cell.clock.now += 11.0
    await _until_people_have_it(cell)
    incident = await get(http, "/api/v1/incidents/inc-000001")
    verifications = [step for step in incident["steps"] if step["step"] == "verify"]
    assert [(s["state"], s["attempt"]) for s in verifications] == [("failed", 1), ("failed", 2), ("failed", 3)]
    assert [(s["step"], s["state"]) for s in incident["steps"][-2:]] == [("ticket", "done"), ("page", "done")]
    assert (incident["state"], incident["outcome"], incident["closed_at"]) == ("handed_over", "handed_over", None)
    assert incident["acts"] == ["approve", "uncordon", "acknowledge"]


async def _until_people_have_it(cell: OpenCell) -> None:
    while "handed_over" not in {i.state for i in cell.cell.belief.incidents.values()}:
        cell.clock.now += 11.0
        await cell.tell()
    await cell.until("n2", "handed_over")


async def test_a_node_page_holds_findings_checks_facts_incidents_and_timeline(
    cell: OpenCell, http: aiohttp.ClientSession
) -> None:
    await cell.nodes.find("n2", off_the_bus())
    await cell.until_step("n2", "probation")
    node = await get(http, "/api/v1/nodes/n2")
    assert (node["presence"], node["held_by"], node["held_by_us"]) == ("online", "inc-000001", True)
    assert [check["check"] for check in node["checks"]] == ["gpu.xid", "storage.space"]
    assert (node["facts"]["gpu_count"], node["facts"]["serial"]) == (8, "S-4711-n2")
    assert [incident["id"] for incident in node["incidents"]] == ["inc-000001"]
    rate = node["failure_rate"]
    assert (rate["failures"], rate["window_days"], 0.0 < rate["lemon_score"] < 0.95) == (1, 28.0, True)
    assert rate["rate_ratio_low"] < rate["rate_ratio"] < rate["rate_ratio_high"]
    kinds = [entry["kind"] for entry in node["timeline"]]
    assert kinds[0] == "node.seen" and {"finding.raised", "finding.cleared", "step.intended", "step.ended"} <= set(
        kinds
    )


async def test_the_status_counts_nodes_and_incidents(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    cell.scheduler.jobs["n2"] = ("17",)
    await cell.nodes.find("n2", off_the_bus())
    await cell.until_step("n2", "drain")
    await cell.nodes.find("n3", disk_full())
    await cell.until("n3", "waiting")
    status = await get(http, "/api/v1/status")
    assert status["counts"] == {
        "nodes": 10,
        "ok": 8,
        "degraded": 1,
        "failed": 1,
        "unknown": 0,
        "held": 1,
        "not_schedulable": 1,
        "incidents_open": 2,
        "incidents_waiting": 1,
        "incidents_handed_over": 0,
    }
    assert status["budget"] == {"limit": 2, "held": 1, "text": "2 nodes"}
    assert (status["cell"], status["broker_connected"], status["paused"]) == ("main", True, "")


async def test_an_unknown_node_is_answered_with_the_nearest_names(http: aiohttp.ClientSession) -> None:
    answer = await get(http, "/api/v1/nodes/n11", status=404)
    assert answer["error"] == "no node is called 'n11'"
    assert "did you mean" in answer["hint"] and "n1" in answer["hint"]


async def test_an_unknown_incident_is_answered_with_the_nearest_ids(
    cell: OpenCell, http: aiohttp.ClientSession
) -> None:
    await cell.nodes.find("n3", disk_full())
    await cell.until("n3", "waiting")
    answer = await get(http, "/api/v1/incidents/inc-1", status=404)
    assert answer["hint"] == "did you mean inc-000001?"


@pytest.mark.parametrize(
    ("path", "status", "field"),
    [
        ("/api/v1/incidents?state=half", 422, "state"),
        ("/api/v1/incidents?stat=open", 400, "stat"),
        ("/api/v1/nodes?limit=3", 400, "limit"),
    ],
)
async def test_a_wrong_query_is_named(http: aiohttp.ClientSession, path: str, status: int, field: str) -> None:
    answer = await get(http, path, status=status)
    assert field == answer["field"] and answer["hint"]


async def test_an_unknown_address_and_a_wrong_method_say_what_is_right(http: aiohttp.ClientSession) -> None:
    assert "openapi.json" in (await get(http, "/api/v1/nonsense", status=404))["hint"]
    async with http.delete("/api/v1/nodes") as answer:
        content = await answer.json()
    assert (answer.status, content["hint"]) == (405, "possible: GET")


async def test_without_traces_nothing_is_said_of_them(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    await cell.nodes.find("n1", off_the_bus())
    incident = await cell.until("n1", "running")
    shown = await get(http, f"/api/v1/incidents/{incident.id}")
    assert (shown["trace_id"], shown["trace_url"]) == ("", "")
    nothing = {"receiver": "", "sent": 0, "dropped": 0, "waiting": 0, "error": ""}
    assert (await get(http, "/api/v1/status"))["traces"] == nothing
