"""`fleetmend replay`: a recorded log thought about again, by the rules of today or by others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import msgspec

from cli.client import Failed
from cli.commands.acts import json_option
from cli.commands.controller import settings_of
from cli.exit_codes import ExitCode
from cli.hindsight import Wanted, compare_log, compare_store
from cli.log_files import entries_of
from cli.printing import plain, print_json
from cli.rules_asked import NO_STATE, rules_by
from controller.api.moments import iso
from controller.api.timeline import headline
from controller.events import Event, Logged, kind_of
from controller.hindsight.limits import MEASURES
from controller.policy.replaying.again import Again, CannotReplay, Difference
from controller.policy.rules import Rules
from controller.settings import ControllerSettings
from controller.store.choosing import open_store
from controller.store.log import StoreError
from controller.store.snapshot import oldest

file_path = click.Path(path_type=Path, dir_okay=False)


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


@dataclass(frozen=True, slots=True)
class Options:
    """What stands on the command line."""

    log: Path | None
    config: Path | None
    playbooks: Path | None
    compare: bool
    html: Path | None
    simulate_forward: bool
    model: Path | None
    seed: int | None
    as_json: bool
    limits: dict[str, float]


def limit_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add an option for each limit that a candidate may cross."""
    for name, (words, _) in reversed(list(MEASURES.items())):
        text = f"With --compare: exit code 1 when it has more {words}."
        command = click.option(f"--{name}", metavar="N", type=click.FloatRange(0.0), help=text)(command)
    return command


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
@click.option("--compare", is_flag=True, help="Say what these rules would have decided otherwise, and why.")
@click.option("--html", metavar="FILE", type=file_path, help="With --compare: write one page that needs nothing else.")
@click.option(
    "--simulate-forward",
    is_flag=True,
    help="With --compare: draw from the fault model what history does not tell, and say so of each figure.",
)
@click.option("--model", metavar="FILE", type=file_path, help="With --simulate-forward: what differs from the model.")
@click.option(
    "--seed", metavar="S", type=int, help="With --simulate-forward: the same seed, the same draws; default 1."
)
@limit_options
@json_option
def replay(**given: Any) -> None:
    """Decide a recorded log again and hold it to what was decided then, byte for byte, or compare a candidate.

    LOG is an exported log (`fleetmend controller export`; .gz too, - for standard input). It tells which rules decided:
    decisions of other rules than those given here are believed and held to nothing.

    With --compare the rules given here are a candidate: what they would have decided is held to what was decided.
    docs/how-to/try-a-policy-on-history.md says what can be known of it.
    """
    options = _options(given)
    settings = settings_of(options.config) if options.config is not None else ControllerSettings(state=NO_STATE)
    rules = rules_by(settings, options.playbooks)
    if options.compare:
        _compare(settings, rules, options)
    else:
        _again_and_say(settings, rules, options)


def _options(given: dict[str, Any]) -> Options:
    limits = {name: given.pop(name.replace("-", "_")) for name in MEASURES}
    options = Options(**given, limits={name: limit for name, limit in limits.items() if limit is not None})
    if options.log is None and options.config is None:
        raise click.UsageError("say which log: a file, or --config of the controller whose event log is meant")
    if not options.compare and (options.html is not None or options.simulate_forward or options.limits):
        raise click.UsageError("--html, --simulate-forward and limits (--max-…) go with --compare")
    if not options.simulate_forward and (options.model is not None or options.seed is not None):
        raise click.UsageError("--model and --seed go with --simulate-forward")
    return options


def _compare(settings: ControllerSettings, rules: Rules, options: Options) -> None:
    seed = options.seed if options.seed is not None else 1
    wanted = Wanted(options.html, options.simulate_forward, options.model, seed, options.limits, options.as_json)
    if options.log is not None:
        compare_log(entries_of(options.log, whole=True), rules, wanted, name=str(options.log))
    else:
        compare_store(settings, rules, wanted)


def _again_and_say(settings: ControllerSettings, rules: Rules, options: Options) -> None:
    told = _file_again(options.log, rules) if options.log is not None else _store_again(settings, rules)
    if options.as_json:
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


def _file_again(file: Path, rules: Rules) -> Told:
    return _again(entries_of(file, whole=True), Again(rules), str(file))


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
