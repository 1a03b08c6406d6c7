"""What people have done with active benchmarks: run, stop, baselines learnt anew and forgotten."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence

from checks.bench_baseline import LEAST_PEERS, Fingerprint, learnt
from checks.bench_result import Benchmark
from controller.api import shapes
from controller.api.bench_call import check_benchmarks, known_nodes, known_options, known_run
from controller.api.bench_rows import is_chosen
from controller.api.bench_shapes import BaselinesChosen, BenchWanted, RunAsked
from controller.api.call import Call, refused
from controller.api.moments import iso
from controller.api.problems import Problem
from controller.api.words import plain
from controller.bench_events import BaselineForgotten, BaselineLearnt, BenchAsked, BenchStopped
from controller.events import Event
from controller.policy.benching.learning import healthy_peers

DEFAULT = (Benchmark.GPU_BANDWIDTH, Benchmark.NCCL_ALL_REDUCE)
"""Source: our choice; together they look at every GPU and every NVLink, and need nothing but CUDA's driver and NCCL."""


async def bench_start(call: Call) -> RunAsked:
    """Have nodes measured; a node that is at work is skipped, or waited for as long as `wait_s` says.

    Raises:
        Problem: 404, no such node; 422, no such benchmark or option, or a control character in a
            text.
    """
    said = call.said(BenchWanted)
    nodes = known_nodes(call, said.nodes)
    check_benchmarks(said.benchmarks)
    benchmarks = list(dict.fromkeys(said.benchmarks or map(str, DEFAULT)))
    options = known_options(said.options, benchmarks)
    because = plain(said.because, field="because") or f"{call.by} asked for it."
    run_id = f"run-{secrets.token_hex(4)}"
    logged = await call.cell.submit(
        BenchAsked(
            run_id,
            nodes,
            benchmarks,
            said.tier,
            "operator",
            call.by,
            because,
            options=options,
            wait_s=said.wait_s,
        )
    )
    return RunAsked(run_id, iso(logged.at), f"{', '.join(benchmarks)} on {len(nodes)} nodes, tier {said.tier}.")


async def bench_stop(call: Call) -> shapes.Acted:
    """End a run: nothing more of it begins, and what is under way is given up.

    Raises:
        Problem: 404, no such run.
    """
    run, because = known_run(call), plain(call.said(shapes.Because).because, field="because")
    if run.ended_at:
        return shapes.Acted(None, iso(call.cell.now()), f"{run.run_id} is over already: {run.ended_because}")
    if run.stopped:
        return shapes.Acted(None, iso(call.cell.now()), f"{run.run_id} is being stopped already: {run.stopped}")
    logged = await call.cell.submit(BenchStopped(run.run_id, call.by, because))
    return shapes.Acted(logged.event_id, iso(logged.at), f"{run.run_id} is being stopped; nothing more of it begins.")


async def baselines_learn(call: Call) -> shapes.Acted:
    """Learn baselines anew from what healthy peers reached of late.

    Raises:
        Problem: 404, nothing was measured that is so called; 409, of too few peers; 422, nothing narrows it.
    """
    belief = call.cell.belief
    chosen = _chosen(call, belief.bench.samples)
    peers = {name: healthy_peers(belief, name) for name in chosen}
    fresh = [(baseline, list(peers[name])) for name in chosen if (baseline := learnt(name, peers[name]))]
    if not fresh:
        most = max(map(len, peers.values()))
        raise refused(
            f"too few healthy peers: {most} have such results, and {LEAST_PEERS} are needed", "measure more nodes first"
        )
    because = plain(call.said(BaselinesChosen).because, field="because")
    left = f"; {len(chosen) - len(fresh)} have too few peers" if len(fresh) < len(chosen) else ""
    events = [BaselineLearnt(baseline, call.by, because, nodes) for baseline, nodes in fresh]
    return await _recorded(call, events, f"{_counted(len(fresh))} learnt anew{left}.")


async def baselines_forget(call: Call) -> shapes.Acted:
    """Drop baselines; the next ones are learnt from what is measured from here on.

    Raises:
        Problem: 404, there is none that is so called; 422, nothing narrows it.
    """
    known = call.cell.belief.bench.baselines
    because = plain(call.said(BaselinesChosen).because, field="because")
    events = [BaselineForgotten(known[name], call.by, because) for name in _chosen(call, known)]
    return await _recorded(call, events, f"{_counted(len(events))} forgotten.")


def _chosen(call: Call, known: Collection[Fingerprint]) -> list[Fingerprint]:
    """Return the fingerprints that the request speaks of, at least one."""
    said = call.said(BaselinesChosen)
    wanted = {"metric": said.metric, "sku": said.sku, "driver": said.driver}
    if not any(wanted.values()) and not said.every:
        raise Problem(422, "nothing says which baselines", "a metric, a SKU or a driver; or `every` for all of them")
    chosen = [fingerprint for fingerprint in sorted(known) if is_chosen(fingerprint, wanted)]
    if not chosen:
        metrics = ", ".join(sorted({fingerprint.metric for fingerprint in known})) or "none"
        raise Problem(404, "no baseline and no result is so called", f"metrics that are known: {metrics}")
    return chosen


async def _recorded(call: Call, events: Sequence[Event], text: str) -> shapes.Acted:
    logged = [await call.cell.submit(event) for event in events][-1]
    return shapes.Acted(logged.event_id, iso(logged.at), text)


def _counted(number: int) -> str:
    return "1 baseline is" if number == 1 else f"{number} baselines are"
