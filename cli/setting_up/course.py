"""The order in which a setup goes: refuse what would overwrite, write all or nothing, look at it as its daemon does."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import click

from agent.settings import SettingsError as AgentError
from cli.client import Failed
from cli.exit_codes import ExitCode
from cli.place import Place
from cli.printing import plain
from cli.setting_up import systemd, units
from cli.setting_up.host import Host
from cli.setting_up.plan import Change, File, Folder, Owners, Plan, State, differences
from cli.setting_up.systemd import NotDone
from cli.setting_up.writing import Unwritten, Writing
from controller.keys import KeyFileError
from controller.settings import SettingsError as ControllerError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Wishes:
    """How a setup is to go."""

    place: Place
    host: Host
    is_forced: bool = False
    is_dry_run: bool = False
    enables: bool = True
    starts: bool = True


@dataclass(frozen=True, slots=True)
class Work:
    """What a setup does.

    Attributes:
        base: what needs no user but root; the users are made after it.
        owned: all others.
        finish: looks at what was written as its daemon will; whatever it raises undoes everything.
        enabled: units that start with the host.
        started: services, in the order in which they start.
    """

    base: Plan
    owned: Plan
    finish: Callable[[], object]
    enabled: tuple[str, ...]
    started: tuple[str, ...]


def judged(read: Callable[[], T]) -> T:
    """Return settings that are about to be written.

    Raises:
        Failed: they are wrong, with every problem.
    """
    try:
        return read()
    except (AgentError, ControllerError) as error:
        raise Failed(f"{error}\nnothing was changed", ExitCode.CONFIG) from error


def write(work: Work, wishes: Wishes) -> list[Change]:
    """Write what is not as planned, and return it; with a dry run, only print it.

    Raises:
        Failed: nothing was changed, with why.
    """
    changes = _refusing(work, wishes)
    for change in changes if wishes.is_dry_run else ():
        click.echo("\n".join(map(plain, change.lines())))
    if wishes.is_dry_run:
        return changes
    if changes and wishes.place.is_live and os.geteuid() != 0:
        raise Failed(
            f"{changes[0].wanted.path} is root's to write: run this as root (--dry-run shows what it would write)",
            ExitCode.NO_OUTPUT,
        )
    _write(work, wishes)
    for change in changes:
        click.echo(plain(_told(change)))
    return changes


def _refusing(work: Work, wishes: Wishes) -> list[Change]:
    try:
        changes = differences(work.base.and_then(work.owned), wishes.place, _owners(wishes.place))
    except OSError as error:
        raise Failed(f"{error.filename}: {error.strerror}; nothing was changed", ExitCode.NO_OUTPUT) from error
    others = [change for change in changes if change.state is State.OTHER]
    if others and not (wishes.is_forced or wishes.is_dry_run):
        shown = "\n".join(line for change in others for line in change.lines())
        names = ", ".join(change.wanted.path for change in others)
        raise Failed(f"{shown}\n{names}: there already, and different; --force writes it anew", ExitCode.NO)
    return changes


def _write(work: Work, wishes: Wishes) -> None:
    writing = Writing(wishes.place, _owners(wishes.place))
    try:
        writing.write(differences(work.base, wishes.place, writing.owners))
        _make_users(work, wishes, writing.owners)
        writing.owners = _owners(wishes.place)
        writing.write(differences(work.owned, wishes.place, writing.owners))
        work.finish()
    except (NotDone, Unwritten, OSError) as error:
        writing.take_back()
        raise Failed(str(error), ExitCode.NO_OUTPUT) from error
    except (AgentError, ControllerError, KeyFileError) as error:
        writing.take_back()
        raise Failed(f"{error}\nnothing was changed", ExitCode.CONFIG) from error


def _make_users(work: Work, wishes: Wishes, owners: Owners) -> None:
    owned: tuple[File | Folder, ...] = (*work.owned.folders, *work.owned.files)
    lacks_users = any(each.owner not in owners.users or each.group not in owners.groups for each in owned)
    is_new = any(file.path == units.COMPANY["sysusers"] for file in work.base.files)
    if is_new or (lacks_users and os.geteuid() == 0):
        systemd.make_users(wishes.place)


def _owners(place: Place) -> Owners:
    """Return whose numbers files get; nobody's where we are not root, who alone can give files away."""
    return Owners.of(place) if os.geteuid() == 0 else Owners({}, {})


def _told(change: Change) -> str:
    match change.state:
        case State.NEW:
            return f"made      {change.wanted.path}"
        case State.OTHER:
            return f"rewrote   {change.wanted.path}"
        case _:
            return f"set right {change.wanted.path}: mode {change.wanted.mode:04o}, {change.wanted.owner}"


def run_units(work: Work, wishes: Wishes, *, changes: Sequence[Change]) -> bool:
    """Enable and start what is to be; return whether anything was not so before.

    Raises:
        Failed: systemd did not do it, with the last words of the service.
    """
    try:
        news = wishes.enables and systemd.enable(wishes.place, work.enabled)
        if not (wishes.starts and wishes.host.runs_systemd):
            return news
        if changes:
            systemd.reload()
        shown = [systemd.show(f"{service}.service") for service in work.started]
        running = [unit.name for unit in shown if unit.active == "active"]
        systemd.start([unit.name for unit in shown], restart=running if changes else ())
        return news or len(running) < len(shown) or bool(running and changes)
    except NotDone as error:
        said = "\n".join(filter(None, (systemd.last_words(f"{service}.service") for service in work.started)))
        raise Failed(f"{error}\n{said}".rstrip(), ExitCode.NO) from error
