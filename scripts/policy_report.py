"""Holds the default playbooks to the aims, and to those of the last release on the same faults; a gate for CI.

`make policy-report` runs it; docs/how-to/hold-a-policy-to-its-aims.md says how it is read.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from cli.client import Failed
from cli.printing import cell, console, print_json
from cli.rules_asked import NO_STATE, rules_by
from cli.tables import Fitting, table
from controller.playbooks import default_directory
from controller.policy.rules import Rules
from controller.settings import ControllerSettings
from controller.simulation.fleet import racks_and_leaves
from controller.simulation.gate import FIGURES, GateVerdict, Row, aims, compared, lemons_known
from controller.simulation.model import load_model
from controller.simulation.run import Asked
from controller.simulation.trial import Trial, tried
from scripts.playbook_corpus import content_of, last_release

folder_path = click.Path(path_type=Path, file_okay=False, exists=True)
WORDS: Final = {True: "met", False: "MISSED", None: "not held"}


@dataclass(frozen=True, slots=True)
class Options:
    """What stands on the command line."""

    nodes: int
    days: float
    seeds: int
    rate: float | None
    playbooks: Path | None
    released: Path | None
    accept: tuple[str, ...]
    workers: int
    as_json: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """One trial: whose playbooks, and of which fleet."""

    playbooks: Path
    nodes: int
    days: float
    seed: int
    rate: float | None


@click.command()
@click.option("--nodes", metavar="N", type=click.IntRange(1), default=1_000, show_default=True)
@click.option("--days", metavar="D", type=click.FloatRange(0.0, min_open=True), default=90.0, show_default=True)
@click.option("--seeds", metavar="COUNT", type=click.IntRange(2), default=20, show_default=True)
@click.option("--rate", metavar="R", type=click.FloatRange(0.0, min_open=True), help="Faults of 1,000 nodes in a day.")
@click.option("--playbooks", metavar="DIR", type=folder_path, help="Hold these in place of the default ones.")
@click.option("--released", metavar="DIR", type=folder_path, help="Compare with these in place of the last release's.")
@click.option(
    "--accept", metavar="FIGURE", multiple=True, type=click.Choice([each.name for each in FIGURES]),
    help="This figure may get worse; may be given again.",
)  # fmt: skip
@click.option("--workers", metavar="N", type=click.IntRange(1), default=os.cpu_count() or 1, help="Processes.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(**given: Any) -> None:
    """Hold the default playbooks to the aims and to those of the last release; exit code 1 when they do not pass."""
    options = Options(**given)
    try:
        verdict = verdict_of(options)
    except Failed as error:
        click.echo(str(error), err=True)
        sys.exit(error.code)
    failures = [each for each in verdict.failures if not each.startswith(tuple(f"{name}: " for name in options.accept))]
    if options.as_json:
        print_json({**msgspec.to_builtins(verdict), "failures": failures})
    else:
        _show(verdict)
    for failure in failures:
        click.echo(failure, err=True)
    sys.exit(1 if failures else 0)


def verdict_of(options: Options) -> GateVerdict:
    """Return what the gate says of the playbooks that were asked about."""
    ours, released = options.playbooks or default_directory(), options.released or last_release()
    same = content_of(ours) == content_of(released)
    seeds = list(range(1, options.seeds + 1))
    folders = [ours] if same else [ours, released]
    wanted = [Wanted(each, options.nodes, options.days, seed, options.rate) for each in folders for seed in seeds]
    for folder in folders:
        _rules(folder)
    trials = list(_tried(wanted, options.workers))
    candidate, before = trials[: len(seeds)], trials[-len(seeds) :]
    return GateVerdict(
        options.nodes,
        options.days,
        seeds,
        released.name,
        same,
        aims(candidate, load_model(rate=options.rate)),
        lemons_known(candidate),
        [] if same else compared(before, candidate),
    )


def _tried(wanted: Sequence[Wanted], workers: int) -> Iterator[Trial]:
    if workers == 1:
        yield from map(_trial, wanted)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(_trial, wanted)


def _trial(wanted: Wanted) -> Trial:
    placed, model = racks_and_leaves(wanted.nodes), load_model(rate=wanted.rate)
    return tried(Asked(placed, wanted.days, wanted.seed, model), _rules(wanted.playbooks))


@cache
def _rules(playbooks: Path) -> Rules:
    return rules_by(ControllerSettings(state=NO_STATE), playbooks)


def _show(verdict: GateVerdict) -> None:
    out = console()
    out.print(cell(f"{verdict.nodes:,} nodes, {verdict.days:g} days, {len(verdict.seeds)} seeds", "bold"))
    held = table("aim", "is", "is to be", "")
    for row in verdict.aims:
        held.add_row(row.name, _number(row), row.aim, cell(WORDS[row.met]))
    out.print(held)
    if verdict.lemons:
        out.print(_lemons(verdict))
    if verdict.same:
        out.print(cell(f"No playbook differs from those of {verdict.release}: there is nothing to compare."))
    else:
        out.print(_beside(verdict))


def _lemons(verdict: GateVerdict) -> Fitting:
    lemons = table("lemons after", "there were", "named", "precision", "recall", "possible")
    for each in verdict.lemons:
        shares = (each.precision, each.recall, each.possible)
        lemons.add_row(f"{each.days:g} days", str(each.lemons), str(each.named), *map(_share, shares))
    return lemons


def _beside(verdict: GateVerdict) -> Fitting:
    beside = table("figure", verdict.release, "now", "difference, 99 %", "")
    for row in verdict.compared:
        means = (f"{row.released:.6g}", f"{row.candidate:.6g}")
        beside.add_row(row.name, *means, f"{row.low:+.3g} to {row.high:+.3g}", "WORSE" if row.worse else "")
    return beside


def _number(row: Row) -> str:
    return "–" if row.value is None else f"{row.value:.4g}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    main()
