"""`fleetmend controller`: what is done to the event log, beside running controllers or without any."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import click

from cli.client import Failed
from cli.exit_codes import ExitCode
from cli.printing import plain
from controller.sealing import FILE as HEAD_FILE
from controller.service import AlreadyRunning, lock_state
from controller.settings import ControllerSettings, SettingsError, load
from controller.store.choosing import open_store
from controller.store.cloud_events import cloud_event
from controller.store.log import EventLog, StoreError
from controller.store.transfer import BackupError, Contents, NotEmpty, back_up, forget_older, named_by_time, put_back

DEFAULT_CONFIG = Path("/etc/fleetmend/controller.toml")
FOLLOW_EVERY_S = 0.5

config_option = click.option(
    "--config",
    metavar="FILE",
    type=click.Path(path_type=Path),
    default=DEFAULT_CONFIG,
    show_default=True,
    help="The controller's configuration: it says where the event log is.",
)


@click.group()
def controller() -> None:
    """Back up, restore and export the controller's event log.

    Reads the controller's configuration and the event log themselves, and asks no controller.
    """


@controller.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--keep",
    metavar="COUNT",
    type=click.IntRange(1),
    help="FILE is a folder: the backup gets its name from cell and time, and older ones than the newest COUNT go.",
)
@config_option
def backup(file: Path, keep: int | None, config: Path) -> None:
    """Write all that the event log holds at this moment into FILE, and read it back.

    Controllers go on meanwhile. FILE must not be there yet. It is an event log in SQLite, whatever it was taken from.
    """
    settings = settings_of(config)
    target = file if keep is None else named_by_time(file, settings.cell, time.time())
    with _told(target, writing=True), _opened(settings) as event_log:
        _say(f"backed up to {target}", back_up(event_log, target))
        gone = forget_older(target, settings.cell, keep=keep) if keep is not None else []
    for old in gone:
        click.echo(plain(f"deleted {old}"))


@controller.command()
@click.argument("file", type=click.Path(path_type=Path))
@config_option
def restore(file: Path, config: Path) -> None:
    """Fill an empty event log from FILE, and read it back.

    Refuses while a controller runs on the state directory, or when the event log is not empty. Stop every controller
    of the cell before.
    """
    settings = settings_of(config)
    with _told(file, writing=False), _locked(settings), _opened(settings) as event_log:
        contents = put_back(file, event_log)
        (settings.state / HEAD_FILE).unlink(missing_ok=True)  # it is of the log that was there before
        _say(f"restored {event_log.name}", contents)


@controller.command()
@click.option("--after", metavar="ID", type=click.IntRange(0), default=0, help="Begin after this entry.")
@click.option("--follow", is_flag=True, help="Go on with what comes, until interrupted.")
@config_option
def export(after: int, follow: bool, config: Path) -> None:
    """Print the event log as lines of JSON: CloudEvents 1.0.

    To go on later, give the `id` of the last line to --after.
    """
    settings = settings_of(config)
    with _told(config, writing=False), _opened(settings) as event_log:
        deleted = event_log.deleted_through()
        if after < deleted:
            click.echo(f"entries up to {deleted} were deleted; some of them are missing here", err=True)
        asyncio.run(_export(event_log, settings.cell, after, follow=follow))


async def _export(event_log: EventLog, cell: str, after: int, *, follow: bool) -> None:
    while True:
        entries = await event_log.follow(after=after)
        for entry in entries:
            sys.stdout.buffer.write(cloud_event(entry, cell) + b"\n")
            after = entry.event_id
        sys.stdout.buffer.flush()
        if not entries:
            if not follow:
                return
            await asyncio.sleep(FOLLOW_EVERY_S)


def settings_of(config: Path) -> ControllerSettings:
    """Return the settings of a file."""
    try:
        return load(config)
    except SettingsError as error:
        raise Failed(str(error), ExitCode.CONFIG) from error


@contextlib.contextmanager
def _opened(settings: ControllerSettings) -> Iterator[EventLog]:
    with closing(open_store(settings.store, settings.state)) as event_log:
        yield event_log


@contextlib.contextmanager
def _locked(settings: ControllerSettings) -> Iterator[None]:
    try:
        lock_state(settings.state)
    except AlreadyRunning as error:
        raise Failed(f"{error}: stop it first", ExitCode.REFUSED_NOW) from error
    yield


@contextlib.contextmanager
def _told(file: Path, *, writing: bool) -> Iterator[None]:
    """Turn what can go wrong into a sentence and an exit code."""
    try:
        yield
    except BackupError as error:
        read_or_written = ExitCode.NO_OUTPUT if writing else ExitCode.BAD_DATA
        missing = not writing and not file.exists()
        raise Failed(str(error), ExitCode.NO_INPUT if missing else read_or_written) from error
    except NotEmpty as error:
        raise Failed(str(error), ExitCode.REFUSED_NOW) from error
    except StoreError as error:
        raise Failed(str(error), ExitCode.UNREACHABLE) from error
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Failed(f"{error.filename or file}: {error.strerror}", ExitCode.NO_INPUT) from error


def _say(what: str, contents: Contents) -> None:
    click.echo(
        plain(
            f"{what}: {contents.events} entries up to {contents.last_event_id}; "
            f"nodes: {contents.nodes}, incidents: {contents.incidents}"
        )
    )
