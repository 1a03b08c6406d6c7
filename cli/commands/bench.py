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
from cli.commands.bench_sweep import sweep, sweeps
from cli.commands.names import open_run_ids
from cli.printing import cell, console, moment, plain, print_json, state
from cli.tables import table
from controller.api.moments import duration

NAMED = 3
"""Nodes of a run that are named in a list; the rest is counted."""

SWEEP = "sweep-"
"""How the names of sweeps begin."""


@click.group()
def bench() -> None:
    """Measure idle or cordoned nodes, and show what they reach."""


bench.add_command(run)
bench.add_command(results)
bench.add_command(baseline)
bench.add_command(sweep)
bench.add_command(sweeps)


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
    out.print(_cost(benchmarks))
    out.print(run_table(runs) if runs else "No benchmark has been run yet.")


def _benchmark_table(rows: list[dict[str, Any]]) -> Table:
    shown = table("benchmark", "measures*", "finds*", "needs*")
    for row in rows:
        shown.add_row(cell(row["benchmark"], "bold"), *map(cell, (row["measures"], row["finds"], row["needs"])))
    return shown


def _cost(rows: list[dict[str, Any]]) -> str:
    limits = [f"{duration(s)} at tier {tier}" for tier, s in enumerate(rows[0]["limits_s"], start=1)]
    return f"Each takes a node's time for {', '.join(limits)} at most; tier 3 needs a cordoned node."


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
    return f"{', '.join(nodes[:NAMED])} and {more} more" if more > 0 else ", ".join(nodes)


@bench.command()
@click.argument("name", metavar="RUN|SWEEP", shell_complete=open_run_ids)
@because_option
@json_option
@with_client
def stop(client: Client, name: str, because: str, as_json: bool) -> None:
    """End a run or a sweep: nothing more of it begins, and what is under way is given up."""
    kind = "sweeps" if name.startswith(SWEEP) else "runs"
    answer = client.post("bench", kind, name, "stop", because=because)
    print_json(answer) if as_json else click.echo(plain(answer["text"]))
