"""Benchmarks by the API: asked for, followed, shown with their numbers, and wrong names answered with right ones."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from controller.bench_events import BaselineLearnt, BenchAsked
from tests.support import benching
from tests.support.open_cell import OpenCell
from wire.messages import BenchProgress

RUN = "run-0a1b2c3d"
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
    assert answer["text"] == "nccl_all_reduce, gpu_bandwidth on 2 nodes, tier 1."
    run = cell.cell.belief.bench.runs[answer["run_id"]]
    assert (run.nodes, run.benchmarks, run.tier) == (("n2", "n1"), ("nccl_all_reduce", "gpu_bandwidth"), 1)
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
        ({"nodes": ["n1"], "options": {"path": "a\nb"}}, 422, "options.path holds a control", "options.path"),
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
    await cell.tell(benching.asked("n1", "n2", "n3"), benching.granted("n1", "lease-000001", at=cell.clock.now))
    said = BenchProgress("lease-000001", "nccl_all_reduce", 0.42, "1 GiB", cell.clock.now)
    cell.front.progress = {"lease-000001": {"n1": said}}
    await cell.tell(benching.skipped("n2", "n2: it has work: 17."))
    run = await get(http, f"runs/{RUN}")
    assert [(t["node"], t["state"], t["because"], t["share"], t["doing"]) for t in run["turns"]] == [
        ("n1", "running", "", 0.42, "1 GiB"),
        ("n2", "skip", "n2: it has work: 17.", 1.0, ""),
        ("n3", "planned", "", 0.0, ""),
    ]
    assert (run["outcome"], run["ended_at"]) == ("", None)
    await cell.tell(benching.measured("n1", lease_id="lease-000001"), benching.broke("n3", "libnccl is not there."))
    await cell.tell(benching.run_ended("error", "n3: libnccl is not there."))
    run = await get(http, f"runs/{RUN}")
    assert [turn["state"] for turn in run["turns"]] == ["warn", "skip", "error"]
    assert (run["outcome"], run["ended_because"]) == ("error", "n3: libnccl is not there.")
    assert [row["run_id"] for row in await get(http, "runs?node=n2")] == [RUN]
    assert await get(http, "runs?node=n4") == []


@pytest.mark.parametrize("share", [-1.0, 7.0, float("nan")])
async def test_a_share_that_is_none_is_shown_within_its_bounds(
    cell: OpenCell, http: aiohttp.ClientSession, share: float
) -> None:
    await cell.tell(benching.asked("n1"), benching.granted("n1", "lease-000001", at=cell.clock.now))
    cell.front.progress = {"lease-000001": {"n1": BenchProgress("lease-000001", "nccl_all_reduce", share, "", 0.0)}}
    (turn,) = (await get(http, f"runs/{RUN}"))["turns"]
    assert 0.0 <= turn["share"] <= 1.0


async def test_a_run_is_stopped_once(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    await cell.tell(benching.asked("n1", "n2"), benching.granted("n1", "lease-000001", at=cell.clock.now))
    answer = await post(http, f"runs/{RUN}/stop", because="wrong nodes")
    assert answer["event_id"] and answer["text"] == f"{RUN} is being stopped; nothing more of it begins."
    assert cell.cell.belief.bench.runs[RUN].stopped == "wrong nodes"
    run = await get(http, f"runs/{RUN}")
    assert [(turn["node"], turn["state"]) for turn in run["turns"]] == [("n1", "running"), ("n2", "abandoned")]
    again = await post(http, f"runs/{RUN}/stop")
    assert (again["event_id"], again["text"]) == (None, f"{RUN} is being stopped already: wrong nodes")
    nowhere = await post(http, "runs/run-0a1b2c3e/stop", status=404)
    assert nowhere["hint"] == f"did you mean {RUN}?"


async def test_results_have_their_numbers_with_what_they_were_held_against(
    cell: OpenCell, http: aiohttp.ClientSession
) -> None:
    await cell.tell(benching.asked("n1", "n2"))
    await cell.tell(benching.measured("n1"), benching.measured("n2", most=300.0))
    rows = await get(http, "results")
    assert [(row["node"], row["outcome"]) for row in rows] == [("n2", "fail"), ("n1", "warn")]
    assert {each["metric"]: each["unit"] for each in rows[0]["headline"]} == {
        "node_all_reduce": "GB/s",
        "node_all_reduce_ring": "GB/s",
    }
    (result,) = await get(http, "results/n2")
    assert (result["complete"], result["passed_at"], result["machine"]["gpus"]) == (True, None, 8)
    largest = next(
        n for n in result["numbers"] if n["metric"] == "node_all_reduce" and n["size_bytes"] == 16 * benching.GIB
    )
    assert {name: largest[name] for name in ("fail", "warn", "median", "peers", "outcome", "unit")} == {
        "fail": 430.0,
        "warn": 455.0,
        "median": 474.84,
        "peers": 12,
        "outcome": "fail",
        "unit": "GB/s",
    }
    assert largest["because"].startswith("The bus bandwidth of an all-reduce") and "430" in largest["because"]
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
    judged = benching.measured("n1")
    number = judged.numbers[0].number
    odd = type(judged.numbers[0])(type(number)("<b>odd</b>", 3.0, size_bytes=8), "", "Nobody knows it.")
    await cell.tell(benching.asked("n1"), type(judged)(**{**_fields(judged), "numbers": [odd]}))
    (result,) = await get(http, "results/n1")
    assert [(n["metric"], n["unit"], n["value"]) for n in result["numbers"]] == [("<b>odd</b>", "", 3.0)]


def _fields(event: Any) -> dict[str, Any]:
    return {name: getattr(event, name) for name in event.__struct_fields__}


async def test_baselines_say_from_whom_and_when_and_are_forgotten(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    peers = [f"n{number}" for number in range(1, 9)]
    for size in (benching.GIB, 8 * benching.GIB):
        await cell.tell(BaselineLearnt(benching.baseline(size), "fleetmend", "Eight peers agree.", peers))
    rows = await get(http, "baselines?metric=node_all_reduce")
    assert [(row["size_bytes"], row["median"], row["learnt_by"]) for row in rows] == [
        (benching.GIB, 458.11, "fleetmend"),
        (8 * benching.GIB, 473.69, "fleetmend"),
    ]
    assert rows[0]["learnt_from"] == peers and rows[0]["learnt_at"].startswith("2026-")
    assert await get(http, "baselines?sku=NVIDIA%20B200") == []
    answer = await post(http, "baselines/forget", metric="node_all_reduce", because="new driver")
    assert answer["text"] == "2 baselines are forgotten."
    assert await get(http, "baselines") == []
    gone = await post(http, "baselines/forget", status=404, metric="node_all_reduce")
    assert gone["hint"] == "metrics that are known: none"


async def test_nothing_is_forgotten_by_an_oversight(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    await cell.tell(BaselineLearnt(benching.baseline(benching.GIB), "fleetmend", "Eight peers agree."))
    for act in ("forget", "learn"):
        assert (await post(http, f"baselines/{act}", status=422))["error"] == "nothing says which baselines"
    assert len(cell.cell.belief.bench.baselines) == 1
    assert (await post(http, "baselines/forget", every=True))["text"] == "1 baseline is forgotten."


async def test_baselines_are_learnt_anew_from_eight_peers(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    few, enough = benching.fingerprint(benching.GIB), benching.fingerprint(8 * benching.GIB)
    samples = cell.cell.belief.bench.samples
    samples[few] = {f"n{number}": [450.0] for number in range(1, 8)}
    refusal = await post(http, "baselines/learn", status=409, metric="node_all_reduce")
    assert refusal["error"] == "too few healthy peers: 7 have such results, and 8 are needed"
    samples[enough] = {f"n{number}": [470.0 + number] for number in range(1, 9)}
    answer = await post(http, "baselines/learn", metric="node_all_reduce", because="cables were changed")
    assert answer["text"] == "1 baseline is learnt anew; 1 have too few peers."
    (row,) = await get(http, "baselines")
    assert (row["median"], row["peers"], row["learnt_by"]) == (474.5, 8, "alice")
    assert row["learnt_from"] == sorted(samples[enough])


async def test_a_node_that_was_never_asked_for_is_in_no_run(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    await cell.tell(BenchAsked("run-1", ["n1"], ["gemm"], 1, "idle", "fleetmend", "An idle window."))
    (row,) = await get(http, "runs")
    assert (row["purpose"], row["by"], row["incident_id"]) == ("idle", "fleetmend", None)
