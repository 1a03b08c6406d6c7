"""`fleetmend simulate`: a virtual fleet with known faults, decided by the real policy."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import msgspec

from cli.client import Failed
from cli.commands.acts import json_option
from cli.commands.controller import settings_of
from cli.commands.replay import NO_STATE, rules_by
from cli.exit_codes import ExitCode
from cli.printing import cell, console, print_json, table
from controller.api.moments import duration
from controller.policy.rules import Rules
from controller.settings import ControllerSettings, SettingsError
from controller.simulation.fleet import placed_by, racks_and_leaves
from controller.simulation.model import Model, load_model
from controller.simulation.policies import POLICIES, Policy
from controller.simulation.result import Result, result_of, together
from controller.simulation.run import Asked
from controller.simulation.run import simulate as run_through
from controller.topology.source import Unreadable

MOST_NODES = 100_000
MOST_DAYS = 3_660.0

file_path = click.Path(path_type=Path, dir_okay=False)
folder_path = click.Path(path_type=Path, file_okay=False)
days_range = click.FloatRange(0.0, MOST_DAYS, min_open=True)


@dataclass(frozen=True, slots=True)
class Options:
    """What stands on the command line."""

    nodes: int
    days: float
    seed: int
    seeds: int
    rate: float | None
    topology: Path | None
    model: Path | None
    config: Path | None
    playbooks: Path | None
    beside: bool
    as_json: bool


@click.command()
@click.option("--nodes", metavar="N", type=click.IntRange(1, MOST_NODES), default=1_000, show_default=True)
@click.option("--days", metavar="D", type=days_range, default=30.0, show_default=True)
@click.option("--seed", metavar="S", type=int, default=1, show_default=True, help="The same seed, the same faults.")
@click.option(
    "--seeds", metavar="COUNT", type=click.IntRange(1, 1_000), default=1, help="So many runs, from --seed on."
)
@click.option(
    "--rate", metavar="R", type=click.FloatRange(0.0, min_open=True), help="Hardware faults of 1,000 nodes in a day."
)
@click.option("--topology", metavar="FILE", type=file_path, help="The nodes and where they stand (CSV), for --nodes.")
@click.option("--model", metavar="FILE", type=file_path, help="What differs from the fault model (TOML).")
@click.option("--config", metavar="FILE", type=file_path, help="Decide by these settings.")
@click.option("--playbooks", metavar="DIR", type=folder_path, help="Decide by these playbooks.")
@click.option("--beside", is_flag=True, help="Put the same faults before what fleets do without fleetmend, too.")
@json_option
def simulate(**given: Any) -> None:
    """Run a virtual fleet with known faults through the real policy, and hold what it did to what was so.

    Faults, repairs and decoys come from a fault model; what they show is judged by the checks, and what follows is
    decided by the playbooks. docs/explanation/decisions.md says what the figures mean.
    """
    options = Options(**given)
    rules, asked = _asked(options)
    results = [_run(each, rules) for each in asked]
    beside = {name: [_run(each, rules, way) for each in asked] for name, way in POLICIES.items() if options.beside}
    if options.as_json:
        print_json(_as_json(results, beside))
        return
    _show(results, asked[0].model)
    if beside:
        _show_beside({"fleetmend": results, **beside})


def _as_json(results: Sequence[Result], beside: Mapping[str, Sequence[Result]]) -> object:
    """Return the one run as an object and several as a list; with others beside them, each policy under its name."""
    told = msgspec.to_builtins(results[0] if len(results) == 1 else results)
    if not beside:
        return told
    return {"fleetmend": told, **{name: _as_json(others, {}) for name, others in beside.items()}}


def _asked(options: Options) -> tuple[Rules, list[Asked]]:
    settings = settings_of(options.config) if options.config is not None else ControllerSettings(state=NO_STATE)
    rules = rules_by(settings, options.playbooks)
    try:
        model = load_model(options.model, rate=options.rate)
        placed = placed_by(options.topology) if options.topology is not None else racks_and_leaves(options.nodes)
    except (SettingsError, Unreadable) as error:
        raise Failed(str(error), ExitCode.CONFIG) from error
    return rules, [Asked(placed, options.days, options.seed + number, model) for number in range(options.seeds)]


def _run(asked: Asked, rules: Rules, policy: Policy | None = None) -> Result:
    began = time.monotonic()
    score = run_through(asked, rules, policy=policy)
    return result_of(asked, score, took_s=time.monotonic() - began)


def _show(results: Sequence[Result], model: Model) -> None:
    out, first = console(), results[0]
    seeds = f"seed {first.seed}" if len(results) == 1 else f"seeds {first.seed} to {results[-1].seed}"
    out.print(
        cell(f"{first.nodes} nodes, {first.days:g} days, {seeds}: {first.node_days_per_s:.0f} node-days/s", "bold")
    )
    figures = table("figure", "value", "95 % of seeds*")
    for name, choose, shown in _FIGURES:
        found = together(results, choose)
        if found is not None:
            mean, low, high = found
            figures.add_row(name, shown(mean), f"{shown(low)} to {shown(high)}" if len(results) > 1 else "")
    out.print(figures)
    classes = table(
        "class", "there were", "found", "precision", "recall", "to find", "to take out", "to return", "what*"
    )
    for name, declared in model.classes.items():
        classes.add_row(name, *_row(results, name), cell(declared.summary))
    out.print(classes)


def _show_beside(policies: Mapping[str, Sequence[Result]]) -> None:
    shown = table("figure", *policies)
    for name, choose, words in _FIGURES:
        found = [together(results, choose) for results in policies.values()]
        shown.add_row(name, *(words(each[0]) if each is not None else "–" for each in found))
    console().print(shown)


def _row(results: Sequence[Result], name: str) -> list[str]:
    rows = [each.per_class[name] for each in results]
    truth, detected = sum(row.truth for row in rows), sum(row.detected for row in rows)
    counts = [str(truth), str(detected)]
    shares = [_mean([row.precision for row in rows], _share), _mean([row.recall for row in rows], _share)]
    times = [_mean([getattr(row, each) for row in rows], duration) for each in ("mttd_s", "mtti_s", "mttr_s")]
    return [*counts, *shares, *times]


def _mean(values: Sequence[float | None], shown: Callable[[float], str]) -> str:
    known = [value for value in values if value is not None]
    return shown(sum(known) / len(known)) if known else "–"


def _share(value: float) -> str:
    return f"{100.0 * min(value, 1.0):.2f} %"


def _number(value: float) -> str:
    return f"{value:,.1f}".removesuffix(".0")


_FIGURES: tuple[tuple[str, Callable[[Result], float | None], Callable[[float], str]], ...] = (
    ("incidents", lambda each: each.incidents, _number),
    ("cordons", lambda each: each.cordons, _number),
    ("false cordons", lambda each: each.false_cordons, _number),
    ("cordons for decoys", lambda each: each.decoy_cordons, _number),
    ("precision", lambda each: each.precision, _share),
    ("recall", lambda each: each.recall, _share),
    ("availability", lambda each: each.availability, _share),
    ("node-hours with a missed fault", lambda each: each.missed_fault_node_hours, _number),
    ("faults that came back", lambda each: each.recidivism, _share),
    ("most of the fleet held at once", lambda each: each.budget_used, _share),
    ("tickets", lambda each: each.tickets, _number),
    ("pages", lambda each: each.pages, _number),
    ("lemons that were named", lambda each: each.lemons["recall"], _share),
    ("named that were lemons", lambda each: each.lemons["precision"], _share),
    ("ETTR of a job of 128 GPUs", lambda each: each.ettr["128"], _share),
    ("ETTR of a job of 1,024 GPUs", lambda each: each.ettr["1024"], _share),
    ("ETTR of a job of 9,600 GPUs", lambda each: each.ettr["9600"], _share),
)
