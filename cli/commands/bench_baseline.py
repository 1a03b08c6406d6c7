"""`fleetmend bench baseline`: what healthy peers reach, learnt once and then frozen."""

from __future__ import annotations

from typing import Any

import click
from rich.table import Table

from cli.client import Client, with_client
from cli.commands.acts import because_option, json_option
from cli.printing import cell, console, moment, plain, print_json
from cli.tables import table
from controller.api.bench_charts import size_words


@click.group()
def baseline() -> None:
    """Show what healthy peers reach, and decide from whom it is learnt anew."""


def _choosing(command: Any) -> Any:
    """Give a command the options that narrow it to some baselines."""
    for name, text in (
        ("metric", "Only of this metric."),
        ("sku", "Only of this kind of GPU."),
        ("driver", "Only of this driver."),
    ):
        command = click.option(f"--{name}", default="", metavar="NAME", help=text)(command)
    return command


@baseline.command(name="list")
@_choosing
@json_option
@with_client
def list_baselines(client: Client, as_json: bool, **chosen: str) -> None:
    """List baselines: what peers reach, from how many it was learnt, and when."""
    rows = client.get("bench", "baselines", **chosen)
    if as_json:
        print_json(rows)
    else:
        console().print(_baseline_table(rows) if rows else _none(chosen))


def _none(chosen: dict[str, str]) -> str:
    if any(chosen.values()):
        return "No baseline is so called. fleetmend bench baseline list shows every one."
    return "No baseline is known: eight healthy peers make one."


def _baseline_table(rows: list[dict[str, Any]]) -> Table:
    shown = table("metric", "size", "way", "median", "± MAD", "learnt (UTC)", "from*", "measured on*")
    for row in rows:
        shown.add_row(
            cell(row["metric"], "bold"),
            size_words(row["size_bytes"]) if row["size_bytes"] else "",
            cell(row["way"]),
            f"{row['median']:.4g} {row['unit']}",
            f"{row['deviation']:.2g}",
            moment(row["learnt_at"]) if row["learnt_at"] else "",
            cell(_peers(row)),
            cell(_machines(row)),
        )
    return shown


def _machines(row: dict[str, Any]) -> str:
    group = f"{row['nodes']} nodes{', over spines' if row['crosses'] else ''}" if row["nodes"] > 1 else ""
    versions = [f"{name} {said}" for name, said in (("driver", row["driver"]), ("NCCL", row["nccl"])) if said]
    place = row["topology"] if not row["driver"] else ""
    return ", ".join(part for part in (group, row["sku"], *versions, place) if part)


def _peers(row: dict[str, Any]) -> str:
    named = f": {', '.join(row['learnt_from'])}" if row["learnt_from"] else ""
    shifted = f". {row['shift']}" if row["shift"] else ""
    return f"{row['peers']} peers{named}{shifted}"


every_option = click.option("--all", "every", is_flag=True, help="All of them, when nothing narrows it.")


@baseline.command()
@_choosing
@every_option
@because_option
@json_option
@with_client
def learn(client: Client, because: str, as_json: bool, **chosen: Any) -> None:
    """Learn baselines anew from what healthy peers reached of late; the old ones stand until then."""
    _require_a_choice(chosen)
    _tell(client.post("bench", "baselines", "learn", because=because, **chosen), as_json=as_json)


@baseline.command()
@_choosing
@every_option
@because_option
@json_option
@with_client
def forget(client: Client, because: str, as_json: bool, **chosen: Any) -> None:
    """Drop baselines, e.g. after a new driver; the next ones are learnt from what is measured from here on."""
    _require_a_choice(chosen)
    _tell(client.post("bench", "baselines", "forget", because=because, **chosen), as_json=as_json)


def _require_a_choice(chosen: dict[str, Any]) -> None:
    if not any(chosen.values()):
        raise click.UsageError("name at least one of --metric, --sku and --driver, or give --all for every baseline.")


def _tell(answer: dict[str, Any], *, as_json: bool) -> None:
    print_json(answer) if as_json else click.echo(plain(answer["text"]))
