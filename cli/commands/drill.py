"""`fleetmend drill`: have a fault injected, and follow what fleetmend makes of it."""

from __future__ import annotations

from typing import Any

import click

from agent.simulation.drill_fault import DrillFault, Repair
from agent.simulation.faults import FAULTS, find_fault
from cli.client import Client, Failed, with_client
from cli.commands.following import Following, returned
from cli.commands.names import node_names
from cli.exit_codes import ExitCode
from cli.printing import cell, console, plain, print_json
from cli.tables import table

LISTED = (
    "name",
    "aliases",
    "title",
    "what_happens",
    "expected",
    "fault_class",
    "seam",
    "target",
    "reset_fixes",
    "reboot_fixes",
)
"""What `--list --json` says of a fault."""


def _fault_names(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    return [fault.name for fault in FAULTS if fault.name.startswith(incomplete)]


@click.command()
@click.argument("fault", required=False, shell_complete=_fault_names)
@click.option("--node", metavar="NAME", shell_complete=node_names, help="Where; it must take part in drills.")
@click.option("--device", metavar="DEVICE", help="GPU, port or mount that breaks; default: the node chooses.")
@click.option(
    "--repair",
    type=click.Choice([str(repair) for repair in Repair]),
    default=str(Repair.CHANCE),
    show_default=True,
    help="Whether repairs will work.",
)
@click.option("--parameter", "extra", metavar="NAME=VALUE", multiple=True, help="A further parameter of the fault.")
@click.option("--wait", is_flag=True, help="Follow the incident until it closes; exit with 1 unless it is returned.")
@click.option(
    "--timeout", type=click.FloatRange(1), default=600.0, show_default=True, help="Seconds to --wait at most."
)
@click.option("--list", "listing", is_flag=True, help="Explain every fault.")
@click.option("--json", "as_json", is_flag=True, help="JSON for programs; with --wait, at the end.")
@with_client
def drill(client: Client, fault: str | None, listing: bool, as_json: bool, **wishes: Any) -> None:
    """Inject a fault into a node and watch it being mended."""
    if listing:
        _list(as_json=as_json)
        return
    chosen = _fault(fault)
    if not wishes["node"]:
        raise click.UsageError("name the node to break with --node NAME.")
    answer = client.post(
        "drills",
        node=wishes["node"],
        fault=chosen.name,
        parameters=_parameters(wishes["device"], wishes["repair"], wishes["extra"]),
    )
    if not as_json:
        click.echo(f"{plain(answer['node'])}: {plain(answer['because'])}")
        click.echo(f"Expected: {chosen.expected}")
    if not wishes["wait"]:
        _tell(answer, as_json=as_json)
        return
    _follow(client, answer, timeout_s=wishes["timeout"], as_json=as_json)


def _fault(name: str | None) -> DrillFault:
    if name is None:
        raise click.UsageError("name the fault; `fleetmend drill --list` explains every one.")
    found = find_fault(name)
    if found is None:
        names = ", ".join(fault.name for fault in FAULTS)
        raise click.BadParameter(f"no fault is called {name!r}; there are {names}.", param_hint="FAULT")
    return found


def _parameters(device: str | None, repair: str, extra: tuple[str, ...]) -> dict[str, str]:
    parameters = {"repair": repair} | ({"device": device} if device else {})
    for text in extra:
        name, separator, value = text.partition("=")
        if not (name and separator):
            raise click.BadParameter(f"{text!r} is not NAME=VALUE.", param_hint="--parameter")
        parameters[name] = value
    return parameters


def _list(*, as_json: bool) -> None:
    if as_json:
        print_json([{field: getattr(fault, field) for field in LISTED} for fault in FAULTS])
        return
    shown = table("fault", "also", "what happens*", "what fleetmend should do*")
    for fault in FAULTS:
        shown.add_row(
            cell(fault.name, "bold"), cell(", ".join(fault.aliases)), cell(fault.what_happens), cell(fault.expected)
        )
    console().print(shown)


def _tell(answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
    else:
        click.echo(f"Watch it: fleetmend incidents --node {plain(answer['node'])}")


def _follow(client: Client, answer: dict[str, Any], *, timeout_s: float, as_json: bool) -> None:
    following = Following(client, answer["node"], answer["started_at"], to_stderr=as_json)
    incidents = following.until_over(timeout_s)
    if as_json:
        print_json([following.row(incident) for incident in incidents])
    if not incidents:
        raise Failed(f"no incident came of it within {timeout_s:g} s", ExitCode.NO)
    if not all(map(returned, incidents)):
        still = ", ".join(f"{i['id']} is {(i['outcome'] or i['state']).replace('_', ' ')}" for i in incidents)
        raise Failed(f"{answer['node']} was not returned: {still}", ExitCode.NO)
