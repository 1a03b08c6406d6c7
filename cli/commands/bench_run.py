"""`fleetmend bench run`: have nodes measured, and follow that to its end."""

from __future__ import annotations

from typing import Any

import click
from rich.table import Table

from checks.bench_result import Benchmark
from cli.client import Client, Failed, with_client
from cli.commands.acts import Span, because_option, json_option
from cli.commands.bench_following import following_run
from cli.commands.names import node_names
from cli.exit_codes import ExitCode
from cli.printing import cell, console, plain, print_json, state
from cli.tables import table


@click.command()
@click.argument("nodes", metavar="NODE...", nargs=-1, required=True, shell_complete=node_names)
@click.option(
    "--benchmark",
    "benchmarks",
    multiple=True,
    metavar="NAME",
    help="What to run, may be given again; default: nccl_all_reduce and gpu_bandwidth.",
)
@click.option(
    "--tier",
    type=click.IntRange(1, 3),
    default=1,
    show_default=True,
    help="1 takes at most 30 s, 2 at most 5 min, 3 longer and on a cordoned node alone.",
)
@click.option("--option", "extra", multiple=True, metavar="NAME=VALUE", help="For the benchmark, e.g. path=/scratch.")
@click.option(
    "--patience",
    "wait_s",
    type=Span(),
    default="0s",
    metavar="TIME",
    help="How long a node that is at work is waited for; default: it is skipped at once.",
)
@click.option("--wait/--no-wait", default=True, show_default=True, help="Follow the run until it is over.")
@click.option("--timeout", "limit_s", type=Span(), metavar="TIME", help="How long to --wait at most.")
@because_option
@json_option
@with_client
def run(client: Client, nodes: tuple[str, ...], as_json: bool, wait: bool, limit_s: float | None, **wish: Any) -> None:
    """Measure nodes that are idle or cordoned.

    Exits with 0 when every benchmark was measured and none failed; with 1 when one failed, 3 when one broke off or the
    run was stopped, 75 when a node was not measured, e.g. because it has work.
    """
    answer = client.post("bench", "runs", nodes=list(nodes), **_body(**wish))
    if not wait:
        print_json(answer) if as_json else click.echo(f"{plain(answer['run_id'])} is asked for. {_how(answer)}")
        return
    ended = following_run(client, answer["run_id"], to_stderr=as_json).until_over(limit_s)
    print_json(ended) if as_json else _tell(ended)
    _judge(ended)


def _body(*, benchmarks: tuple[str, ...], tier: int, extra: tuple[str, ...], wait_s: float, because: str) -> Any:
    unknown = [name for name in benchmarks if name not in set(Benchmark)]
    if unknown:
        known = ", ".join(Benchmark)
        raise click.BadParameter(f"no benchmark is called {unknown[0]!r}; there are {known}.", param_hint="--benchmark")
    wish = {"benchmarks": list(benchmarks), "tier": tier, "options": as_options(extra)}
    return {**wish, "wait_s": wait_s, "because": because}


def as_options(texts: tuple[str, ...]) -> dict[str, str]:
    """Return options of a benchmark from NAME=VALUE.

    Raises:
        click.BadParameter: one of them is something else.
    """
    return dict(map(_option, texts))


def _option(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not (name and separator):
        raise click.BadParameter(f"{text!r} is not NAME=VALUE.", param_hint="--option")
    return name, value


def _how(answer: dict[str, Any]) -> str:
    run_id = plain(answer["run_id"])
    return f"Results: fleetmend bench results NODE; end it: fleetmend bench stop {run_id}"


def _tell(ended: dict[str, Any]) -> None:
    out = console()
    out.print(turn_table(ended["turns"]))
    if ended["outcome"]:
        out.print(state(ended["outcome"]).append(f"  {plain(ended['ended_because'])}"))


def turn_table(turns: list[dict[str, Any]]) -> Table:
    """Return what became of every benchmark on every node."""
    shown = table("node", "benchmark", "outcome", "why*")
    for turn in turns:
        shown.add_row(cell(turn["node"]), cell(turn["benchmark"]), state(turn["state"]), cell(turn["because"]))
    return shown


def _judge(ended: dict[str, Any]) -> None:
    """End with the code that says how it went."""
    run_id, states = ended["run_id"], {turn["state"] for turn in ended["turns"]}
    if not ended["outcome"]:
        raise Failed(f"{run_id} is still under way; `fleetmend bench list` shows it", ExitCode.REFUSED_NOW)
    if "fail" in states:
        raise click.exceptions.Exit(ExitCode.NO)
    if ended["outcome"] == "stopped":
        raise Failed(f"{run_id} was stopped: {ended['ended_because']}", ExitCode.UNREAD)
    if "error" in states:
        raise click.exceptions.Exit(ExitCode.UNREAD)
    if "skip" in states:
        raise click.exceptions.Exit(ExitCode.REFUSED_NOW)
