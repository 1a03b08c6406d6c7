"""`fleetmend keys`: the key that signs orders and the log, and how another takes its place."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import click

from cli.client import Failed
from cli.commands.controller import config_option, settings_of
from cli.exit_codes import ExitCode
from cli.printing import plain
from controller import keys as signing_keys
from controller.keys import KeyFileError, NoNextKey
from controller.store.signing import key_file


@click.group()
def keys() -> None:
    """Show and change the key that signs orders to nodes, and the event log.

    Runs on the controller's machine as the controller's user. To change it: `prepare`, let every node trust the next
    key beside this one, `rotate`, reload the controllers, and take the old one from the nodes.
    """


@keys.command()
@click.option("--toml", "as_toml", is_flag=True, help="What agents are told, for their agent.toml: [trusted_keys.ID].")
@config_option
def show(config: Path, as_toml: bool) -> None:
    """Print the public keys, one a line: the one that signs, those before it, and the next one if it is made.

    The lines are what `fleetmend audit verify --key` takes.
    """
    path = key_file(settings_of(config))
    with _told():
        private = signing_keys.load(path)
        before, following = signing_keys.retired(path), signing_keys.following(path)
        if as_toml:
            click.echo("\n\n".join(signing_keys.table_of(key) for key in (private, following) if key is not None))
            return
        click.echo(f"# signs\n{signing_keys.line_of(private)}")
        if before:
            click.echo("# signed before")
            click.echo(signing_keys.retired_file(path).read_text("ascii").rstrip())
        if following is not None:
            click.echo(f"# is next\n# {signing_keys.line_of(following)}")


@keys.command()
@config_option
def prepare(config: Path) -> None:
    """Make the next key, and print what to add to the configuration of every agent.

    Nothing is signed with it yet. Asked again, it prints the same.
    """
    path = key_file(settings_of(config))
    with _told():
        signing_keys.load(path)
        following = signing_keys.prepare(path)
    click.echo(signing_keys.table_of(following))


@keys.command()
@config_option
def rotate(config: Path) -> None:
    """Put the next key in the place of the one that signs.

    Every node must trust it already: one that does not obeys nothing until it does. The controller signs with it
    from its next reload on. The public half of the old one is kept, so that what it signed stays good.
    """
    path = key_file(settings_of(config))
    with _told():
        old, new = signing_keys.rotate(path)
    click.echo(plain(f"{path}: key {signing_keys.key_id(new)} signs from the controller's next reload on"))
    click.echo(plain(f"when the controller is reloaded, take key {signing_keys.key_id(old)} from the agents"))


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Turn what can go wrong into a sentence and an exit code."""
    try:
        yield
    except NoNextKey as error:
        raise Failed(str(error), ExitCode.REFUSED_NOW) from error
    except KeyFileError as error:
        raise Failed(str(error), ExitCode.CONFIG) from error
    except OSError as error:
        raise Failed(f"{error.filename}: {error.strerror}", ExitCode.NO_OUTPUT) from error
