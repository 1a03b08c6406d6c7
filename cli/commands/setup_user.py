"""`fleetmend setup broker-user`: one more user of the broker, or one less."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from cli.client import Failed
from cli.exit_codes import ExitCode
from cli.place import Place
from cli.setting_up import broker, systemd
from cli.setting_up.asking import secret_in
from cli.setting_up.closing import runs
from cli.setting_up.course import Wishes, Work, write
from cli.setting_up.host import look
from cli.setting_up.options import FILE, place_of
from cli.setting_up.plan import File, Plan
from cli.setting_up.systemd import NotDone
from cli.setting_up.told import changed_line
from wire.topics import NAME

PASSWORD_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Given:
    """What the command line says of a user."""

    name: str
    password_file: str | None
    output: Path | None
    is_removed: bool


@click.command("broker-user")
@click.argument("name", metavar="NAME")
@click.option("--password-file", metavar="FILE", help="Holds the password; - is standard input. Else one is made.")
@click.option("--output", "-o", metavar="FILE", type=FILE, help="Where the password that is made goes, for root alone.")
@click.option("--remove", "is_removed", is_flag=True, help="Let this user in no longer.")
@click.option("--root", metavar="DIR", type=FILE, default=Path("/"), help="Of the image below DIR.")
def broker_user(*, name: str, password_file: str | None, output: Path | None, is_removed: bool, root: Path) -> None:
    """Let NAME in at the broker of this host, or change the password, or let NAME in no longer.

    A node's user is called as the node is. A running broker takes notice, and whoever is still let in stays connected.
    """
    if not NAME.fullmatch(name):
        raise click.BadParameter(f"{name!r} is not a name of letters, digits, '.', '_' and '-'", param_hint="NAME")
    place = place_of({"root": root})
    before = _users(place)
    wanted = _file(Given(name, password_file, output, is_removed), before)
    wishes = Wishes(place, look(place), is_forced=True)
    changes = write(Work(Plan(), Plan((), wanted), lambda: None, (), ()), wishes)
    if changes and runs(broker.SERVICE, wishes):
        _reload()
    click.echo(changed_line(len(changes)))


def _users(place: Place) -> str:
    path = place.at(broker.USERS)
    try:
        return path.read_text("utf-8")
    except OSError as error:
        because = f"{path}: {error.strerror}; `fleetmend setup controller --with-broker` sets a broker up"
        raise Failed(because, ExitCode.NO_INPUT) from error


def _file(given: Given, before: str) -> tuple[File, ...]:
    if given.is_removed:
        return (broker.without(given.name, before),)
    if given.password_file is not None:
        return (broker.users_file({given.name: secret_in(given.password_file)}, before),)
    if given.output is None:
        raise click.UsageError("give --password-file FILE, or --output FILE for a password that is made")
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    kept = File(str(given.output.absolute()), f"{password}\n", mode=0o600, is_secret=True)
    return (kept, broker.users_file({given.name: password}, before))


def _reload() -> None:
    try:
        systemd.reload_service(broker.SERVICE)
    except NotDone as error:
        raise Failed(str(error), ExitCode.NO) from error
