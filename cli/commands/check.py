"""`fleetmend check`: one look at this host by the agent's own sources and checks, as Nagios plug-ins answer."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import click
import msgspec

from agent.onlooker import Look, look
from checks.finding import WORST_FIRST, Verdict
from checks.registry import CHECKS
from cli.client import Failed
from cli.printing import cell, console, plain, print_json, state, table
from cli.watching import config_option, load_watch, needs_machine

DEFAULT_LIMIT_S = 30.0

EXIT_CODES = {Verdict.OK: 0, Verdict.DEGRADED: 1, Verdict.FAILED: 2, Verdict.UNKNOWN: 3}
"""Source: Monitoring Plugins Development Guidelines, "Plugin Return Codes"."""

BLIND = EXIT_CODES[Verdict.UNKNOWN]


class WrongUse(click.UsageError):
    """A wrong command line, as a plug-in says it."""

    exit_code = BLIND


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
            click.echo(f"fleetmend UNKNOWN: {failure}")
            ctx.exit(BLIND)


@click.command(cls=PlugIn)
@click.option("--only", metavar="CHECK,...", default="", help="These checks or families alone, e.g. gpu,host.memory.")
@click.option(
    "--timeout", "limit_s", metavar="S", type=click.FloatRange(min=1), default=DEFAULT_LIMIT_S, show_default=True
)
@click.option("--json", "as_json", is_flag=True, help="JSON for programs.")
@config_option
@click.pass_context
@needs_machine
def check(ctx: click.Context, only: str, limit_s: float, as_json: bool, config: Path | None) -> None:
    """Look at this host once, and answer as a Nagios plug-in does.

    Exit codes: 0 ok, 1 degraded, 2 failed, 3 unknown. Needs no controller, no broker and no configuration, and works
    beside a running agent. It ends within the time limit whatever hangs; what gave no answer in time is unknown. Rates
    and flaps need a history, which only a running agent has.
    """
    ids = choose_checks(only)
    seen = asyncio.run(look(load_watch(config), ids=ids, limit_s=limit_s))
    verdict = worst(seen)
    if as_json:
        print_json(_as_json(seen, verdict))
    else:
        click.echo(plain(headline(seen, verdict)))
        _print_table(seen)
    ctx.exit(EXIT_CODES[verdict])


def choose_checks(only: str) -> list[str]:
    """Return the ids of the checks and families in a list with commas between them; every check when it is empty."""
    names = [name.strip() for name in only.split(",") if name.strip()]
    known = [each.id for each in CHECKS]
    families = {name.partition(".")[0] for name in known}
    strange = [name for name in names if name not in known and name not in families]
    if strange:
        there_are = f"{', '.join(sorted(families))} and their checks (fleetmend checks)"
        raise click.BadParameter(f"no check is called {', '.join(strange)}; there are {there_are}", param_hint="--only")
    return [name for name in known if not names or name in names or name.partition(".")[0] in names]


def worst(seen: Look) -> Verdict:
    """Return the verdict of the whole look."""
    verdicts = {level.verdict for level in seen.levels.values()}
    return next((verdict for verdict in WORST_FIRST if verdict in verdicts), Verdict.UNKNOWN)


def headline(seen: Look, verdict: Verdict) -> str:
    """Return the one line that monitoring shows, with the counts behind its bar."""
    counts = Counter(level.verdict for level in seen.levels.values())
    said = [f"{check_id}: {level.because}" for check_id, level in seen.levels.items() if level.verdict == verdict]
    what = f"{len(seen.levels)} checks" if verdict is Verdict.OK else "; ".join(said)
    numbers = " ".join(f"{each.value}={counts[each]}" for each in WORST_FIRST)
    return f"fleetmend {verdict.value.upper()}: {what.replace('|', '/')} | checks={len(seen.levels)} {numbers}"


def _print_table(seen: Look) -> None:
    shown = table("check", "verdict", "because*")
    for check_id, level in seen.levels.items():
        if level.verdict != Verdict.OK:
            shown.add_row(cell(check_id, "bold"), state(level.verdict), cell(level.because))
    if shown.row_count:
        console().print(shown)


def _as_json(seen: Look, verdict: Verdict) -> dict[str, Any]:
    levels = {check_id: {"verdict": each.verdict, "because": each.because} for check_id, each in seen.levels.items()}
    findings = [msgspec.to_builtins(finding) for finding in seen.findings]
    return {"verdict": verdict.value, "checks": levels, "findings": findings}
