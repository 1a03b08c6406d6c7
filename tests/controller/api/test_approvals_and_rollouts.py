"""Saying yes for a time and to exactly what was seen, and deciding about playbooks that are tried."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from controller.events import PlaybooksTrusted, RolloutBegan
from controller.policy.playbook import Step, Verb
from controller.policy.rules import Rules
from tests.controller.api.test_acting import acts, post, until_held
from tests.support.open_cell import OpenCell, disk_full, gpu_lost_playbook, off_the_bus, open_cell, rules

QUESTION = "Is the rack free of visitors?"
TRIED = replace(gpu_lost_playbook(), digest="9c1d" * 4, summary="A GPU has fallen off the bus, we think.")


async def get(http: aiohttp.ClientSession, path: str) -> Any:
    async with http.get(f"/api/v1/{path}") as answer:
        assert answer.status == 200
        return await answer.json()


async def test_what_is_asked_is_shown_and_a_yes_to_it_holds_for_a_time(
    cell: OpenCell, http: aiohttp.ClientSession
) -> None:
    await cell.nodes.find("n3", disk_full())
    await cell.until("n3", "waiting")
    shown = await get(http, "incidents/inc-000001")
    assert (shown["mode"], shown["approves"]) == ("ask", "disk_full:")
    assert shown["question"] == "May disk_full go on with n3: A file system is nearly full."
    answer = await post(http, "incidents/inc-000001/approve", by="alice", what="disk_full:", for_s=7200)
    assert answer["text"].startswith("inc-000001 goes on; steps that begin by 2026-")
    (act,) = await acts(cell)
    assert (act.what, round(act.expires_at - cell.clock.now)) == ("disk_full:", 7200)
    await until_held(cell, "n3")


async def test_a_yes_holds_as_long_as_the_settings_say(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    await cell.nodes.find("n3", disk_full())
    await cell.until("n3", "waiting")
    await post(http, "incidents/inc-000001/approve")
    (act,) = await acts(cell)
    assert round(act.expires_at - cell.clock.now) == cell.cell.rules.approval_valid_s == 86_400


async def test_a_yes_to_what_is_asked_no_more_is_refused(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    await cell.nodes.find("n3", disk_full())
    await cell.until("n3", "waiting")
    refused = await post(http, "incidents/inc-000001/approve", status=409, what="disk_full:before")
    assert refused["error"] == "inc-000001 asks for disk_full: now, and not for disk_full:before"
    assert await acts(cell) == []


@pytest.mark.parametrize("for_s", [0, -1, 1e9])
async def test_a_time_that_is_none_is_refused(cell: OpenCell, http: aiohttp.ClientSession, for_s: float) -> None:
    await cell.nodes.find("n3", disk_full())
    await cell.until("n3", "waiting")
    await post(http, "incidents/inc-000001/approve", status=400, for_s=for_s)


@pytest.fixture
async def asking(tmp_path: Path) -> AsyncIterator[OpenCell]:
    """A cell whose playbook asks in the midst of its plan."""
    step = Step("approve", Verb.APPROVE, 600.0, parameters={"question": QUESTION})
    book = replace(gpu_lost_playbook(), steps=(step, *gpu_lost_playbook().steps))
    async with open_cell(tmp_path, Rules((book,), rules().budget)) as opened:
        await opened.add_nodes("n1")
        yield opened


async def test_the_question_of_a_step_is_shown(asking: OpenCell) -> None:
    await asking.nodes.find("n1", off_the_bus())
    await asking.until_step("n1", "approve")
    async with aiohttp.ClientSession(asking.url) as http:
        shown = await get(http, "incidents/inc-000001")
        assert (shown["question"], shown["approves"]) == (QUESTION, "inc-000001/approve/1")
        assert shown["next"].endswith(f"more: {QUESTION}")
        await post(http, "incidents/inc-000001/approve", what="inc-000001/approve/1")
        await until_held(asking, "n1")


@pytest.fixture
async def trying(tmp_path: Path) -> AsyncIterator[OpenCell]:
    """A cell that tries another text of gpu_lost."""
    async with open_cell(tmp_path, replace(rules(nodes=5), playbooks=(TRIED,))) as opened:
        await opened.add_nodes("n1", "n2", "n3")
        opened.nodes.deaf |= {"n1", "n2", "n3"}
        await opened.tell(PlaybooksTrusted([gpu_lost_playbook()], "so."), RolloutBegan(TRIED, "so."))
        yield opened


async def answered_by(cell: OpenCell, node: str) -> str:
    await cell.nodes.find(node, off_the_bus())
    await cell.until(node, "running")
    return cell.cell.belief.open_on(node)[-1].playbook.digest[:4]


async def test_a_rollout_is_shown_and_promoted(trying: OpenCell) -> None:
    async with aiohttp.ClientSession(trying.url) as http:
        assert [await answered_by(trying, "n1"), await answered_by(trying, "n2")] == ["9c1d", "5f2b"]
        assert await get(http, "rollouts") == [
            {
                "playbook": "gpu_lost",
                "trusted": "5f2b8c1d90aa77e3",
                "candidate": TRIED.digest,
                "canaries_wanted": 1,
                "canaries": [{"incident_id": "inc-000001", "verdict": None, "because": ""}],
                "stopped": "",
            }
        ]
        answer = await post(http, "rollouts/gpu_lost/promote", by="kim", because="tried by hand", digest="9c1d9c")
        assert (
            answer["text"] == "The new text of gpu_lost (9c1d9c1d9c1d) answers every incident of its kind from now on."
        )
        assert await get(http, "rollouts") == []
        assert await answered_by(trying, "n3") == "9c1d"
        (act,) = await acts(trying)
        assert (act.verb, act.subject, act.by, act.what) == ("promote", "gpu_lost", "kim", TRIED.digest)


async def test_a_rollout_is_withdrawn(trying: OpenCell) -> None:
    async with aiohttp.ClientSession(trying.url) as http:
        await post(http, "rollouts/gpu_lost/withdraw", by="kim", because="wrong order")
        assert (await get(http, "rollouts"))[0]["stopped"] == "Withdrawn by kim: wrong order."
        assert await answered_by(trying, "n1") == "5f2b"


@pytest.mark.parametrize(
    ("path", "body", "status", "error"),
    [
        (
            "rollouts/gpu_lost/promote",
            {"digest": "ffff"},
            409,
            "is 9c1d9c1d9c1d now, not ffff",
        ),
        ("rollouts/gpu_memory/promote", {}, 404, "no new text of 'gpu_memory' is tried"),
        ("rollouts/gpu_lost/withdraw", {"digest": 4}, 400, "digest"),
    ],
)
async def test_what_is_not_tried_is_not_decided(
    trying: OpenCell, path: str, body: dict[str, Any], status: int, error: str
) -> None:
    async with aiohttp.ClientSession(trying.url) as http:
        refused = await post(http, path, status=status, **body)
        assert error in refused["error"] + refused.get("field", "")
