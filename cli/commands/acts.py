"""What a person can have done: cordon, uncordon, pause, resume, approve, abort, acknowledge."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, ClassVar

import click

from cli.client import Client, with_client
from cli.commands.names import node_names, open_incident_ids
from cli.printing import plain, print_json

because_option = click.option("--because", metavar="TEXT", default="", help="Why; goes into the log.")
json_option = click.option("--json", "as_json", is_flag=True, help="JSON for programs.")


def _acting(command: Callable[..., None]) -> Callable[..., None]:
    return because_option(json_option(with_client(command)))


def tell(answer: dict[str, Any], *, as_json: bool) -> None:
    """Say what became of an act, and what follows."""
    if as_json:
        print_json(answer)
        return
    click.echo(plain(answer["text"]))
    if answer["incident_id"]:
        click.echo(f"Follow it: fleetmend incident {plain(answer['incident_id'])}")
    if answer["proposal_id"]:
        click.echo(f"An approver says yes by: fleetmend proposal agree {plain(answer['proposal_id'])}")


@click.command()
@click.argument("node", shell_complete=node_names)
@_acting
def cordon(client: Client, node: str, because: str, as_json: bool) -> None:
    """Take a node out of service until somebody returns it."""
    tell(client.post("nodes", node, "cordon", because=because), as_json=as_json)


@click.command()
@click.argument("node", shell_complete=node_names)
@_acting
def uncordon(client: Client, node: str, because: str, as_json: bool) -> None:
    """Return a node to service at once and end every plan for it."""
    tell(client.post("nodes", node, "uncordon", because=because), as_json=as_json)


@click.command()
@click.argument("scope", default="fleet", shell_complete=node_names)
@_acting
def pause(client: Client, scope: str, because: str, as_json: bool) -> None:
    """Begin nothing disruptive: on a node, in a place, for a check, or anywhere.

    SCOPE is a node, `rack=r12`, `pool=research`, `leaf=`, `nvlink_domain=`, `job=`, `sku=`, `driver=`, `check=`,
    `playbook=`, or `fleet`, which is the default. Returns to service go on.
    """
    tell(client.post("pause", scope=scope, because=because), as_json=as_json)


@click.command()
@click.argument("scope", default="fleet", shell_complete=node_names)
@_acting
def resume(client: Client, scope: str, because: str, as_json: bool) -> None:
    """End a pause.

    SCOPE is what was paused: `fleetmend status` lists it.
    """
    tell(client.post("resume", scope=scope, because=because), as_json=as_json)


class Span(click.ParamType[float]):
    """A time as people write it, in seconds: 90s, 15m, 2h, 3d."""

    name = "time"
    _UNITS: ClassVar = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds."""
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", str(value))
        if found is None:
            self.fail(f"{value!r} is no time; write 90s, 15m, 2h or 3d", param, ctx)
        return float(found[1]) * self._UNITS[found[2]]


@click.command()
@click.argument("incident_id", metavar="ID", shell_complete=open_incident_ids)
@click.option(
    "--for", "for_s", type=Span(), metavar="TIME", help="How long the yes holds, e.g. 2h (approvals.valid_s)."
)
@click.option("--what", metavar="PLAN", default="", help="Only if it asks for exactly this, as `incident ID` says.")
@_acting
def approve(client: Client, incident_id: str, for_s: float | None, what: str, because: str, as_json: bool) -> None:
    """Approve a plan or a step, or the return of a node that is mended."""
    answer = client.post("incidents", incident_id, "approve", because=because, what=what, for_s=for_s)
    tell(answer, as_json=as_json)


@click.command()
@click.argument("incident_id", metavar="ID", shell_complete=open_incident_ids)
@_acting
def abort(client: Client, incident_id: str, because: str, as_json: bool) -> None:
    """Stop a plan; a node that is out stays out."""
    tell(client.post("incidents", incident_id, "abort", because=because), as_json=as_json)


@click.command()
@click.argument("incident_id", metavar="ID", shell_complete=open_incident_ids)
@_acting
def acknowledge(client: Client, incident_id: str, because: str, as_json: bool) -> None:
    """Say that you look after an incident: nobody else is paged for it."""
    tell(client.post("incidents", incident_id, "acknowledge", because=because), as_json=as_json)
