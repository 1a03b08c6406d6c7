"""`fleetmend simulate`: a virtual fleet with known faults, decided by the real policy."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from cli.client import Failed
from cli.commands.acts import json_option
from cli.commands.controller import settings_of
from cli.exit_codes import ExitCode
from cli.log_files import log_writer
from cli.printing import cell, console, print_json
from cli.report_files import write_page
from cli.report_printing import titled
from cli.rules_asked import NO_STATE, rules_by
from controller.api.simulation_tables import OURS, Policies, tables
from controller.events import Logged
from controller.policy.rules import Rules
from controller.settings import ControllerSettings, SettingsError
from controller.simulation.fleet import Placed, placed_by, racks_and_leaves
from controller.simulation.model import Model, load_model
from controller.simulation.policies import POLICIES, Policy
from controller.simulation.result import Result, result_of, results_of
from controller.simulation.run import Asked
from controller.simulation.run import simulate as run_through
from controller.topology.source import Unreadable
from controller.web.simulation_view import simulation_page, span_of

CELL = "simulated"
"""Whose log it is, as the log says."""

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
    html: Path | None
    log: Path | None
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
@click.option("--html", metavar="FILE", type=file_path, help="Write one page that needs nothing else.")
@click.option("--log", metavar="FILE", type=file_path, help="Write the one run's log as an export (.gz too).")
@json_option
def simulate(**given: Any) -> None:
    """Run a virtual fleet with known faults through the real policy, and hold what it did to what was so.

    Faults, repairs and decoys come from a fault model; what they show is judged by the checks, and what follows is
    decided by the playbooks. docs/explanation/decisions.md says what the figures mean.
    """
    options = Options(**given)
    if options.log is not None and options.seeds > 1:
        raise click.UsageError("--log takes the log of one run, so it goes with one seed")
    rules, asked = _asked(options)
    results = _logged(asked, rules, options.log) if options.log is not None else [_run(each, rules) for each in asked]
    beside = {name: [_run(each, rules, way) for each in asked] for name, way in POLICIES.items() if options.beside}
    policies = {OURS: results_of(results), **{name: results_of(others) for name, others in beside.items()}}
    if options.html is not None:
        write_page(simulation_page(policies, asked[0].model), options.html)
    if options.as_json:
        print_json(msgspec.to_builtins(_as_json(policies)))
    elif options.html is None:
        _show(policies, asked[0].model)


def _as_json(policies: Policies) -> object:
    """Return one run as it is, and several with their intervals; with others beside them, each policy by its name."""
    told = {name: each.runs[0] if len(each.runs) == 1 else each for name, each in policies.items()}
    return told[OURS] if len(told) == 1 else told


def _asked(options: Options) -> tuple[Rules, list[Asked]]:
    """Return what is simulated, by what rules.

    Raises:
        Failed: with every mistake of every file.
    """
    problems: list[str] = []
    rules = _read(lambda: _rules(options), problems)
    model = _read(lambda: load_model(options.model, rate=options.rate), problems)
    placed = _read(lambda: _placed(options), problems)
    if rules is None or model is None or placed is None:
        raise Failed("\n".join(problems), ExitCode.CONFIG)
    return rules, [Asked(placed, options.days, options.seed + number, model) for number in range(options.seeds)]


def _logged(asked: Sequence[Asked], rules: Rules, file: Path) -> list[Result]:
    with log_writer(file, CELL) as write:
        return [_run(each, rules, heard=write) for each in asked]


def _rules(options: Options) -> Rules:
    settings = settings_of(options.config) if options.config is not None else ControllerSettings(state=NO_STATE)
    return rules_by(settings, options.playbooks)


def _placed(options: Options) -> Placed:
    return placed_by(options.topology) if options.topology is not None else racks_and_leaves(options.nodes)


Found = TypeVar("Found")


def _read(file: Callable[[], Found], problems: list[str]) -> Found | None:
    """Return what a file says; its mistakes are added to those of the others."""
    try:
        return file()
    except (SettingsError, Unreadable) as error:
        problems.append(str(error))
    except Failed as error:
        if error.code is not ExitCode.CONFIG:
            raise
        problems.append(str(error))
    return None


def _run(
    asked: Asked, rules: Rules, policy: Policy | None = None, heard: Callable[[Logged], None] | None = None
) -> Result:
    began = time.monotonic()
    score = run_through(asked, rules, policy=policy, heard=heard)
    return result_of(asked, score, took_s=time.monotonic() - began)


def _show(policies: Policies, model: Model) -> None:
    out, ours = console(), policies[OURS]
    speed = ours.figures["node_days_per_s"].mean
    out.print(cell(f"{span_of(policies)}: {speed:,.0f} node-days/s", "bold"))
    for table in tables(policies, model):
        out.print()
        out.print(titled(table, rows=len(table.rows)))
