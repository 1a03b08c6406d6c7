"""`fleetmend incidents` and `fleetmend incident ID`."""

from __future__ import annotations

from typing import Any

import click
from rich.table import Table
from rich.text import Text

from cli.client import Client, with_client
from cli.commands.names import node_names, open_incident_ids
from cli.printing import cell, console, lines, moment, pairs, print_json, state, timeline
from cli.tables import table
from wire.evidence import size_text


@click.command()
@click.option("--json", "as_json", is_flag=True, help="JSON for programs.")
@click.option("--open", "which", flag_value="open", help="Only open ones.")
@click.option("--closed", "which", flag_value="closed", help="Only closed ones.")
@click.option("--node", metavar="NAME", default="", shell_complete=node_names, help="Only those of a node.")
@with_client
def incidents(client: Client, as_json: bool, which: str | None, node: str) -> None:
    """List incidents, newest first."""
    rows = client.get("incidents", state=which or "", node=node)
    if as_json:
        print_json(rows)
    else:
        console().print(incident_table(rows) if rows else "No incident.")


def incident_table(rows: list[dict[str, Any]]) -> Table:
    """Return incidents with their reasons."""
    shown = table("incident", "node", "class", "state", "opened (UTC)", "why*")
    for row in rows:
        shown.add_row(
            cell(row["id"]),
            cell(row["node"] or "the fleet"),
            cell(row["fault_class"].replace("_", " ")),
            state(row["outcome"] if row["closed_at"] else row["state"]),
            moment(row["opened_at"]),
            cell(row["because"]),
        )
    return shown


@click.command()
@click.argument("incident_id", metavar="ID", shell_complete=open_incident_ids)
@click.option("--json", "as_json", is_flag=True, help="JSON for programs.")
@with_client
def incident(client: Client, incident_id: str, as_json: bool) -> None:
    """Show one incident: plan, reasons, timeline."""
    answer = client.get("incidents", incident_id)
    if as_json:
        print_json(answer)
    else:
        _show(answer, _runbook(client, answer))


def _runbook(client: Client, incident: dict[str, Any]) -> str:
    """Return where the runbook opens, else its name."""
    address = str(incident.get("runbook_url", ""))
    return f"{client.url.rstrip('/')}{address}" if address.startswith("/") else address or str(incident["runbook"])


def _show(incident: dict[str, Any], runbook: str) -> None:
    out = console()
    out.print(
        pairs(
            {
                "incident": f"{incident['id']}, {incident['severity']}: {incident['summary']}",
                "node": incident["node"] or "the fleet",
                "device": incident["device"],
                "part": incident["part"] if incident["part"] != f"{incident['node']}/{incident['device']}" else "",
                "before": incident["history"],
                "send back": incident["send_back"],
                "state": state(incident["outcome"] if incident["closed_at"] else incident["state"]),
                "why": incident["because"],
                "next": incident["next"],
                "asks": f"{incident['question']} ({incident['approves']})" if incident["question"] else "",
                "playbook": f"{incident['playbook']}, mode {incident['mode']}",
                "opened": f"{moment(incident['opened_at'])} UTC",
                "closed": f"{moment(incident['closed_at'])} UTC" if incident["closed_at"] else "",
                "you may": ", ".join(f"fleetmend {act} {_subject(act, incident)}" for act in incident["acts"]),
                "runbook": runbook,
                "evidence": _bundles(incident["bundles"]),
                "told": _notices(incident["notices"]),
                "not told": _failures(incident["notice_failures"]),
                "looked after by": incident["acknowledged_by"],
                "trace": incident["trace_url"] or incident["trace_id"],
            }
        )
    )
    out.print(_plan(incident["steps"]))
    out.print(timeline(incident["timeline"]))


def _bundles(bundles: list[dict[str, Any]]) -> Text:
    """Return how the bundles of evidence are got, or why one is not there."""
    return lines(
        f"fleetmend evidence get {bundle['upload']} ({size_text(bundle['size_bytes'])})"
        if bundle["state"] == "stored"
        else f"{bundle['upload'][:8]} {bundle['state']}: {bundle['because']}".rstrip(": ")
        for bundle in bundles
    )


def _notices(notices: list[dict[str, Any]]) -> Text:
    """Return where the tickets and pages are, and how they stand."""
    return lines(
        f"{each['kind']} {each['reference']} in {each['destination']}, {each['state']} {each['url']}".rstrip()
        for each in notices
    )


def _failures(failures: list[dict[str, Any]]) -> Text:
    """Return what destinations did not take, and when it is tried again."""
    return lines(
        f"{each['kind']} in {each['destination']}: {each['because'].rstrip('.')}."
        + (f" Tried again at {moment(each['retry_at'])} UTC." if each["retry_at"] else " Given up.")
        for each in failures
    )


def _subject(act: str, incident: dict[str, Any]) -> str:
    return str(incident["node"] if act == "uncordon" else incident["id"])


def _plan(steps: list[dict[str, Any]]) -> Table:
    shown = table("step", "state", "how*")
    for step in steps:
        attempt = f", attempt {step['attempt']}" if step["attempt"] > 1 else ""
        shown.add_row(cell(f"{step['step']}{attempt}"), state(step["state"]), cell(step["because"]))
    return shown
