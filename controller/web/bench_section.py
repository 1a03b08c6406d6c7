"""What a node's page shows of benchmarks: what runs now, the newest results, and their pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from controller.api import bench_reading, bench_rows
from controller.api.bench_charts import charts
from controller.api.bench_shapes import ResultDetail, TurnShown
from controller.api.cell_view import CellView
from controller.web.bench_plot import Picture, picture


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A benchmark that runs on the node now, and the run that it belongs to."""

    run_id: str
    turn: TurnShown


@dataclass(frozen=True, slots=True)
class BenchSection:
    """The section. `pictures`: those of all results, in the results' order."""

    under_way: UnderWay | None
    results: tuple[ResultDetail, ...]
    pictures: tuple[Picture, ...]


async def bench_section(cell: CellView, node: str) -> BenchSection:
    """Return what is to be shown of a node."""
    results = await bench_reading.results_of(cell, node)
    return BenchSection(_under_way(cell, node), tuple(results), pictures_of(results))


def pictures_of(results: Sequence[ResultDetail]) -> tuple[Picture, ...]:
    """Return the pictures of results."""
    return tuple(picture(chart) for result in results for chart in charts(bench_rows.measured(result.numbers)))


def _under_way(cell: CellView, node: str) -> UnderWay | None:
    bench = cell.belief.bench
    lease = bench.lease_of(node)
    run = bench.runs.get(lease.run_id) if lease is not None else None
    if lease is None or run is None:
        return None
    turns = bench_rows.run_detail(run, bench, cell.bench_progress()).turns
    found = next((turn for turn in turns if (turn.node, turn.benchmark) == (node, lease.benchmark)), None)
    return UnderWay(run.run_id, found) if found is not None else None
