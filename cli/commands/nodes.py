"""`fleetmend nodes` and `fleetmend node NAME`."""

from __future__ import annotations

from typing import Any

import click
from rich.table import Table

from cli.client import Client, with_client
from cli.commands.incidents import incident_table
from cli.commands.names import node_names
from cli.exit_codes import ExitCode
from cli.printing import cell, console, moment, pairs, plain, print_json, seconds, state, timeline
from cli.tables import table

SOURCES = {"node": "the node", "file": "the file", "netbox": "NetBox", "slurm": "Slurm", "ib_fabric": "the IB fabric"}
"""Sources of places in words."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="JSON for programs.")
@click.option("--unwell", is_flag=True, help="Only nodes that are not ok, or not in service.")
@click.option("--in", "place", metavar="KIND=NAME", default="", help="Only nodes of a place, e.g. leaf=leaf-3.")
@with_client
def nodes(client: Client, as_json: bool, unwell: bool, place: str) -> None:
    """List every node."""
    rows = client.get("nodes", **{"in": place})
    if unwell:
        rows = [row for row in rows if row["health"] != "ok" or not row["schedulable"]]
    if as_json:
        print_json(rows)
    else:
        console().print(_node_table(rows) if rows else _none(unwell, place))


def _none(unwell: bool, place: str) -> str:
    if place:
        return f"No node stands in {plain(place)}." if not unwell else f"No such node stands in {plain(place)}."
    return "No node." if unwell else "No node has been heard yet."


def _node_table(rows: list[dict[str, Any]]) -> Table:
    shown = table("node", "health", "service", "heard", "findings*")
    for row in rows:
        found = "; ".join(f"{f['check']} {f['code']}".strip() + f": {f['because']}" for f in row["findings"])
        shown.add_row(cell(row["name"]), state(row["health"]), _service(row), seconds(row["last_seen_s"]), cell(found))
    return shown


def _service(row: dict[str, Any]) -> str:
    if row["held_by_us"]:
        return "held out by fleetmend"
    return "in service" if row["schedulable"] else "held out by others"


@click.command()
@click.argument("name", metavar="NAME", shell_complete=node_names)
@click.option("--json", "as_json", is_flag=True, help="JSON for programs.")
@click.option("--check", is_flag=True, help="Exit with 1 unless the node is ok.")
@with_client
def node(client: Client, name: str, as_json: bool, check: bool) -> None:
    """Show one node: findings, checks, incidents, timeline."""
    answer = client.get("nodes", name)
    if as_json:
        print_json(answer)
    else:
        _show(answer)
    if check and answer["health"] != "ok":
        raise click.exceptions.Exit(ExitCode.NO)


def _show(node: dict[str, Any]) -> None:
    facts, out = node["facts"], console()
    out.print(
        pairs(
            {
                "node": node["name"],
                "health": state(node["health"]),
                "service": _service(node) + (f": {plain(node['foreign_reason'])}" if node["foreign_reason"] else ""),
                "held by": node["held_by"],
                "paused by": node["paused"],
                "agent": f"{node['presence']}, heard {seconds(node['last_seen_s'])} ago"
                if node["last_seen_s"] is not None
                else node["presence"],
                "jobs": ", ".join(node["jobs"]),
                "stands in": _places(node),
                "GPUs": f"{facts['gpu_count']} × {facts['gpu_model']}" if facts["gpu_count"] else "",
                "driver": facts["driver_version"],
                "kernel": facts["kernel"],
                "serial": facts["serial"],
                "failures": _failures(node["failure_rate"]),
            }
        )
    )
    _sections(node)


def _places(node: dict[str, Any]) -> str:
    """Return what its sources say; what is derived has lines of its own."""
    said = ((kind, ", ".join(node["places"][kind]), source) for kind, source in node["placed_by"].items())
    return "; ".join(plain(f"{kind} {names} (by {SOURCES.get(source, source)})") for kind, names, source in said)


def _failures(rate: dict[str, Any]) -> str:
    """Return how often the node failed; a node that never did is left alone."""
    if not rate["failures"]:
        return ""
    low, high = rate["rate_ratio_low"], rate["rate_ratio_high"]
    return (
        f"{rate['failures']} in {rate['window_days']:.0f} days, {rate['expected']:.2g} expected; "
        f"{rate['rate_ratio']:.1f} times the fleet's rate ({low:.1f} to {high:.1f}), "
        f"lemon score {rate['lemon_score']:.2f}"
    )


def _sections(node: dict[str, Any]) -> None:
    out = console()
    if node["findings"]:
        out.print(finding_table(node["findings"]))
    unwell = [check for check in node["checks"] if check["verdict"] != "ok"]
    if unwell:
        checks = table("check", "verdict", "why*")
        for check in unwell:
            checks.add_row(cell(check["check"]), state(check["verdict"]), cell(check["because"]))
        out.print(checks)
    elif node["checks"]:
        out.print(_all_ok(node["presence"], len(node["checks"])))
    if node["incidents"]:
        out.print(incident_table(node["incidents"]))
    out.print(timeline(entry for entry in node["timeline"] if entry["kind"] != "checks.changed"))


def _all_ok(presence: str, checks: int) -> str:
    """Return what was said of checks that are all well, as of now only where the agent says it now."""
    if presence == "online":
        return f"\nEvery check is ok ({checks})."
    return f"\nEvery check was ok ({checks}) when the agent was last heard."


def finding_table(findings: list[dict[str, Any]]) -> Table:
    """Return findings with their reasons."""
    shown = table("finding", "verdict", "device", "mends it", "since", "why*")
    for finding in findings:
        shown.add_row(
            cell(f"{finding['check']} {finding['code']}".strip()),
            state(finding["verdict"] if finding["standing"] else "cleared"),
            cell(finding["device"]),
            cell(finding["action"].replace("_", " ")),
            moment(finding["since"]) if finding["since"] else "",
            cell(finding["because"]),
        )
    return shown
