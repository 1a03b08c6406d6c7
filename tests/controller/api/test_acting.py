"""What a person asks of the API is recorded, decided upon and done; what may not be done is refused with the reason."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from controller.events import NodePlaced, OperatorActed, PresenceChanged, ScheduleObserved
from controller.policy.scopes import Scope
from tests.support.open_cell import OpenCell, disk_full, off_the_bus


async def post(http: aiohttp.ClientSession, path: str, *, status: int = 200, by: str = "", **body: Any) -> Any:
    """Return a POST's JSON and insist on its status."""
    headers = {"X-Fleetmend-User": by} if by else {}
    async with http.post(f"/api/v1/{path}", json=body, headers=headers) as answer:
        content = await answer.json()
        assert status == answer.status, content
        return content


async def acts(cell: OpenCell) -> list[OperatorActed]:
    """Return what people did, from the log."""
    return [entry.event for entry in await cell.front.timeline() if isinstance(entry.event, OperatorActed)]


async def until_held(cell: OpenCell, node: str, *, held: bool = True) -> None:
    """Wait until the scheduler holds a node for us, or no longer does."""
    async with asyncio.timeout(10.0):
        while True:
            if (node in cell.scheduler.held) is held:
                return
            await asyncio.sleep(0.005)


async def test_a_cordon_takes_the_node_out_and_an_uncordon_gives_it_back(
    cell: OpenCell, http: aiohttp.ClientSession
) -> None:
    answer = await post(http, "nodes/n4/cordon", because="new firmware", by="alice")
    assert (answer["text"], answer["incident_id"]) == ("n4 is being taken out of service.", "inc-000001")
    await until_held(cell, "n4")
    await cell.until("n4", "running")
    await post(http, "nodes/n4/uncordon", because="done", by="alice")
    await until_held(cell, "n4", held=False)
    assert (await cell.until("n4", "closed")).outcome == "cancelled"
    assert [
        OperatorActed("cordon", "n4", "alice", "new firmware"),
        OperatorActed("uncordon", "n4", "alice", "done"),
    ] == await acts(cell)


async def test_a_second_cordon_changes_nothing(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    await post(http, "nodes/n4/cordon")
    await until_held(cell, "n4")
    answer = await post(http, "nodes/n4/cordon")
    assert (answer["event_id"], answer["incident_id"]) == (None, "inc-000001")
    assert len(await acts(cell)) == 1


async def test_a_cordon_over_the_budget_is_refused_with_the_reason(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    for node in ("n1", "n2"):
        await post(http, f"nodes/{node}/cordon")
        await until_held(cell, node)
    answer = await post(http, "nodes/n3/cordon", status=409)
    assert answer["error"] == "2 nodes are out already and the fleet's budget is 2 nodes."
    assert len(await acts(cell)) == 2


async def test_what_somebody_else_holds_is_neither_cordoned_nor_uncordoned(
    cell: OpenCell, http: aiohttp.ClientSession
) -> None:
    cell.scheduler.foreign["n5"] = "bios update (bob)"
    await cell.tell(ScheduleObserved("n5", False, "", "bios update (bob)", [], cell.clock.now))
    for verb in ("cordon", "uncordon"):
        answer = await post(http, f"nodes/n5/{verb}", status=409)
        assert "bios update (bob)" in answer["error"]
    assert await acts(cell) == []


async def test_an_uncordon_of_a_free_node_does_nothing(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    answer = await post(http, "nodes/n4/uncordon")
    assert None is answer["event_id"] and "nothing to do" in answer["text"]
    assert await acts(cell) == []


async def test_a_node_that_drained_itself_is_given_back_by_the_schedulers_own_command(
    cell: OpenCell, http: aiohttp.ClientSession
) -> None:
    cell.scheduler.down.add("n5")
    await cell.until_kept_out("n5")
    answer = await post(http, "nodes/n5/uncordon")
    assert (answer["event_id"], answer["text"]) == (
        None,
        "n5: the scheduler keeps it out (its own health check did, or it is down) and no plan of fleetmend does; "
        "the scheduler's own command gives it back.",
    )
    assert await acts(cell) == []


async def test_a_pause_holds_cordons_back_until_it_is_resumed(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    assert (await post(http, "pause", because="move"))["text"] == "the fleet is paused: nothing disruptive is begun."
    await cell.nodes.find("n2", off_the_bus())
    await cell.until("n2", "waiting")
    assert cell.scheduler.held == {}
    async with http.get("/api/v1/incidents/inc-000001") as answer:
        assert (await answer.json())["next"] == "Waits until the pause is lifted."
    await post(http, "resume")
    await cell.until_step("n2", "probation")


async def test_a_persons_own_cordon_is_not_held_back_by_a_pause(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    await post(http, "pause")
    await post(http, "nodes/n4/cordon")
    await cell.until("n4", "running")
    await cell.cell.submit([])
    assert list(cell.scheduler.held) == ["n4"]


async def test_a_node_can_be_paused_alone(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    await post(http, "pause", scope="n2", because="wait", by="bob")
    await cell.nodes.find("n2", off_the_bus())
    await cell.nodes.find("n3", off_the_bus())
    await cell.until("n2", "waiting")
    await cell.until_step("n3", "probation")
    assert cell.cell.belief.pauses == {Scope("node", "n2"): "bob: wait"}
    await post(http, "resume", scope="n9x", status=404)


async def test_a_place_can_be_paused_alone(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    await cell.tell(NodePlaced("n2", {"rack": ["r1"]}), NodePlaced("n3", {"rack": ["r2"]}))
    answer = await post(http, "pause", scope="rack=r1", because="power work", by="bob")
    assert answer["text"] == "rack r1 is paused: nothing disruptive is begun."
    await cell.nodes.find("n2", off_the_bus())
    await cell.nodes.find("n3", off_the_bus())
    await cell.until("n2", "waiting")
    await cell.until_step("n3", "probation")
    async with http.get("/api/v1/status") as read:
        assert (await read.json())["pauses"] == {"rack=r1": "bob: power work"}
    assert (await post(http, "resume", scope="rack=r1"))["text"] == "rack r1 is resumed."
    assert (await post(http, "resume", scope="rack=r1"))["text"] == "rack r1 is not paused; nothing is."
    await cell.until_step("n2", "probation")


@pytest.mark.parametrize(
    ("scope", "status", "said"),
    [
        ("rack=r9", 404, "no node stands in rack r9"),
        ("cupboard=1", 422, "'cupboard=1' is no scope"),
        ("check=gpu.xid", 200, ""),
    ],
)
async def test_a_pause_of_what_is_not_there_says_so(
    cell: OpenCell, http: aiohttp.ClientSession, scope: str, status: int, said: str
) -> None:
    await cell.tell(NodePlaced("n2", {"rack": ["r1"]}))
    assert said in (await post(http, "pause", scope=scope, status=status)).get("error", "")


async def test_a_plan_that_asks_goes_on_when_approved(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    await cell.nodes.find("n3", disk_full())
    await cell.until("n3", "waiting")
    assert cell.scheduler.held == {}
    await post(http, "incidents/inc-000001/approve", because="go", by="alice")
    await until_held(cell, "n3")
    (given,) = cell.cell.belief.incidents["inc-000001"].approvals.values()
    assert given.by == "alice: go"


async def test_an_abort_leaves_the_node_out(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    cell.scheduler.jobs["n2"] = ("17",)
    await cell.nodes.find("n2", off_the_bus())
    await cell.until_step("n2", "drain")
    answer = await post(http, "incidents/inc-000001/abort")
    assert answer["text"] == "inc-000001 is aborted; n2 stays out until a person returns it."
    await cell.until("n2", "aborted")
    assert cell.scheduler.held == {"n2": "inc-000001"}
    async with http.get("/api/v1/incidents/inc-000001") as read:
        incident = await read.json()
    assert [(s["step"], s["state"]) for s in incident["steps"]] == [("cordon", "done"), ("drain", "abandoned")]


async def test_a_mended_node_is_verified_and_returned_when_approved(
    cell: OpenCell, http: aiohttp.ClientSession
) -> None:
    cell.scheduler.jobs["n2"] = ("17",)
    await cell.nodes.find("n2", off_the_bus())
    await cell.until_step("n2", "drain")
    await post(http, "incidents/inc-000001/abort")
    await cell.until("n2", "aborted")
    await cell.nodes.clear("n2")
    await post(http, "incidents/inc-000001/approve", because="GPU replaced")
    await cell.until_step("n2", "probation")
    cell.clock.now += 100.0
    assert (await cell.until("n2", "closed")).outcome == "returned"
    assert cell.scheduler.held == {}


@pytest.mark.parametrize("verb", ["approve", "abort"])
async def test_a_closed_incident_is_neither_approved_nor_aborted(
    cell: OpenCell, http: aiohttp.ClientSession, verb: str
) -> None:
    await cell.nodes.find("n2", off_the_bus())
    await cell.until_step("n2", "probation")
    cell.clock.now += 100.0
    await cell.until("n2", "closed")
    answer = await post(http, f"incidents/inc-000001/{verb}", status=409)
    assert answer["error"] == "inc-000001 is closed (returned)"


async def test_an_incident_that_asks_nothing_is_not_approved(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    cell.scheduler.jobs["n2"] = ("17",)
    await cell.nodes.find("n2", off_the_bus())
    await cell.until_step("n2", "drain")
    answer = await post(http, "incidents/inc-000001/approve", status=409)
    assert answer["error"] == "inc-000001 asks for no approval now"


async def test_a_persons_own_cordon_is_ended_by_uncordon_not_by_abort(
    cell: OpenCell, http: aiohttp.ClientSession
) -> None:
    await post(http, "nodes/n4/cordon")
    await until_held(cell, "n4")
    assert "uncordon n4 ends it" in (await post(http, "incidents/inc-000001/abort", status=409))["error"]


@pytest.mark.parametrize("path", ["nodes/n99x/cordon", "nodes/n99x/uncordon", "incidents/inc-9/abort"])
async def test_acting_on_what_does_not_exist_is_404(cell: OpenCell, http: aiohttp.ClientSession, path: str) -> None:
    await post(http, path, status=404)
    assert await acts(cell) == []


async def test_a_drill_breaks_the_node_and_is_recorded(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    parameters = {"repair": "succeeds", "device": "0"}
    answer = await post(http, "drills", node="n2", fault="gpu-off-bus", parameters=parameters, by="alice")
    assert (answer["outcome"], answer["because"]) == ("done", "A kernel-log record was written.")
    await cell.until_step("n2", "probation")
    order = cell.nodes.orders[0]
    assert (answer["order_id"], "0", {"fault": "gpu-off-bus", **parameters}) == (
        order.order_id,
        order.device,
        order.parameters,
    )
    assert cell.cell.belief.incidents["inc-000001"].opened_at >= cell.clock.now - 60.0


async def test_a_drill_that_the_node_refuses_is_409_with_the_nodes_words(
    cell: OpenCell, http: aiohttp.ClientSession
) -> None:
    answer = await post(http, "drills", status=409, node="n2", fault="gpu-on-fire", parameters={})
    assert answer["error"] == "n2 did not inject gpu-on-fire: no fault is called 'gpu-on-fire'"
    assert cell.cell.belief.incidents == {}


async def test_a_drill_on_a_node_that_is_away_is_409_and_sends_no_order(
    cell: OpenCell, http: aiohttp.ClientSession
) -> None:
    await cell.tell(PresenceChanged("n2", "lost", "Last Will"))
    answer = await post(http, "drills", status=409, node="n2", fault="gpu-off-bus")
    assert answer["error"] == "n2 is lost, so no fault can be injected"
    assert cell.nodes.orders == []


async def test_a_drill_on_an_unknown_node_is_404(http: aiohttp.ClientSession) -> None:
    await post(http, "drills", status=404, node="m2", fault="gpu-off-bus")


async def test_an_incident_is_acknowledged_once_and_a_closed_one_not_at_all(
    cell: OpenCell, http: aiohttp.ClientSession
) -> None:
    await cell.nodes.find("n3", disk_full())
    incident = await cell.until("n3", "waiting")
    said = await post(http, f"incidents/{incident.id}/acknowledge", because="on it")
    assert said["text"].endswith(f"looks after {incident.id}; nobody else is paged for it.")
    assert incident.acknowledged_by and incident.acknowledged_at == cell.clock.now
    again = await post(http, f"incidents/{incident.id}/acknowledge")
    assert (again["event_id"], incident.acknowledged_by in again["text"]) == (None, True)
    await post(http, f"incidents/{incident.id}/abort")
    await cell.until("n3", "closed")
    refusal = await post(http, f"incidents/{incident.id}/acknowledge", status=409)
    assert refusal["error"] == f"{incident.id} is closed: nothing is left to look after"
