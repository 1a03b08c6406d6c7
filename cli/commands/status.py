"""`fleetmend status`: the cell at a glance."""

from __future__ import annotations

from typing import Any

import click

from cli.client import Client, with_client
from cli.commands.incidents import incident_table
from cli.exit_codes import ExitCode
from cli.printing import SHAPES, cell, console, counted, lines, moment, pairs, print_json, seconds, state


@click.command()
@click.option("--json", "as_json", is_flag=True, help="JSON for programs.")
@click.option("--check", is_flag=True, help="Exit with 1 unless the fleet is healthy.")
@with_client
def status(client: Client, as_json: bool, check: bool) -> None:
    """Show the cell at a glance."""
    answer = client.get("status")
    if as_json:
        print_json(answer)
    else:
        _show(client, answer)
    if check and not healthy(answer):
        raise click.exceptions.Exit(ExitCode.NO)


def healthy(answer: dict[str, Any]) -> bool:
    """Return whether nothing is broken, frozen, cut off or in people's hands. Paused is somebody's wish, not ill."""
    counts = answer["counts"]
    unwell = counts["failed"] + counts["degraded"] + counts["incidents_open"]
    hears = answer["broker_connected"] or answer["role"] == "standby"
    return not unwell and not answer["frozen"] and not answer["scheduler_error"] and bool(hears)


def _show(client: Client, answer: dict[str, Any]) -> None:
    counts, out = answer["counts"], console()
    nodes = cell(f"{counts['nodes']}:")
    for verdict in SHAPES:
        nodes.append("  ").append_text(state(verdict)).append(f" {counts[verdict]}")
    out.print(
        pairs(
            {
                "cell": f"{answer['cell']} at {client.url}, up {seconds(answer['uptime_s'])}",
                "nodes": nodes,
                "held out": f"{counted(answer['budget']['held'], 'node')}; the budget is {answer['budget']['text']}",
                "role": f"{answer['role']}, term {answer['term']}" if answer["role"] == "leader" else _standby(answer),
                "broker": _broker(answer),
                "certificate": _certificate(answer.get("certificate", {})),
                "scheduler": answer["scheduler"] or "none",
                "scheduler error": cell(answer["scheduler_error"], "red"),
                "places unreadable": cell(
                    "; ".join(f"{source}: {why}" for source, why in answer["topology_errors"].items()), "yellow"
                ),
                "not told": lines(
                    (f"{where}: {why}" for where, why in answer["notice_errors"].items()), style="yellow"
                ),
                "settings refused": cell(answer.get("settings_error", ""), "yellow"),
                "frozen": cell(answer["frozen"], "red"),
                "paused": cell("; ".join(f"{scope} by {by}" for scope, by in answer["pauses"].items()), "yellow"),
                "rejected": ", ".join(f"{reason} {count}" for reason, count in answer["rejected_messages"].items()),
                "event log": _store(answer["store"]),
                "event log error": cell(answer["store"]["error"], "red"),
                "traces": _traces(answer["traces"]),
                "traces error": cell(answer["traces"]["error"], "yellow"),
                "incidents": f"{counts['incidents_open']} open, {counts['incidents_waiting']} waiting, "
                f"{counts['incidents_handed_over']} with people",
            }
        )
    )
    if counts["incidents_open"]:
        out.print(incident_table(client.get("incidents", state="open")))


def _standby(answer: dict[str, Any]) -> str:
    leader = answer["leader_url"]
    return f"standby; {leader} leads" if leader else "standby; nobody leads"


def _broker(answer: dict[str, Any]) -> Any:
    if answer["broker_connected"]:
        return "connected"
    return "only the leader listens to it" if answer["role"] == "standby" else cell("not connected", "red")


def _certificate(certificate: dict[str, Any]) -> Any:
    """Return how long the certificate is good that the broker is shown."""
    if not certificate.get("ends_at"):
        return ""
    days, until = certificate["days_left"], f"{moment(certificate['ends_at'])} UTC"
    if days <= 0:
        return cell(f"expired on {until}: no broker takes it", "red")
    return cell(f"{days:.0f} days left, until {until}", "yellow" if certificate["is_short"] else "")


def _traces(traces: dict[str, Any]) -> str:
    if not traces["receiver"]:
        return ""
    dropped = f", {traces['dropped']} dropped" if traces["dropped"] else ""
    return f"{counted(traces['sent'], 'span')} sent{dropped}, {traces['waiting']} waiting; {traces['receiver']}"


def _store(store: dict[str, Any]) -> str:
    if not store["name"]:
        return ""
    age_s = store["snapshot_age_s"]
    snapshot = "no snapshot yet" if age_s is None else f"snapshot {seconds(age_s)} old"
    return f"{store['events']} entries, {store['used_bytes'] / 1e6:.1f} MB, {snapshot}; {store['name']}"
