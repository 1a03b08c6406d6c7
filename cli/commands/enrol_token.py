"""`fleetmend enrol token`: one-time tokens for hosts, made where the controller runs."""

from __future__ import annotations

import getpass
import os
import time
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from cli.client import Failed
from cli.commands.controller import config_option, settings_of
from cli.exit_codes import ExitCode
from cli.handing_over import hand_over
from cli.printing import cell, console, plain, print_json
from cli.tables import table
from controller.access.token_files import TokenError
from controller.api.moments import iso
from controller.enrolment.nodes import MOST_NODES, count_of, why_no_node, why_no_nodes
from controller.enrolment.tokens import KIND, MOST_HOURS, EnrolmentToken, new_token, without_old
from controller.sections.enrolment import EnrolmentSection

NODES: Final = "--node or --nodes"


@click.group()
def token() -> None:
    """Make, list and revoke the tokens by which hosts enrol, on the controller's own host.

    Reads the controller's configuration and the file of tokens, and asks no controller: a running one takes notice.
    """


@token.command()
@click.option("--node", metavar="NAME", help="For this node.")
@click.option("--nodes", metavar="PATTERN", help="For these: gpu[001-128], or gpu-* and gpu-?.")
@click.option(
    "--hours", type=click.IntRange(1, MOST_HOURS), default=24, show_default=True, help="How long hosts may use it."
)
@click.option(
    "--uses",
    type=click.IntRange(1, MOST_NODES),
    help="By so many hosts.  [default: as many as are named; to be given with * and ?]",
)
@click.option("--replace", is_flag=True, help="Also nodes that have a good certificate: that is revoked then.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Write it there, for its owner alone to read.")
@config_option
def make(
    node: str | None,
    nodes: str | None,
    hours: int,
    uses: int | None,
    replace: bool,
    output: Path | None,
    config: Path,
) -> None:
    """Make a token, and print it once."""
    which = _which(node, nodes)
    count = uses or count_of(which)
    if not count:
        raise click.UsageError(f"{which} leaves open how many nodes that are: give --uses")
    now = time.time()
    kept, text = new_token(which, uses=count, replace=replace, now=now, hours=hours, made_by=_maker())
    try:
        with KIND.changing(_file(config)) as tokens:
            tokens[:] = [*without_old(tokens, now), kept]
            hand_over(text, output)
    except TokenError as error:
        raise Failed(str(error), ExitCode.NO_OUTPUT) from error
    hosts = "1 host" if count == 1 else f"{count} hosts"
    click.echo(plain(f"{kept.id}: {hosts} of {which}, until {iso(kept.expires_at)}"), err=True)


@token.command("list")
@click.option("--json", "as_json", is_flag=True, help="JSON for programs.")
@config_option
def list_(as_json: bool, config: Path) -> None:
    """List tokens, without what would open anything.

    What they were used for is in the event log: enrolment.granted, on the page /audit and in `fleetmend controller
    export`.
    """
    try:
        tokens = KIND.read(_file(config))
    except TokenError as error:
        raise Failed(str(error), ExitCode.NO_INPUT) from error
    now = time.time()
    if as_json:
        print_json([_row(each, now) for each in tokens])
        return
    shown = table("id", "nodes", "uses", "replaces", "made by", "made (UTC)", "good until (UTC)*")
    for each in tokens:
        replaces = "yes" if each.replace else "no"
        uses = str(each.uses)
        shown.add_row(
            each.id, cell(each.nodes), uses, replaces, cell(each.made_by), iso(each.made_at), _until(each, now)
        )
    console().print(shown if tokens else "No token.")


@token.command()
@click.argument("which", metavar="ID")
@config_option
def revoke(which: str, config: Path) -> None:
    """Revoke the token with this ID: no host enrols by it from then on.

    Hosts that have keep their certificates: `fleetmend pki revoke` ends those.
    """
    now = time.time()
    try:
        with KIND.changing(_file(config)) as tokens:
            if which not in {each.id for each in tokens}:
                raise Failed(f"there is no token {which!r}; `fleetmend enrol token list` lists them", ExitCode.NO)
            tokens[:] = [_revoked(each, now) if each.id == which else each for each in tokens]
    except TokenError as error:
        raise Failed(str(error), ExitCode.NO_OUTPUT) from error
    click.echo(f"revoked: {which}")


def _revoked(each: EnrolmentToken, now: float) -> EnrolmentToken:
    return msgspec.structs.replace(each, revoked_at=each.revoked_at or now)


def _which(node: str | None, nodes: str | None) -> str:
    if bool(node) == bool(nodes):
        raise click.UsageError(f"give one of {NODES}")
    because = why_no_node(node) if node else why_no_nodes(nodes or "")
    if because:
        raise click.BadParameter(because, param_hint="--node" if node else "--nodes")
    return node or nodes or ""


def _maker() -> str:
    """Return who makes the token, as the log has it: whoever became root for it."""
    try:
        name = os.environ.get("SUDO_USER") or getpass.getuser()
    except (OSError, KeyError, ImportError):
        name = f"uid {os.getuid()}"
    return plain(name)[:64]


def _file(config: Path) -> Path:
    """Return where the tokens are that a controller with these settings goes by."""
    settings = settings_of(config)
    if settings.enrolment is None:
        click.echo(f"{config} has no [enrolment] yet: without it the controller enrols no host", err=True)
    return (settings.enrolment or EnrolmentSection()).tokens_in(settings.state)


def _until(each: EnrolmentToken, now: float) -> str:
    if each.revoked_at:
        return f"revoked {iso(each.revoked_at)}"
    return iso(each.expires_at) if now < each.expires_at else f"expired {iso(each.expires_at)}"


def _row(each: EnrolmentToken, now: float) -> dict[str, Any]:
    return {
        "id": each.id,
        "nodes": each.nodes,
        "uses": each.uses,
        "replace": each.replace,
        "made_by": each.made_by,
        "made_at": iso(each.made_at),
        "expires_at": iso(each.expires_at),
        "revoked_at": iso(each.revoked_at) if each.revoked_at else None,
        "good": not each.why_bad(now),
    }
