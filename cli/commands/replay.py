"""`fleetmend replay`: a recorded log thought about again, by the rules of today or by others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import click
import msgspec

from cli.client import Failed
from cli.commands.acts import json_option
from cli.commands.controller import settings_of
from cli.exit_codes import ExitCode
from cli.log_files import entries_of
from cli.printing import plain, print_json
from controller.api.moments import iso
from controller.api.timeline import headline
from controller.assembly import rules_of
from controller.events import Event, Logged, kind_of
from controller.playbooks import PlaybookErrors
from controller.policy.replaying.again import Again, CannotReplay, Difference
from controller.policy.rules import Rules
from controller.settings import ControllerSettings, SettingsError
from controller.store.choosing import open_store
from controller.store.log import StoreError
from controller.store.snapshot import oldest

NO_STATE = Path("/nonexistent")
"""Rules of no controller in particular have no state directory, and none is looked at."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the command says, as --json has it.

    Attributes:
        first_at, last_at: Unix seconds of the first and the last entry.
        other_rules: first entry → digest of other rules that decided from there on.
    """

    entries: int
    decisions: int
    not_held: int
    first_at: float
    last_at: float
    rules: str
    other_rules: dict[int, str]
    difference: Difference | None


@click.command()
@click.argument("log", required=False, type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.option(
    "--config",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Decide by the rules of this controller's configuration; without LOG its event log is read.",
)
@click.option(
    "--playbooks",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Decide by the playbooks of this folder; default: those of --config, or those that come with fleetmend.",
)
@json_option
def replay(log: Path | None, config: Path | None, playbooks: Path | None, as_json: bool) -> None:
    """Decide a recorded log again and hold it to what was decided then, byte for byte.

    LOG is an exported log (`fleetmend controller export`; .gz too, - for standard input). It tells which rules decided:
    decisions of other rules than those given here are believed and held to nothing.
    """
    if log is None and config is None:
        raise click.UsageError("say which log: a file, or --config of the controller whose event log is meant")
    settings = settings_of(config) if config is not None else ControllerSettings(state=NO_STATE)
    rules = rules_by(settings, playbooks)
    told = _file_again(log, rules) if log is not None else _store_again(settings, rules)
    if as_json:
        print_json(_as_json(told))
    else:
        _say(told)
    if told.difference is not None:
        raise click.exceptions.Exit(ExitCode.NO)
    if not told.decisions:
        raise Failed(
            "no decision of these rules is in it, so that nothing was held to it: give --config and --playbooks of the "
            "controller that decided",
            ExitCode.REFUSED_NOW,
        )


def rules_by(settings: ControllerSettings, playbooks: Path | None) -> Rules:
    try:
        return rules_of(settings.model_copy(update={"playbooks": playbooks}) if playbooks is not None else settings)
    except (PlaybookErrors, SettingsError) as error:
        raise Failed(str(error), ExitCode.CONFIG) from error


def _file_again(file: Path, rules: Rules) -> Told:
    return _again(entries_of(file), Again(rules), str(file))


def _store_again(settings: ControllerSettings, rules: Rules) -> Told:
    try:
        with closing(open_store(settings.store, settings.state)) as event_log, event_log.frozen():
            belief = oldest(event_log)
            return _again(event_log.read(after=belief.last_event_id), Again(rules, belief), event_log.name)
    except StoreError as error:
        raise Failed(str(error), ExitCode.UNREACHABLE) from error


def _again(log: Iterator[Logged], replay: Again, name: str) -> Told:
    span = _Span()
    try:
        replay.take_all(span.seen(log))
    except CannotReplay as error:
        raise Failed(f"{name}: {error}", ExitCode.BAD_DATA) from error
    if not replay.entries and replay.difference is None:
        raise Failed(f"{name} has no entry", ExitCode.BAD_DATA)
    return Told(
        replay.entries,
        replay.decisions,
        replay.not_held,
        span.first_at,
        span.last_at,
        replay.rules.digest(),
        replay.others,
        replay.difference,
    )


@dataclass(slots=True)
class _Span:
    """From when to when the entries that pass by are."""

    first_at: float = 0.0
    last_at: float = 0.0

    def seen(self, log: Iterator[Logged]) -> Iterator[Logged]:
        for entry in log:
            self.first_at = self.first_at or entry.at
            self.last_at = entry.at
            yield entry


def _as_json(told: Told) -> dict[str, object]:
    found = told.difference
    return {
        "entries": told.entries,
        "decisions": told.decisions,
        "not_held": told.not_held,
        "first_at": told.first_at,
        "last_at": told.last_at,
        "rules": told.rules,
        "other_rules": {str(entry): digest for entry, digest in told.other_rules.items()},
        "difference": None
        if found is None
        else {
            "event_id": found.event_id,
            "at": found.at,
            "recorded": _event_json(found.recorded),
            "decided": _event_json(found.decided),
        },
    }


def _event_json(event: Event | None) -> object:
    return None if event is None else msgspec.to_builtins(event)


def _say(told: Told) -> None:
    click.echo(f"{told.entries} entries, {iso(told.first_at)} to {iso(told.last_at)}; rules {told.rules}")
    click.echo(f"{told.decisions} decisions were decided again, and are the same to the byte")
    for entry, digest in told.other_rules.items():
        click.echo(f"from entry {entry} on, rules {plain(digest)} decided")
    if told.not_held:
        click.echo(f"{told.not_held} decisions of other rules were held to nothing")
    if told.difference is not None:
        _say_difference(told.difference)


def _say_difference(found: Difference) -> None:
    where = "after entry" if found.recorded is None else "entry"
    click.echo(plain(f"{where} {found.event_id}, {iso(found.at)}: log and policy part"))
    click.echo(plain(f"  the log has       {_phrase(found.recorded)}"))
    click.echo(plain(f"  the policy has    {_phrase(found.decided)}"))


def _phrase(event: Event | None) -> str:
    if event is None:
        return "nothing"
    reason = getattr(event, "reason", None)
    because = f" Because: {reason.because}" if reason is not None else ""
    return f"{kind_of(event)}: {headline(event)}{because}"
