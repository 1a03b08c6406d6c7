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
from cli.printing import cell, console, moment, pairs, plain, print_json, state, table
from controller.api.bench_charts import charts, size_words
from controller.api.bench_rows import measured
from controller.api.bench_shapes import NumberShown

NUMBERS = 24
"""Numbers of one result in the table; --json has all of them."""


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
        console().print(_none(node))
    elif node:
        _show_node(rows)
    else:
        console().print(_result_table(rows))
    if check and any(row["outcome"] == "fail" for row in rows):
        raise click.exceptions.Exit(ExitCode.NO)


def _none(node: str | None) -> str:
    where = f"{plain(node)} has" if node else "No node has"
    ever = "never been measured" if node else "been measured yet"
    return f"{where} {ever}. fleetmend bench run {plain(node or 'NODE')} does that."


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
    versions = {"driver": machine["driver"], "NCCL": machine["nccl"], "topology": machine["topology"]}
    return ", ".join([part for part in (gpus, *(f"{name} {said}" for name, said in versions.items() if said)) if part])


def _number_table(numbers: list[dict[str, Any]]) -> Table:
    shown = table("metric", "device", "size", "way", "reached", "p99", "varies", "limit", "median of peers", "outcome")
    for number in worst_first(numbers)[:NUMBERS]:
        shown.add_row(
            cell(number["metric"]),
            cell(number["device"]),
            size_words(number["size_bytes"]) if number["size_bytes"] else "",
            cell(number["way"]),
            _value(number["value"], number["unit"]),
            f"{number['p99_s'] * 1e3:.3g} ms" if number["p99_s"] else "",
            f"{number['variation']:.1%}" if number["samples"] > 1 else "",
            _value(number["fail"], ""),
            f"{number['median']:.4g} ({number['peers']})" if number["median"] is not None else "",
            state(number["outcome"]),
        )
    if len(numbers) > NUMBERS:
        shown.caption = f"and {len(numbers) - NUMBERS} more that are no worse: --json"
    return shown


def _value(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:.4g} {unit}".strip()


def worst_first(numbers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what failed first, and the largest messages before small ones."""
    rank = {"fail": 0, "error": 1, "warn": 2}
    return sorted(numbers, key=lambda n: (rank.get(n["outcome"], 3), n["metric"], n["way"], -n["size_bytes"]))
