"""`fleetmend bench`: what there is to measure with, runs that are under way, and ending one."""

from __future__ import annotations

from typing import Any

import click
from rich.table import Table

from cli.client import Client, with_client
from cli.commands.acts import because_option, json_option
from cli.commands.bench_baseline import baseline
from cli.commands.bench_results import results
from cli.commands.bench_run import run
from cli.commands.names import open_run_ids
from cli.printing import cell, console, counted, moment, plain, print_json, seconds, state, table

NAMED = 3
"""Nodes of a run that are named in a list; the rest is counted."""


@click.group()
def bench() -> None:
    """Measure idle or cordoned nodes, and show what they reach."""


bench.add_command(run)
bench.add_command(results)
bench.add_command(baseline)


@bench.command(name="list")
@json_option
@with_client
def list_benchmarks(client: Client, as_json: bool) -> None:
    """List the benchmarks with what each measures and costs, and the runs of late."""
    benchmarks, runs = client.get("bench", "benchmarks"), client.get("bench", "runs")
    if as_json:
        print_json({"benchmarks": benchmarks, "runs": runs})
        return
    out = console()
    out.print(_benchmark_table(benchmarks))
    out.print(run_table(runs) if runs else "No benchmark has been run yet.")


def _benchmark_table(rows: list[dict[str, Any]]) -> Table:
    shown = table("benchmark", "a node's time at most", "measures*", "finds*", "needs*")
    for row in rows:
        shown.add_row(
            cell(row["benchmark"], "bold"),
            cell(_cost(row["limits_s"], row["least_tier"])),
            *map(cell, (row["measures"], row["finds"], row["needs"])),
        )
    return shown


def _cost(limits_s: list[float], least: int) -> str:
    return ", ".join(f"tier {tier}: {seconds(s)}" for tier, s in enumerate(limits_s, start=1) if tier >= least)


def run_table(rows: list[dict[str, Any]]) -> Table:
    """Return runs, newest first."""
    shown = table("run", "nodes", "benchmarks", "state", "asked (UTC)", "by", "why*")
    for row in rows:
        shown.add_row(
            cell(row["run_id"]),
            cell(some(row["nodes"])),
            cell(", ".join(row["benchmarks"])),
            state(row["outcome"] or ("waiting" if row["waiting"] else "running")),
            moment(row["asked_at"]),
            cell(row["by"]),
            cell(row["ended_because"] or row["waiting"] or row["because"]),
        )
    return shown


def some(nodes: list[str]) -> str:
    """Return the first nodes by name and how many more there are."""
    more = len(nodes) - NAMED
    return (
        ", ".join(nodes) if more <= 0 else f"{', '.join(nodes[:NAMED])} and {counted(more, 'more')}".removesuffix("s")
    )


@bench.command()
@click.argument("run_id", metavar="RUN", shell_complete=open_run_ids)
@because_option
@json_option
@with_client
def stop(client: Client, run_id: str, because: str, as_json: bool) -> None:
    """End a run: nothing more of it begins, and what is under way is given up."""
    answer = client.post("bench", "runs", run_id, "stop", because=because)
    print_json(answer) if as_json else click.echo(plain(answer["text"]))
