"""`fleetmend proposal`: what takes two people, and their yes or no."""

from __future__ import annotations

import click

from cli.client import Client, with_client
from cli.commands.acts import because_option, json_option, tell
from cli.printing import cell, console, moment, print_json
from cli.tables import table


@click.group()
def proposal() -> None:
    """Show what takes two people, agree to it, or take it back."""


@proposal.command("list")
@json_option
@with_client
def list_(client: Client, as_json: bool) -> None:
    """List what waits for people's yes."""
    rows = client.get("proposals")
    if as_json:
        print_json(rows)
        return
    shown = table("proposal", "asked", "by", "agreed", "until (UTC)", "why*")
    for row in rows:
        agreed = f"{len(row['agreed'])} of {row['needed']} {', '.join(row['agreed'])}".rstrip()
        asked = f"{row['verb']} {row['subject']}"
        shown.add_row(
            row["id"], cell(asked), cell(row["by"]), cell(agreed), moment(row["expires_at"]), cell(row["because"])
        )
    console().print(shown if rows else "Nothing waits.")


@proposal.command()
@click.argument("name", metavar="ID")
@because_option
@json_option
@with_client
def agree(client: Client, name: str, because: str, as_json: bool) -> None:
    """Say yes. It is done once two approvers have said so."""
    tell(client.post("proposals", name, "agree", because=because), as_json=as_json)


@proposal.command()
@click.argument("name", metavar="ID")
@because_option
@json_option
@with_client
def disagree(client: Client, name: str, because: str, as_json: bool) -> None:
    """Take it back: it is not done."""
    tell(client.post("proposals", name, "disagree", because=because), as_json=as_json)
