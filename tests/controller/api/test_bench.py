"""Benchmarks by the API: asked for, followed, shown with their numbers, and wrong names answered with right ones."""

from __future__ import annotations

import math
from typing import Any

import aiohttp
import msgspec
import pytest

from checks.bench_result import BenchNumber
from controller.bench_events import BenchAsked
from tests.support import benching
from tests.support.open_cell import OpenCell

BENCH = "/api/v1/bench"


async def get(http: aiohttp.ClientSession, path: str, *, status: int = 200) -> Any:
    """Return what the API has at an address."""
    async with http.get(f"{BENCH}/{path}") as answer:
        assert answer.status == status, await answer.text()
        return await answer.json()


async def post(http: aiohttp.ClientSession, path: str, *, status: int = 200, **body: Any) -> Any:
    """Have something done."""
    async with http.post(f"{BENCH}/{path}", json=body, headers={"X-Fleetmend-User": "alice"}) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json()


async def test_every_benchmark_says_what_it_measures_and_costs(http: aiohttp.ClientSession) -> None:
    rows = await get(http, "benchmarks")
    assert [row["benchmark"] for row in rows] == ["nccl_all_reduce", "gpu_bandwidth", "gemm", "rdma", "storage", "dcgm"]
    assert all(row["measures"] and row["finds"] and row["needs"] for row in rows)
    assert rows[0]["limits_s"] == [30.0, 300.0, 9_000.0]


async def test_a_run_is_asked_for_once_a_node(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    answer = await post(http, "runs", nodes=["n2", "n1", "n2"], because="new cables")
    assert answer["text"] == "gpu_bandwidth, nccl_all_reduce on 2 nodes, tier 1."
    run = cell.cell.belief.bench.runs[answer["run_id"]]
    assert (run.nodes, run.benchmarks, run.tier) == (("n2", "n1"), ("gpu_bandwidth", "nccl_all_reduce"), 1)
    assert (run.purpose, run.by, run.because) == ("operator", "alice", "new cables")


async def test_a_run_with_everything_said(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    answer = await post(
        http, "runs", nodes=["n1"], benchmarks=["storage"], tier=2, options={"path": "/scratch"}, wait_s=600
    )
    run = cell.cell.belief.bench.runs[answer["run_id"]]
    assert (run.benchmarks, run.tier, run.options, run.wait_s) == (("storage",), 2, {"path": "/scratch"}, 600.0)
    assert run.because == "alice asked for it."


@pytest.mark.parametrize(
    ("body", "status", "error", "field"),
    [
        ({"nodes": ["n11"]}, 404, "no node is called 'n11'", ""),
        ({"nodes": []}, 422, "Expected `array` of length >= 1", "nodes"),
        ({"nodes": ["n1"], "benchmarks": ["nccl"]}, 422, "no benchmark is called 'nccl'", "benchmarks"),
        ({"nodes": ["n1"], "tier": 4}, 400, "Expected `int` <= 3", "tier"),
        ({"nodes": ["n1"], "because": "\x1b[2J"}, 422, "because holds a control character", "because"),
        (
            {"nodes": ["n1"], "benchmarks": ["storage"], "options": {"path": "a\nb"}},
            *(422, "options.path holds a control", "options.path"),
        ),
        (
            {"nodes": ["n1"], "benchmarks": ["storage"], "options": {"pth": "/x"}},
            *(422, "no option of these benchmarks is called 'pth'", "options"),
        ),
        ({"nodes": ["n1"], "options": {"path": "/x"}}, 422, "no option of these benchmarks is", "options"),
        ({"nodes": ["n1"], "wait_s": -1}, 400, "Expected `float` >= 0.0", "wait_s"),
        ({"nodes": ["n1"], "teir": 1}, 400, "Object contains unknown field `teir`", "teir"),
    ],
)
async def test_what_is_wrong_with_a_wish_is_said(
    cell: OpenCell, http: aiohttp.ClientSession, body: dict[str, Any], status: int, error: str, field: str
) -> None:
    answer = await post(http, "runs", status=status, **body)
    assert answer["error"].startswith(error) and answer["hint"]
    assert answer.get("field", "") == field
    assert not cell.cell.belief.bench.runs


async def test_a_benchmark_that_is_nearly_right_is_named(http: aiohttp.ClientSession) -> None:
    answer = await post(http, "runs", status=422, nodes=["n1"], benchmarks=["nccl_allreduce"])
    assert answer["hint"] == "did you mean nccl_all_reduce?"


async def test_a_run_is_followed_from_its_begin_to_its_end(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    cell.scheduler.jobs["n2"] = ("17",)
    await cell.until_busy("n2")
    run_id = await cell.ask_bench("n1", "n2", "n3")
    await cell.nodes.progress("n1", 0.42, "1 GiB")
    run = await get(http, f"runs/{run_id}")
    assert [(t["node"], t["state"], t["because"], t["share"], t["doing"]) for t in run["turns"]] == [
        ("n1", "running", "", 0.42, "1 GiB"),
        ("n2", "skip", "n2: it has work: 17.", 1.0, ""),
        ("n3", "running", "", 0.0, ""),
    ]
    assert (run["outcome"], run["ended_at"]) == ("", None)
    await cell.nodes.come_back("n1", benching.measured())
    await cell.nodes.come_back("n3", benching.broke("libnccl is not there."))
    run = await get(http, f"runs/{run_id}")
    assert [turn["state"] for turn in run["turns"]] == ["pass", "skip", "error"]
    assert run["turns"][2]["because"] == "libnccl is not there."
    assert (run["outcome"], run["ended_because"]) == ("error", "1 error, 1 pass, 1 skip.")
    assert [row["run_id"] for row in await get(http, "runs?node=n2")] == [run_id]
    assert await get(http, "runs?node=n4") == []


async def test_what_failed_once_says_that_it_is_measured_again(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    run_id = await cell.ask_bench("n1")
    await cell.nodes.come_back("n1", benching.measured(300.0))
    (turn,) = (await get(http, f"runs/{run_id}"))["turns"]
    assert turn["state"] in {"planned", "running"} and turn["because"].endswith("again before that counts.")
    await cell.nodes.come_back("n1", benching.measured(300.0))
    (turn,) = (await get(http, f"runs/{run_id}"))["turns"]
    assert turn["state"] == "fail" and "the limit is 430 GB/s" in turn["because"]


async def test_a_run_says_what_it_waits_for(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    cell.scheduler.jobs["n2"] = ("17",)
    await cell.until_busy("n2")
    run_id = await cell.ask_bench("n2", wait_s=600.0)
    run = await get(http, f"runs/{run_id}")
    assert (run["waiting"], run["turns"][0]["state"]) == ("Waiting: n2: it has work: 17.", "planned")


@pytest.mark.parametrize("share", [-1.0, 7.0])
async def test_a_share_that_is_none_is_shown_within_its_bounds(
    cell: OpenCell, http: aiohttp.ClientSession, share: float
) -> None:
    run_id = await cell.ask_bench("n1")
    await cell.nodes.progress("n1", share, "")
    (turn,) = (await get(http, f"runs/{run_id}"))["turns"]
    assert turn["share"] == (0.0 if share < 0.0 else 1.0)


async def test_a_run_is_stopped_once(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    cell.scheduler.jobs["n2"] = ("17",)
    await cell.until_busy("n2")
    run_id = await cell.ask_bench("n1", "n2", wait_s=600.0)
    answer = await post(http, f"runs/{run_id}/stop", because="wrong nodes")
    assert answer["event_id"] and answer["text"] == f"{run_id} is being stopped; nothing more of it begins."
    run = await get(http, f"runs/{run_id}")
    assert [(turn["node"], turn["state"]) for turn in run["turns"]] == [("n1", "skip"), ("n2", "abandoned")]
    assert run["turns"][0]["because"] == "n1: the run was stopped: wrong nodes."
    again = await post(http, f"runs/{run_id}/stop")
    assert (again["event_id"], again["text"]) == (None, f"{run_id} is over already: wrong nodes")
    nowhere = await post(http, "runs/nothing/stop", status=404)
    assert nowhere["hint"] == "`fleetmend bench list` (GET /api/v1/bench/runs) lists every run"
    nearly = await post(http, f"runs/{run_id[:-1]}/stop", status=404)
    assert nearly["hint"] == f"did you mean {run_id}?"


async def test_results_have_their_numbers_with_what_they_were_held_against(
    cell: OpenCell, http: aiohttp.ClientSession
) -> None:
    await cell.tell(benching.learnt(8 * benching.GIB), benching.learnt(16 * benching.GIB))
    await cell.ask_bench("n1", "n2")
    await cell.nodes.come_back("n1", benching.measured())
    for _ in range(2):
        await cell.nodes.come_back("n2", benching.measured(300.0))
    rows = await get(http, "results")
    assert [(row["node"], row["outcome"]) for row in rows] == [("n2", "fail"), ("n1", "warn")]
    assert {each["metric"]: (each["value"], each["unit"]) for each in rows[0]["headline"]} == {
        "node_all_reduce": (299.27, "GB/s"),
        "node_all_reduce_ring": (361.12, "GB/s"),
    }
    (result,) = await get(http, "results/n2")
    assert (result["complete"], result["passed_at"], result["machine"]["gpus"]) == (True, None, 8)
    curve = [number for number in result["numbers"] if number["metric"] == "node_all_reduce"]
    largest = max(curve, key=lambda number: number["size_bytes"])
    assert {name: largest[name] for name in ("fail", "warn", "median", "peers", "outcome", "unit")} == {
        "fail": 430.0,
        "warn": 455.0,
        "median": 474.84,
        "peers": 8,
        "outcome": "fail",
        "unit": "GB/s",
    }
    assert largest["because"].startswith("The all-reduce over all GPUs") and "430" in largest["because"]
    assert [number["outcome"] for number in curve if number["size_bytes"] < 8 * benching.GIB] == [""] * 13
    assert await get(http, "results/n2?benchmark=gemm") == []
    assert await get(http, "results/n3") == []


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("results/n11", 404, "no node is called 'n11'"),
        ("results/n1?benchmark=nccl", 422, "no benchmark is called 'nccl'"),
        ("results?benchmark=nccl", 422, "no benchmark is called 'nccl'"),
        ("results?bench=gemm", 400, "unknown query 'bench'"),
        ("runs?node=n11", 404, "no node is called 'n11'"),
        ("runs/nothing", 404, "no run is called 'nothing'"),
    ],
)
async def test_what_does_not_exist_is_said(http: aiohttp.ClientSession, path: str, status: int, error: str) -> None:
    answer = await get(http, path, status=status)
    assert answer["error"] == error and answer["hint"]


async def test_a_metric_that_nobody_knows_is_shown_without_a_unit(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    await cell.ask_bench("n1")
    odd = BenchNumber("<b>odd</b>", 3.0, size_bytes=8)
    await cell.nodes.come_back("n1", msgspec.structs.replace(benching.measured(), numbers=(odd,)))
    (result,) = await get(http, "results/n1")
    assert [(n["metric"], n["unit"], n["value"]) for n in result["numbers"]] == [("<b>odd</b>", "", 3.0)]


async def test_a_result_that_the_log_has_deleted_is_short(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    await cell.ask_bench("n1")
    await cell.nodes.come_back("n1", benching.measured())
    kept = cell.cell.belief.bench.newest["n1"]["nccl_all_reduce"]
    cell.cell.log.delete_events(through=kept.event_id, before=math.inf, keep_incidents=frozenset(), limit=1_000)
    (result,) = await get(http, "results/n1")
    assert (result["complete"], result["numbers"], result["outcome"]) == (False, [], "pass")
    assert {each["metric"] for each in result["headline"]} == {"node_all_reduce", "node_all_reduce_ring"}


async def test_baselines_say_from_whom_and_when_and_are_forgotten(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    await cell.tell(benching.learnt(benching.GIB), benching.learnt(8 * benching.GIB))
    rows = await get(http, "baselines?metric=node_all_reduce")
    assert [(row["size_bytes"], row["median"], row["learnt_by"]) for row in rows] == [
        (benching.GIB, 458.11, "fleetmend"),
        (8 * benching.GIB, 473.69, "fleetmend"),
    ]
    assert rows[0]["learnt_from"] == benching.PEERS and rows[0]["learnt_at"].startswith("2026-")
    assert await get(http, "baselines?sku=NVIDIA%20B200") == []
    answer = await post(http, "baselines/forget", metric="node_all_reduce", because="new driver")
    assert answer["text"] == "2 baselines are forgotten."
    assert await get(http, "baselines") == []
    gone = await post(http, "baselines/forget", status=404, metric="node_all_reduce")
    assert gone["hint"] == "metrics that are known: none"


async def test_nothing_is_forgotten_by_an_oversight(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    await cell.tell(benching.learnt(benching.GIB))
    for act in ("forget", "learn"):
        assert (await post(http, f"baselines/{act}", status=422))["error"] == "nothing says which baselines"
    assert len(cell.cell.belief.bench.baselines) == 1
    assert (await post(http, "baselines/forget", every=True))["text"] == "1 baseline is forgotten."


async def test_baselines_are_learnt_anew_from_eight_healthy_peers(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    nodes = [f"n{number}" for number in range(1, 9)]
    await cell.ask_bench(*nodes)
    for number, node in enumerate(nodes[:-1]):
        await cell.nodes.come_back(node, benching.measured(470.0 + number))
    refusal = await post(http, "baselines/learn", status=409, metric="node_all_reduce")
    assert refusal["error"] == "too few healthy peers: 7 have such results, and 8 are needed"
    await cell.nodes.come_back(nodes[-1], benching.measured(477.0))
    assert (await post(http, "baselines/forget", metric="node_all_reduce_ring"))[
        "text"
    ] == "15 baselines are forgotten."
    answer = await post(http, "baselines/learn", metric="node_all_reduce", because="cables were changed")
    assert answer["text"] == "15 baselines are learnt anew."
    row = (await get(http, "baselines"))[-1]
    assert (row["size_bytes"], row["peers"], row["learnt_by"]) == (16 * benching.GIB, 8, "alice")
    assert (row["median"], row["learnt_from"]) == (pytest.approx(benching.reached(16 * benching.GIB, 473.5)), nodes)


async def test_a_run_that_nobody_asked_for_says_who_did(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    await cell.tell(BenchAsked("run-1", ["n1"], ["gemm"], 1, "idle", "fleetmend", "An idle window."))
    (row,) = await get(http, "runs")
    assert (row["purpose"], row["by"], row["incident_id"]) == ("idle", "fleetmend", None)


async def test_leases_that_are_open_are_shown(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    run_id = await cell.ask_bench("n1")
    (lease,) = await get(http, "leases")
    assert (lease["run_id"], lease["nodes"], lease["benchmark"], lease["heard"]) == (
        run_id,
        ["n1"],
        "nccl_all_reduce",
        [],
    )
    assert lease["expires_at"] > lease["granted_at"]
    await cell.nodes.come_back("n1", benching.measured())
    assert await get(http, "leases") == []


async def test_a_result_names_those_before_it(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    for result in (benching.broke("no libnccl"), benching.measured()):
        await cell.ask_bench("n1")
        await cell.nodes.come_back("n1", result)
    (result,) = await get(http, "results/n1")
    assert [each["outcome"] for each in result["earlier"]] == ["error"]
