"""`fleetmend access`: the tokens that say who asks, made where the controller runs, and who one is to it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from cli.client import Client, Failed, with_client
from cli.commands.controller import config_option
from cli.exit_codes import ExitCode
from cli.handing_over import hand_over
from cli.printing import cell, console, print_json
from cli.tables import table
from controller.access.roles import Role, words_of
from controller.access.tokens import Token, TokenError, changing, new_token, read, why_no_name
from controller.api.moments import iso
from controller.sections.access import AccessSection
from controller.settings import SettingsError, load

DAY_S: Final = 86_400.0


@click.group()
def access() -> None:
    """Make and revoke the tokens that say who asks, and ask who one is."""


@access.group()
def token() -> None:
    """Make, list and revoke tokens, on the controller's own host.

    Reads the controller's configuration and the file of tokens, and asks no controller: a running one takes notice.
    """


@token.command()
@click.argument("name")
@click.option(
    "--role",
    "roles",
    type=click.Choice([role.value for role in Role]),
    multiple=True,
    required=True,
    help="What it may do; more than one may be given.",
)
@click.option("--days", type=click.IntRange(1, 3650), default=90, show_default=True, help="How long it is good.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Write it there, for its owner alone to read.")
@config_option
def make(name: str, roles: tuple[str, ...], days: int, output: Path | None, config: Path) -> None:
    """Make a token for NAME, who is called so in the log, and print it once.

    A viewer looks, an operator acts on nodes and incidents, an admin also decides about playbooks and baselines, and an
    approver says yes to plans that ask. An admin is no approver unless you say so, too.
    """
    why_not = why_no_name(name)
    if why_not:
        raise click.BadParameter(f"{name!r}: {why_not}", param_hint="NAME")
    now = time.time()
    kept, text = new_token(name, [Role(role) for role in roles], now=now, expires_at=now + days * DAY_S)
    try:
        with changing(_file(config)) as tokens:
            tokens.append(kept)
            hand_over(text, output)
    except TokenError as error:
        raise Failed(str(error), ExitCode.NO_OUTPUT) from error
    click.echo(f"{kept.id}: {name}, {words_of(kept.roles)}, until {iso(kept.expires_at)}", err=True)


@token.command("list")
@click.option("--json", "as_json", is_flag=True, help="JSON for programs.")
@config_option
def list_(as_json: bool, config: Path) -> None:
    """List tokens, without what would open anything."""
    tokens = _read(_file(config))
    if as_json:
        print_json([_row(each) for each in tokens])
        return
    shown = table("id", "name", "roles", "made (UTC)", "good until (UTC)*")
    for each in tokens:
        until = iso(each.expires_at) if each.is_good(time.time()) else f"expired {iso(each.expires_at)}"
        shown.add_row(each.id, cell(each.name), cell(words_of(each.roles)), iso(each.made_at), until)
    console().print(shown if tokens else "No token.")


@token.command()
@click.argument("which", metavar="ID|NAME")
@config_option
def revoke(which: str, config: Path) -> None:
    """Revoke the token with this ID, or every one of NAME. They open nothing from then on."""
    try:
        with changing(_file(config)) as tokens:
            gone = [each for each in tokens if which in {each.id, each.name}]
            if not gone:
                raise Failed(f"there is no token {which!r}; `fleetmend access token list` lists them", ExitCode.NO)
            tokens[:] = [each for each in tokens if each not in gone]
    except TokenError as error:
        raise Failed(str(error), ExitCode.NO_OUTPUT) from error
    click.echo(f"revoked: {', '.join(f'{each.id} ({each.name})' for each in gone)}")


@access.command()
@click.option("--json", "as_json", is_flag=True, help="JSON for programs.")
@with_client
def whoami(client: Client, as_json: bool) -> None:
    """Ask the controller who one is to it, and what one may do."""
    me = client.get("me")
    if as_json:
        print_json(me)
    elif me["how"] == "open":
        click.echo("The controller asks nobody who they are: whoever reaches it may do all.")
    else:
        click.echo(f"{me['name']}: {', '.join(me['roles'])}")


def _file(config: Path) -> Path:
    """Return where the tokens are that a controller with these settings goes by."""
    try:
        settings = load(config)
    except SettingsError as error:
        raise Failed(str(error), ExitCode.CONFIG) from error
    if settings.access is None:
        click.echo(f"{config} has no [access] yet: without it the controller asks nobody for a token", err=True)
    return (settings.access or AccessSection()).tokens_in(settings.state)


def _read(file: Path) -> Sequence[Token]:
    try:
        return read(file)
    except TokenError as error:
        raise Failed(str(error), ExitCode.NO_INPUT) from error


def _row(each: Token) -> dict[str, Any]:
    expires_at = iso(each.expires_at) if each.expires_at else None
    return {
        "id": each.id,
        "name": each.name,
        "roles": list(each.roles),
        "made_at": iso(each.made_at),
        "expires_at": expires_at,
        "good": each.is_good(time.time()),
    }
