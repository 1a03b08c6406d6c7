"""`fleetmend bench sweep` and `sweeps`: find out which node, link or switch is slow among many."""

from __future__ import annotations

from typing import Any

import click
from rich.table import Table

from cli.client import Client, Failed, with_client
from cli.commands.acts import Span, because_option, json_option
from cli.commands.bench_following import following_sweep
from cli.commands.bench_run import as_options
from cli.commands.names import node_names, sweep_ids
from cli.exit_codes import ExitCode
from cli.printing import cell, console, moment, pairs, plain, print_json, state
from cli.tables import table


@click.command()
@click.argument("nodes", metavar="[NODE...]", nargs=-1, shell_complete=node_names)
@click.option("--rack", metavar="NAME", default="", help="Every node of a rack.")
@click.option("--in", "place", metavar="KIND=NAME", default="", help="Every node of a place, e.g. leaf=leaf-3.")
@click.option("--all", "every", is_flag=True, help="Every node.")
@click.option("--option", "extra", multiple=True, metavar="NAME=VALUE", help="For the benchmark.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Follow the sweep until it is over.")
@click.option("--timeout", "limit_s", type=Span(), metavar="TIME", help="How long to --wait at most.")
@because_option
@json_option
@with_client
def sweep(client: Client, wait: bool, limit_s: float | None, because: str, as_json: bool, **wish: Any) -> None:
    """Find out which node, link or switch is slow, by all-reduces over groups of idle nodes.

    Exits with 0 when nothing is slow, with 1 when something is, or too much to be single faults, and with 3 when
    nothing can be told: the sweep was stopped, ran out of time, or cleared no node.
    """
    extra = wish.pop("extra")
    body = {**_whom(**wish), "options": as_options(extra), "because": because}
    answer = client.post("bench", "sweeps", **body)
    sweep_id = answer["sweep_id"]
    if not wait:
        print_json(answer) if as_json else click.echo(f"{plain(answer['text'])} See: fleetmend bench sweeps {sweep_id}")
        return
    if not as_json:
        click.echo(plain(answer["text"]))
    ended = following_sweep(client, sweep_id, to_stderr=as_json).until_over(limit_s)
    print_json(ended) if as_json else _show(ended)
    _judge(ended)


def _whom(*, nodes: tuple[str, ...], rack: str, place: str, every: bool) -> dict[str, Any]:
    """Return the nodes or the scope that are wanted: exactly one of the four ways to say so."""
    scopes = [scope for scope in (f"rack={rack}" if rack else "", place, "fleet" if every else "") if scope]
    if len(scopes) + bool(nodes) != 1:
        raise click.UsageError("name nodes, or one of --rack NAME, --in KIND=NAME and --all.")
    if place and "=" not in place:
        raise click.BadParameter(f"{place!r} is not KIND=NAME, e.g. leaf=leaf-3.", param_hint="--in")
    return {"nodes": list(nodes)} if nodes else {"scope": scopes[0]}


def _judge(ended: dict[str, Any]) -> None:
    row = ended["sweep"]
    if row["state"] == "running":
        raise Failed(f"{row['id']} is still under way; `fleetmend bench sweeps {row['id']}`", ExitCode.REFUSED_NOW)
    if row["faults"] or row["state"] == "too_many":
        raise click.exceptions.Exit(ExitCode.NO)
    if row["state"] != "done" or not ended["cleared"]:
        raise click.exceptions.Exit(ExitCode.UNREAD)


@click.command()
@click.argument("sweep_id", metavar="[SWEEP]", required=False, shell_complete=sweep_ids)
@json_option
@with_client
def sweeps(client: Client, sweep_id: str | None, as_json: bool) -> None:
    """List sweeps, newest first, or show one: how far it is, and what it found."""
    answer = client.get("bench", "sweeps", sweep_id) if sweep_id else client.get("bench", "sweeps")
    if as_json:
        print_json(answer)
    elif sweep_id:
        _show(answer)
    else:
        console().print(_table(answer) if answer else "There has been no sweep yet.")


def _table(rows: list[dict[str, Any]]) -> Table:
    shown = table("sweep", "state", "nodes", "tests", "began (UTC)", "by", "found*", "how*")
    for row in rows:
        shown.add_row(
            cell(row["id"]),
            state(row["state"]),
            str(row["nodes"]),
            str(row["tests"]),
            moment(row["began_at"]),
            cell(row["by"]),
            cell("; ".join(_fault(fault) for fault in row["faults"])),
            cell(row["text"]),
        )
    return shown


def _fault(fault: dict[str, Any]) -> str:
    named = any(" rail " in part for part in fault["parts"])
    rails = f" on rails {', '.join(fault['rails'])}" if fault["rails"] and not named else ""
    return f"{fault['kind']} {' or '.join(fault['parts'])}{rails}"


def _show(answer: dict[str, Any]) -> None:
    row, out = answer["sweep"], console()
    out.print(
        pairs(
            {
                "sweep": f"{row['id']} over {row['nodes']} nodes, {row['tests']} tests, round {row['round']}",
                "state": state(row["state"]),
                "how": row["text"],
                "asked": f"by {row['by']}, {moment(row['began_at'])} UTC",
                "because": row["because"],
                "ended": f"{moment(row['ended_at'])} UTC" if row["ended_at"] else "",
                "people": f"{answer['incident_id']} asks about it" if answer["incident_id"] else "",
                "cleared": ", ".join(answer["cleared"]),
            }
        )
    )
    if row["faults"]:
        out.print(_faults(row["faults"]))
    if answer["groups"]:
        out.print(_groups(answer["groups"]))
    unsaid = {**answer["untested"], **answer["doubts"], **answer["left"]}
    if unsaid:
        out.print(_unsaid(unsaid))


def _faults(faults: list[dict[str, Any]]) -> Table:
    shown = table("slow", "nodes with a part in it", "answered by", "why*")
    for fault in faults:
        answered = fault["incident_id"] or "the node's finding"
        shown.add_row(cell(_fault(fault)), cell(", ".join(fault["nodes"])), cell(answered), cell(fault["because"]))
    return shown


def _groups(groups: list[dict[str, Any]]) -> Table:
    shown = table("group", "purpose", "state", "nodes*", "why*")
    for group in groups:
        shown.add_row(
            str(group["number"]),
            cell(group["purpose"]),
            state(group["state"]),
            cell(", ".join(group["nodes"])),
            cell(group["because"]),
        )
    return shown


def _unsaid(nodes: dict[str, str]) -> Table:
    shown = table("node", "why nothing is said of it*")
    for node, because in nodes.items():
        shown.add_row(cell(node), cell(because))
    return shown
