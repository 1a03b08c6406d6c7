"""What people ask about active benchmarks: what there is, runs and how far they are, results, baselines."""

from __future__ import annotations

from controller.api import bench_rows
from controller.api.bench_call import known_benchmark, known_run
from controller.api.bench_shapes import (
    BaselineShown,
    BenchmarkShown,
    LeaseShown,
    ResultDetail,
    ResultRow,
    RunDetail,
    RunRow,
)
from controller.api.call import Call, known_node
from controller.api.cell_view import CellView
from controller.api.rows import natural
from controller.bench_events import BenchJudged


async def benchmarks(call: Call) -> list[BenchmarkShown]:
    """Return what there is to measure with."""
    return bench_rows.benchmark_rows(call.cell.rules.bench)


async def bench_runs(call: Call) -> list[RunRow]:
    """Return runs that are under way or ended of late, newest first; `node` narrows them.

    Raises:
        Problem: 404, no such node.
    """
    node = call.query.get("node", "")
    if node:
        known_node(call.cell, node)
    runs = reversed(call.cell.belief.bench.runs.values())
    return [bench_rows.run_row(run) for run in runs if not node or node in run.nodes]


async def bench_run(call: Call) -> RunDetail:
    """Return one run with what becomes of each benchmark on each node.

    Raises:
        Problem: 404, no such run.
    """
    return bench_rows.run_detail(known_run(call), call.cell.belief.bench, call.cell.bench_progress())


async def bench_leases(call: Call) -> list[LeaseShown]:
    """Return the leases that are open, oldest first."""
    return [bench_rows.lease_row(lease) for lease in call.cell.belief.bench.leases.values()]


async def bench_results(call: Call) -> list[ResultRow]:
    """Return the newest result of every benchmark on every node, failures first; `benchmark` narrows them.

    Raises:
        Problem: 422, no such benchmark.
    """
    wanted, bench = known_benchmark(call), call.cell.belief.bench
    found = (
        bench_rows.result_row(node, name, kept, call.cell.rules.bench.limits)
        for node in sorted(bench.newest, key=natural)
        for name, kept in sorted(bench.newest[node].items())
        if wanted in {"", name}
    )
    return bench_rows.failed_first(found)


async def bench_results_of_node(call: Call) -> list[ResultDetail]:
    """Return the newest result of every benchmark on a node with all of its numbers; `benchmark` narrows them.

    Raises:
        Problem: 404, no such node; 422, no such benchmark.
    """
    wanted = known_benchmark(call)
    return await results_of(call.cell, call.node().name, benchmark=wanted)


async def results_of(cell: CellView, node: str, *, benchmark: str = "") -> list[ResultDetail]:
    """Return the newest results of a node, their numbers from the log; one that the log has deleted is short."""
    bench, limits = cell.belief.bench, cell.rules.bench.limits
    found = []
    for name, kept in sorted(bench.newest.get(node, {}).items()):
        if benchmark in {"", name}:
            entry = await cell.entry(kept.event_id)
            judged = entry.event if entry is not None and isinstance(entry.event, BenchJudged) else None
            row = bench_rows.result_row(node, name, kept, limits)
            found.append(bench_rows.result_detail(row, judged, bench, limits))
    return found


async def bench_baselines(call: Call) -> list[BaselineShown]:
    """Return what healthy peers reach; `metric`, `sku` and `driver` narrow it."""
    bench, limits = call.cell.belief.bench, call.cell.rules.bench.limits
    chosen = [baseline for name, baseline in sorted(bench.baselines.items()) if bench_rows.is_chosen(name, call.query)]
    return [bench_rows.baseline_row(baseline, bench, limits) for baseline in chosen]
