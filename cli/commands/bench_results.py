"""`fleetmend bench results`: what nodes reached, as a table and, for one node, as a picture of bandwidth by size."""

from __future__ import annotations

from typing import Any

import click
import msgspec
from rich.table import Table

from cli.bench_plot import plot
from cli.client import Client, with_client
from cli.commands.acts import json_option
from cli.commands.names import node_names
from cli.exit_codes import ExitCode
from cli.printing import cell, console, moment, pairs, plain, print_json, state
from cli.tables import table
from controller.api.bench_charts import charts, size_words
from controller.api.bench_rows import measured
from controller.api.bench_shapes import NumberShown

NUMBERS = 40
"""Rows of one result's table; --json has every number."""

UNWELL = ("fail", "error", "warn")
TIMES = frozenset({"µs"})
"""Units of which more is worse."""


@click.command()
@click.argument("node", required=False, shell_complete=node_names)
@click.option("--benchmark", default="", metavar="NAME", help="Only those of one benchmark.")
@click.option("--check", is_flag=True, help="Exit with 1 if the newest result of any benchmark is a failure.")
@json_option
@with_client
def results(client: Client, node: str | None, benchmark: str, check: bool, as_json: bool) -> None:
    """Show the newest results, or everything that was measured on one node with a picture of bandwidth by size."""
    path = ("bench", "results", node) if node else ("bench", "results")
    answer = client.get(*path, benchmark=benchmark)
    rows: list[dict[str, Any]] = answer
    if as_json:
        print_json(answer)
    elif not rows:
        console().print(_none(node, benchmark))
    elif node:
        _show_node(rows)
    else:
        console().print(_result_table(rows))
    if check and any(row["outcome"] == "fail" for row in rows):
        raise click.exceptions.Exit(ExitCode.NO)


def _none(node: str | None, benchmark: str) -> str:
    where = f"{plain(node)} has never been measured" if node else "No node has been measured yet"
    by, option = (f" by {plain(benchmark)}", f" --benchmark {plain(benchmark)}") if benchmark else ("", "")
    return f"{where}{by}. fleetmend bench run {plain(node or 'NODE')}{option} does that."


def _result_table(rows: list[dict[str, Any]]) -> Table:
    shown = table("node", "benchmark", "outcome", "measured (UTC)", "reached*", "why*")
    for row in rows:
        shown.add_row(
            cell(row["node"]),
            cell(row["benchmark"]),
            state(row["outcome"]),
            moment(row["at"]),
            cell("; ".join(f"{each['metric']} {each['value']:.4g} {each['unit']}" for each in row["headline"])),
            cell(row["because"]),
        )
    return shown


def _show_node(rows: list[dict[str, Any]]) -> None:
    out = console()
    for row in rows:
        out.print(_summary(row))
        if row["numbers"]:
            out.print(_number_table(row["numbers"]))
        for chart in charts(measured(msgspec.convert(row["numbers"], list[NumberShown]))):
            out.print(cell(f"{row['node']}: {chart.summary}", "bold"))
            out.print(plot(chart, width=out.width))
            out.print()


def _summary(row: dict[str, Any]) -> Table:
    return pairs(
        {
            "benchmark": f"{row['benchmark']} on {row['node']}",
            "outcome": state(row["outcome"]),
            "why": row["because"],
            "measured": f"{moment(row['at'])} UTC, {row['run_id']}",
            "on": _machine(row["machine"]),
            "before": ", ".join(f"{past['outcome']} {moment(past['at'])}" for past in row["earlier"]),
            "found": "; ".join(f"{fault['code']} {fault['because']}" for fault in row["faults"]),
            "note": "; ".join(row["notes"]),
        }
    )


def _machine(machine: dict[str, Any]) -> str:
    gpus = f"{machine['gpus']} × {machine['sku']}" if machine["gpus"] else machine["sku"]
    topology = f"topology {machine['topology']}" if machine["gpus"] and machine["topology"] else machine["topology"]
    versions = {"driver": machine["driver"], "NCCL": machine["nccl"]}
    told = [f"{name} {said}" for name, said in versions.items() if said]
    return ", ".join([part for part in (gpus, *told, topology) if part])


def _number_table(numbers: list[dict[str, Any]]) -> Table:
    shown = table("metric", "device", "size", "way", "reached", "p99", "varies", "limit", "median of peers", "outcome")
    rows = [row for group in _groups(numbers) for row in _told(group)]
    for number, device in rows[:NUMBERS]:
        shown.add_row(
            cell(number["metric"]),
            cell(device),
            size_words(number["size_bytes"]) if number["size_bytes"] else "",
            cell(number["way"]),
            _value(number["value"], number["unit"]),
            f"{number['p99_s'] * 1e3:.3g} ms" if number["p99_s"] else "",
            f"{number['variation']:.1%}" if number["samples"] > 1 else "",
            _value(number["fail"], ""),
            f"{number['median']:.4g} ({number['peers']})" if number["median"] is not None else "",
            state(number["outcome"]),
        )
    if len(rows) > NUMBERS:
        shown.caption = f"and {len(rows) - NUMBERS} more that are no worse: --json"
    return shown


def _value(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:.4g} {unit}".strip()


def _groups(numbers: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Return the numbers of each metric, way and size together, what failed first and large messages before small."""
    groups: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
    for number in numbers:
        groups.setdefault((number["metric"], number["way"], -number["size_bytes"]), []).append(number)
    return sorted((groups[key] for key in sorted(groups)), key=lambda group: min(map(_rank, group)))


def _rank(number: dict[str, Any]) -> int:
    return UNWELL.index(number["outcome"]) if number["outcome"] in UNWELL else len(UNWELL)


def _told(group: list[dict[str, Any]]) -> list[tuple[dict[str, Any], str]]:
    """Return what is told of numbers that belong together: each that is not well, and of the rest the slowest."""
    unwell = [(number, number["device"]) for number in sorted(group, key=_rank) if number["outcome"] in UNWELL]
    well = [number for number in group if number["outcome"] not in UNWELL]
    if not well:
        return unwell
    slowest = min(well, key=_speed)
    return [*unwell, (slowest, slowest["device"] if len(well) == 1 else f"slowest of {len(well)}")]


def _speed(number: dict[str, Any]) -> float:
    value = number["value"] if number["value"] is not None else 0.0
    return float(-value if number["unit"] in TIMES else value)
