"""`fleetmend check`: one look at this host by the agent's own sources and checks, as Nagios plug-ins answer."""

from __future__ import annotations

import asyncio
import os
import sys
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import click
import msgspec

from agent.onlooker import Look, look
from agent.watched import watched
from checks.finding import WORST_FIRST, Verdict
from cli import output
from cli.client import Failed
from cli.printing import cell, console, plain, print_json, state
from cli.slurm_programs import SlurmProgram, answer, own_name
from cli.tables import table
from cli.watching import config_option, load_watch, needs_machine

DEFAULT_LIMIT_S = 30.0

DEFAULT_PERCENT = 10.0
"""As much as the controller's own budget allows when nobody set it."""

EXIT_CODES = {Verdict.OK: 0, Verdict.DEGRADED: 1, Verdict.FAILED: 2, Verdict.UNKNOWN: 3}
"""Source: Monitoring Plugins Development Guidelines, "Plugin Return Codes"."""

BLIND = EXIT_CODES[Verdict.UNKNOWN]

NAMED = 2
"""So many reasons are in the one line that monitoring shows; the table has them all."""


class WrongUse(click.UsageError):
    """A wrong command line, as a plug-in says it: on standard output, the only thing that monitoring reads."""

    exit_code = BLIND

    def show(self, file: IO[Any] | None = None) -> None:
        """Say it in one line."""
        click.echo(f"fleetmend UNKNOWN: {self.format_message()} (see fleetmend check --help)", file=file)


class PlugIn(click.Command):
    """A command whose own failures are `unknown`, too: 2 would say that the host has failed."""

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        """Return the context; a wrong command line ends with 3."""
        try:
            return super().make_context(*arguments, **options)
        except click.UsageError as error:
            raise WrongUse(error.message, error.ctx) from error

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what keeps it from looking ends with 3."""
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            raise WrongUse(error.message, error.ctx) from error
        except Failed as failure:
            return _blind(ctx, str(failure))
        except (click.exceptions.Exit, click.Abort, click.ClickException, BrokenPipeError):
            raise
        except Exception as error:
            if os.environ.get("FLEETMEND_DEBUG"):
                traceback.print_exception(error)
            return _blind(ctx, f"fleetmend itself failed: {type(error).__name__}: {error}")


def _blind(ctx: click.Context, because: str) -> Any:
    """End as a plug-in that could not look does, also where that cannot be written."""
    try:
        click.echo(plain(f"fleetmend UNKNOWN: {because}"))
        sys.stdout.flush()
    except OSError:
        output.give_up()
    ctx.exit(BLIND)


@click.command(cls=PlugIn)
@click.option("--only", metavar="CHECK,...", default="", help="These checks or families alone, e.g. gpu,host.memory.")
@click.option(
    "--timeout",
    "limit_s",
    metavar="S",
    type=click.FloatRange(min=1),
    default=DEFAULT_LIMIT_S,
    show_default=True,
    help="End within so many seconds; what has not answered by then is unknown.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON for programs.")
@click.option(
    "--slurm",
    "program",
    type=click.Choice([each.value for each in SlurmProgram]),
    help="Be this program of slurmd: a failed check drains the node in Slurm. Exits with 0, or 10 to refuse a job.",
)
@click.option(
    "--at-most",
    "percent",
    metavar="PERCENT",
    type=click.FloatRange(min=0, max=100),
    default=DEFAULT_PERCENT,
    show_default=True,
    help="With --slurm: drain nothing while fleetmend holds so much of the cluster out.",
)
@config_option
@click.pass_context
@needs_machine
def check(
    ctx: click.Context,
    *,
    only: str,
    limit_s: float,
    as_json: bool,
    program: str | None,
    percent: float,
    config: Path | None,
) -> None:
    """Look at this host once, and answer as a Nagios plug-in does.

    Exit codes: 0 ok, 1 degraded, 2 failed, 3 unknown. Needs no controller, no broker and no configuration, and works
    beside a running agent. It ends within the time limit whatever hangs; what gave no answer in time is unknown. Rates
    and flaps need a history, which only a running agent has.
    """
    if program and as_json:
        raise click.UsageError("--slurm and --json exclude each other")
    watch = load_watch(config)
    ours = watched(watch)
    ids = choose_checks(only, [each.id for each in ours.checks])
    seen = asyncio.run(look(watch, ours, ids=ids, limit_s=limit_s))
    verdict = worst(seen)
    if as_json:
        print_json(_as_json(seen, verdict))
    else:
        _print_headline(seen, verdict)
    if program:
        ctx.exit(_answer(SlurmProgram(program), seen, node=own_name(watch.node), percent=percent))
    if not as_json:
        _print_table(seen)
    ctx.exit(EXIT_CODES[verdict])


def _answer(program: SlurmProgram, seen: Look, *, node: str, percent: float) -> int:
    """Do what this program of slurmd does, and return its exit code."""
    said = asyncio.run(answer(program, "; ".join(reasons(seen, Verdict.FAILED)), node=node, percent=percent))
    if said.text:
        click.echo(plain(said.text))
    return said.code


def choose_checks(only: str, known: Sequence[str]) -> list[str]:
    """Return the ids of the checks and families in a list with commas between them; every check when it is empty.

    Args:
        known: ids of all checks of this node.
    """
    names = [name.strip() for name in only.split(",") if name.strip()]
    families = {name.partition(".")[0] for name in known}
    strange = [name for name in names if name not in known and name not in families]
    if strange:
        there_are = f"{', '.join(sorted(families))} and their checks: fleetmend checks"
        raise click.BadParameter(f"no check is called {', '.join(strange)}; there are {there_are}", param_hint="--only")
    return [name for name in known if not names or name in names or name.partition(".")[0] in names]


def worst(seen: Look) -> Verdict:
    """Return the verdict of the whole look."""
    verdicts = {level.verdict for level in seen.levels.values()}
    return next((verdict for verdict in WORST_FIRST if verdict in verdicts), Verdict.UNKNOWN)


def _print_headline(seen: Look, verdict: Verdict) -> None:
    """Print the headline; on a terminal without the numbers for monitoring, nor with what the table below it says."""
    line = headline(seen, verdict)
    if sys.stdout.isatty():
        line = _summary(seen, verdict) if len(_troubles(seen)) > 1 else line.partition(" | ")[0]
    click.echo(plain(line))


def _summary(seen: Look, verdict: Verdict) -> str:
    counts = Counter(level.verdict for level in seen.levels.values())
    said = ", ".join(f"{counts[each]} {each.value}" for each in WORST_FIRST if counts[each])
    return f"fleetmend {verdict.value.upper()}: {len(seen.levels)} checks, {said}"


def headline(seen: Look, verdict: Verdict) -> str:
    """Return the one line that monitoring shows, with the counts behind its bar."""
    counts = Counter(level.verdict for level in seen.levels.values())
    numbers = " ".join(f"{each.value}={counts[each]}" for each in WORST_FIRST)
    what = _counted(len(seen.levels)) if verdict is Verdict.OK else _shortened(reasons(seen, verdict))
    return f"fleetmend {verdict.value.upper()}: {what.replace('|', '/')} | checks={len(seen.levels)} {numbers}"


def reasons(seen: Look, verdict: Verdict) -> list[str]:
    """Return what is said by the checks of one verdict, each sentence once behind all the checks that say it."""
    return [f"{', '.join(ids)}: {because}" for (said, because), ids in _by_reason(seen).items() if said == verdict]


def _by_reason(seen: Look) -> dict[tuple[str, str], list[str]]:
    """Return (verdict, reason) → checks: one source that hangs says the same of twenty."""
    found: dict[tuple[str, str], list[str]] = {}
    for check_id, level in seen.levels.items():
        found.setdefault((level.verdict, level.because), []).append(check_id)
    return found


def _counted(checks: int) -> str:
    return "the check found nothing" if checks == 1 else f"{checks} checks found nothing"


def _shortened(said: Sequence[str]) -> str:
    more = len(said) - NAMED
    return "; ".join(said[:NAMED]) + (f"; and {more} more" if more > 0 else "")


def _troubles(seen: Look) -> list[tuple[Verdict, str, list[str]]]:
    """Return verdict, reason and checks of everything that is not ok, worst first."""
    rows = [(Verdict(said), because, ids) for (said, because), ids in _by_reason(seen).items() if said != Verdict.OK]
    return sorted(rows, key=lambda row: WORST_FIRST.index(row[0]))


def _print_table(seen: Look) -> None:
    """Print all that is not ok, unless the headline has said it."""
    troubles = _troubles(seen)
    if len(troubles) < 2:
        return
    shown = table("verdict", "checks*", "because*")
    for verdict, because, ids in troubles:
        shown.add_row(state(verdict), cell(", ".join(ids), "bold"), cell(because))
    console().print(shown)


def _as_json(seen: Look, verdict: Verdict) -> dict[str, Any]:
    levels = {check_id: {"verdict": each.verdict, "because": each.because} for check_id, each in seen.levels.items()}
    findings = [msgspec.to_builtins(finding) for finding in seen.findings]
    return {"verdict": verdict.value, "checks": levels, "findings": findings}
