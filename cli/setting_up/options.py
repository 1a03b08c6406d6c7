"""The options that `setup agent` and `setup controller` share, and what they come to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from cli.place import Place
from cli.setting_up.asking import Asking
from cli.setting_up.course import Wishes
from cli.setting_up.host import look
from cli.setting_up.part import Access

F = TypeVar("F", bound=Callable[..., Any])

FILE = click.Path(path_type=Path)

BROKER: tuple[Callable[[Any], Any], ...] = (
    click.option("--broker", metavar="URL", help="The broker: mqtt://HOST:PORT or mqtts://HOST:PORT."),
    click.option("--username", metavar="NAME", help="Its user at the broker; none where a certificate says who it is."),
    click.option("--password-file", metavar="FILE", help="Holds that user's password; - is standard input."),
    click.option("--ca-file", metavar="FILE", help="CA of the broker's certificate."),
    click.option("--certificate-file", metavar="FILE", help="Its own certificate, for the broker."),
    click.option("--key-file", metavar="FILE", help="The private key of that."),
    click.option("--cell", metavar="NAME", help="The cell, where there are several (default: main)."),
    click.option("--more", metavar="FILE", type=FILE, help="Further settings in TOML; they win over all others."),
)

COURSE: tuple[Callable[[Any], Any], ...] = (
    click.option("--enable/--no-enable", default=None, help="Have its units start with the host."),
    click.option("--start/--no-start", default=None, help="Start it now, and wait until it is ready."),
    click.option("--untried", is_flag=True, help="Do not ask the broker first whether it lets this host in."),
    click.option("--yes", "-y", is_flag=True, help="Ask nothing: what no flag says is as the host says."),
    click.option("--force", is_flag=True, help="Write files anew that are there already and hold something else."),
    click.option("--dry-run", is_flag=True, help="Write nothing, and show what would be written."),
    click.option("--root", metavar="DIR", type=FILE, default=Path("/"), help="Set up the image below DIR."),
)


def with_options(*groups: tuple[Callable[[Any], Any], ...]) -> Callable[[F], F]:
    """Give a command the options of the groups, in their order."""

    def decorated(command: F) -> F:
        for option in reversed([each for group in groups for each in group]):
            command = option(command)
        return command

    return decorated


def place_of(given: Mapping[str, Any]) -> Place:
    """Return which host is meant.

    Raises:
        click.BadParameter: there is no such directory.
    """
    root: Path = given["root"].absolute()
    if not root.is_dir():
        raise click.BadParameter(f"{root} is not a directory", param_hint="--root")
    return Place(root)


def wishes_of(given: Mapping[str, Any], asking: Asking) -> Wishes:
    """Return how the setup is to go."""
    place = place_of(given)
    host = look(place)
    can_enable = host.runs_systemd or not place.is_live
    enables = asking.yes(given["enable"], "Start it with the host?", default=True) if can_enable else False
    starts = asking.yes(given["start"], "Start it now?", default=True) if host.runs_systemd else False
    return Wishes(place, host, given["force"], given["dry_run"], enables, starts)


def access_of(given: Mapping[str, Any], asking: Asking, *, url: str, username: str) -> Access:
    """Return how the broker is reached; a user is asked for where no certificate says who comes."""
    certificate = given["certificate_file"] or ""
    user = "" if certificate else asking.text(given["username"], "User at the broker (empty: none)", username)
    password = asking.secret(given["password_file"], "Password at the broker") if user else None
    files = {"ca_file": given["ca_file"] or "", "certificate_file": certificate, "key_file": given["key_file"] or ""}
    return Access(url, given["username"] or user, password, **files)


def says_settings(given: Mapping[str, Any], *others: str) -> bool:
    """Return whether any flag says what is to be in the settings."""
    names = ("broker", "username", "password_file", "ca_file", "certificate_file", "key_file", "cell", "more", *others)
    return any(given[name] not in (None, (), "") for name in names)
