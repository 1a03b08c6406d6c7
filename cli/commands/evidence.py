"""`fleetmend evidence list` and `fleetmend evidence get`: the bundles that nodes gathered."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, Final

import click
from rich.table import Table

from cli.client import Client, Failed, with_client
from cli.commands.names import node_names
from cli.exit_codes import ExitCode
from cli.printing import cell, console, moment, print_json, state
from cli.tables import table
from wire.evidence import size_text

READ_BYTES: Final = 1 << 20


@click.group()
def evidence() -> None:
    """List and get the bundles of evidence that nodes gathered."""


@evidence.command("list")
@click.option("--json", "as_json", is_flag=True, help="JSON for programs.")
@click.option("--incident", metavar="ID", default="", help="Only those of an incident.")
@click.option("--node", metavar="NAME", default="", shell_complete=node_names, help="Only those of a node.")
@with_client
def list_(client: Client, as_json: bool, incident: str, node: str) -> None:
    """List bundles, newest first."""
    rows = client.get("evidence", incident=incident, node=node)
    if as_json:
        print_json(rows)
    else:
        console().print(bundle_table(rows) if rows else "No bundle.")


def bundle_table(rows: list[dict[str, Any]]) -> Table:
    """Return bundles, and how each is got."""
    shown = table("bundle", "incident", "node", "state", "size", "since (UTC)", "why*")
    for row in rows:
        shown.add_row(
            cell(row["upload"]),
            cell(row["incident_id"]),
            cell(row["node"]),
            state(row["state"]),
            size_text(row["size_bytes"]),
            moment(row["at"]),
            cell(row["because"]),
        )
    return shown


@evidence.command("get")
@click.argument("name", metavar="BUNDLE|INCIDENT")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    help="Where to put it; default: a file in this folder, named after incident and node.",
)
@with_client
def get(client: Client, name: str, output: Path | None) -> None:
    """Get a bundle, or the newest of an incident. What broke off goes on where it was, and the digest is checked."""
    row = _row(client, name)
    target = output or Path(f"{row['incident_id']}-{row['node']}-{row['upload'][:8]}.tar.gz")
    partial = target.with_name(f"{target.name}.partial")
    try:
        _fetch(client, row, partial)
        if _sha256(partial) != row["sha256"]:
            partial.unlink()
            raise Failed(f"{target}: what came is not what was stored (SHA-256); try again", ExitCode.UNREACHABLE)
        partial.replace(target)
    except OSError as error:
        raise Failed(f"{target}: {error.strerror}", ExitCode.NO_OUTPUT) from error
    click.echo(f"{target}: {row['size_bytes']} bytes, SHA-256 {row['sha256']}")


def _row(client: Client, name: str) -> dict[str, Any]:
    """Return the bundle of this name, or the newest one of the incident of this name, that is there."""
    rows: list[dict[str, Any]] = client.get("evidence")
    named = [row for row in rows if name in {row["upload"], row["incident_id"]}]
    found = next((row for row in named if row["state"] == "stored"), None)
    if found is not None:
        return found
    if named:
        raise Failed(f"{name}: its bundle is {named[0]['state']}: {named[0]['because']}".rstrip(": "), ExitCode.NO)
    raise Failed(f"there is no bundle {name!r}; `fleetmend evidence list` lists every bundle", ExitCode.NO)


def _fetch(client: Client, row: dict[str, Any], partial: Path) -> None:
    """Get what is not there yet."""
    here = partial.stat().st_size if partial.exists() else 0
    if here >= row["size_bytes"]:
        return
    with client.open("evidence", row["upload"], headers={"Range": f"bytes={here}-"} if here else {}) as answer:
        goes_on = answer.status == 206
        with partial.open("ab" if goes_on else "wb") as file:
            while piece := answer.read(READ_BYTES):
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
