"""`fleetmend audit`: whether the event log is the one that was written."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import click

from cli.client import Failed
from cli.commands.controller import config_option, settings_of
from cli.exit_codes import ExitCode
from cli.printing import plain
from controller import keys
from controller.keys import KeyFileError
from controller.sealing import FILE, witness
from controller.settings import ControllerSettings
from controller.store.audit_lines import LinesAudit, audit_lines
from controller.store.auditing import Audit
from controller.store.auditing import audit as audit_log
from controller.store.choosing import open_store
from controller.store.log import StoreError
from controller.store.seals import KnownKeys
from controller.store.signing import key_file, signer_of


@click.group()
def audit() -> None:
    """Prove that nobody changed, cut or reordered the event log, or an export of it.

    Every entry carries a hash over itself and the one before it, and the controller signs the last one every minute.
    Runs on the controller's machine as the controller's user; `verify` of a FILE with --key runs anywhere.
    """


@audit.command()
@click.option("--after", metavar="ID", type=click.IntRange(0), default=0, help="Begin after this entry.")
@config_option
def export(after: int, config: Path) -> None:
    """Print the event log as lines of CloudEvents 1.0 that prove that they are whole.

    Controllers go on meanwhile. The last line is signed over all before it. To go on later, give the number of the last
    entry to --after: exports that follow each other are verified together.
    """
    settings = settings_of(config)
    with _told(), closing(open_store(settings.store, settings.state)) as event_log:
        for line in audit_lines(event_log, signer_of(settings), after=after, now=time.time()):
            sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()


@audit.command()
@click.argument("files", metavar="[FILE]...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--key",
    "key_files",
    metavar="FILE",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Public keys of the controller, as `fleetmend keys show` prints them; default: those of the configuration.",
)
@config_option
def verify(files: tuple[Path, ...], key_files: tuple[Path, ...], config: Path) -> None:
    """Say whether exports that follow each other, or without a FILE the event log itself, are as they were written.

    Exit code 1: something was changed, cut off or reordered; each place is told.
    """
    with _told():
        found = _of_files(files, _public_keys(key_files, config)) if files else _of_log(key_files, config)
    for note in found.notes:
        click.echo(plain(f"note: {note}"))
    for flaw in found.flaws:
        click.echo(plain(f"WRONG: {flaw}"))
    if found.more_flaws:
        click.echo(f"WRONG: and {found.more_flaws} more")
    click.echo(_summary(found))
    if found.flaws:
        raise Failed("this is not the log that was written", ExitCode.NO)


def _of_log(key_files: tuple[Path, ...], config: Path) -> Audit:
    settings = settings_of(config)
    head = witness(settings.state / FILE)
    known = KnownKeys(settings.cell, _public_keys(key_files, config, settings))
    with closing(open_store(settings.store, settings.state)) as event_log:
        return audit_log(event_log, known, witnesses=[head] if head else [])


def _of_files(files: tuple[Path, ...], known: dict[str, bytes]) -> Audit:
    walk = LinesAudit(known)
    for path in files:
        with path.open("rb") as lines:
            walk.read(lines, str(path))
    walk.audit.finish()
    return walk.audit


def _public_keys(
    key_files: tuple[Path, ...], config: Path, settings: ControllerSettings | None = None
) -> dict[str, bytes]:
    if not key_files:
        return keys.known(key_file(settings or settings_of(config)))
    found: dict[str, bytes] = {}
    for path in key_files:
        try:
            found |= keys.public_keys(path.read_text("utf-8"))
        except ValueError as error:
            raise Failed(f"{path}: {error}", ExitCode.BAD_DATA) from error
    return found


def _summary(found: Audit) -> str:
    signed = "nobody has signed any of it yet"
    if found.signed_at:
        moment = datetime.fromtimestamp(found.signed_at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        signed = f"signed up to entry {found.signed_through}, last at {moment}"
    elif found.signed_through:
        signed = f"signed up to entry {found.signed_through}"
    ok = "not as it was written" if found.flaws else "as it was written"
    return (
        f"{ok}: {found.entries} entries up to {found.place.event_id}, {found.deleted} deleted under a signature; "
        f"{signed}; heads that agree: {found.heads}"
    )


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Turn what can go wrong into a sentence and an exit code."""
    try:
        yield
    except KeyFileError as error:
        raise Failed(str(error), ExitCode.CONFIG) from error
    except StoreError as error:
        raise Failed(str(error), ExitCode.UNREACHABLE) from error
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Failed(f"{error.filename or 'output'}: {error.strerror}", ExitCode.NO_INPUT) from error
