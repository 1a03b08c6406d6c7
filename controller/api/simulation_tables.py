"""What simulated fleets did, as tables: what the page and the terminal have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from controller.api.moments import duration
from controller.api.report_tables import COUNT, SECONDS, SHARE, Cell, Column, ReportTable, table_of
from controller.api.report_words import UNKNOWN, share
from controller.policy.incident import PEOPLE
from controller.policy.reporting.incidents import DRAIN, HANDLING, PROBATION, REPAIR, VERIFY, WAIT
from controller.simulation.model import Model
from controller.simulation.result import JOBS, Between, Results

OURS: Final = "fleetmend"

Policies = Mapping[str, Results]
"""Name of a policy → its runs; fleetmend's come first."""

PARTS_SHOWN: Final = (WAIT, DRAIN, REPAIR, VERIFY, PROBATION, PEOPLE, HANDLING)


def number(value: float) -> str:
    """Return a count, with a tenth where it is a mean."""
    return f"{value:,.1f}".removesuffix(".0")


FIGURES: Final[tuple[tuple[str, str, Callable[[float], str]], ...]] = (
    ("incidents", "incidents", number),
    ("cordons", "cordons", number),
    ("false_cordons", "false cordons", number),
    ("false_cordon_rate", "false cordons, of all", share),
    ("decoy_cordons", "cordons for decoys", number),
    ("precision", "precision of cordons", share),
    ("recall", "recall of hardware that shows", share),
    ("mttd_s", "time to find, median (MTTD)", duration),
    ("mtti_s", "from there to be out, median (MTTI)", duration),
    ("mttr_s", "time to return, mean (MTTR)", duration),
    ("missed_fault_node_hours", "node-hours with a missed fault", number),
    ("false_cordon_node_hours", "node-hours held without a fault", number),
    ("availability", "availability", share),
    ("recidivism.7", "back within 7 days, of returns", share),
    ("recidivism.30", "back within 30 days", share),
    ("budget.limit", "budget: nodes at once", number),
    ("budget.most", "most held at once", number),
    ("budget.mean", "held on average", number),
    ("budget.wait_s", "waited for a budget, together", duration),
    ("tickets", "tickets", number),
    ("pages", "pages", number),
    ("lemons.recall", "lemons that were named", share),
    ("lemons.precision", "named that were lemons", share),
    *((f"ettr.{gpus}", f"ETTR of a job of {gpus:,} GPUs", share) for gpus in JOBS),
)
"""Path of a figure, its name for people, and how it is written."""


def tables(policies: Policies, model: Model) -> list[ReportTable]:
    """Return every table, in the order in which people read."""
    return [_figures(policies), _classes(policies, model), _repair(policies[OURS])]


def said(found: Between | None, words: Callable[[float], str]) -> str:
    """Return a figure with its interval."""
    if found is None:
        return UNKNOWN
    return f"{words(found.mean)} ({words(found.low)} to {words(found.high)})" if found.seeds > 1 else words(found.mean)


def _figures(policies: Policies) -> ReportTable:
    def of(policy: Results) -> Callable[[tuple[str, str, Callable[[float], str]]], Cell]:
        return lambda row: said(policy.figures.get(row[0]), row[2])

    seeds = len(policies[OURS].seeds)
    return table_of(
        "figures",
        "Figures",
        f"Means over {seeds} seeds, and the 95 % intervals of the means." if seeds > 1 else "One run.",
        rows=[row for row in FIGURES if any(row[0] in policy.figures for policy in policies.values())],
        columns=[
            (Column("figure", "figure"), lambda row: row[1]),
            *((Column(name, name, "figure"), of(policy)) for name, policy in policies.items()),
        ],
        empty="",
    )


def _classes(policies: Policies, model: Model) -> ReportTable:
    ours = policies[OURS]

    def sum_of(name: str, what: str) -> int:
        return sum(getattr(run.per_class[name], what) for run in ours.runs)

    def mean_of(what: str) -> Callable[[str], Cell]:
        return lambda name: _mean(ours.figures.get(f"per_class.{name}.{what}"))

    return table_of(
        "classes",
        "Classes of faults",
        "Counts over all runs, and means of the runs. Found: an incident was opened for it. Of what is no fault of "
        "hardware nothing is to be found, and precision says whether a node was taken out for it.",
        rows=list(model.classes),
        columns=[
            (Column("class", "class"), lambda name: name),
            (Column("truth", "there were", COUNT), lambda name: sum_of(name, "truth")),
            (Column("detected", "found", COUNT), lambda name: sum_of(name, "detected")),
            (Column("precision", "precision", SHARE), mean_of("precision")),
            (Column("recall", "recall", SHARE), mean_of("recall")),
            (Column("mttd_s", "to find", SECONDS), mean_of("mttd_s")),
            (Column("mtti_s", "to take out", SECONDS), mean_of("mtti_s")),
            (Column("mttr_s", "to return", SECONDS), mean_of("mttr_s")),
            (Column("recidivism_7", "back in 7 d", SHARE), mean_of("recidivism.7")),
            (Column("summary", "what"), lambda name: model.classes[name].summary),
        ],
        empty="",
    )


def _mean(found: Between | None) -> float | None:
    return found.mean if found is not None else None


def _repair(ours: Results) -> ReportTable:
    def part_of(part: str) -> Callable[[str], Cell]:
        return lambda name: _mean(ours.figures.get(f"{_above(name)}mttr_parts_s.{part}"))

    return table_of(
        "repair",
        "What a repair's time goes to",
        "From an incident's opening until its node is back in service, of incidents that took it out; means.",
        rows=repaired(ours),
        columns=[
            (Column("class", "class"), lambda name: name or "all"),
            *((Column(f"{part}_s", part, SECONDS), part_of(part)) for part in PARTS_SHOWN),
        ],
        empty="No node came back.",
    )


def repaired(ours: Results) -> list[str]:
    """Return the classes after whose faults a node came back, the empty one for all of them first."""
    names = ["", *ours.runs[0].per_class]
    return [name for name in names if f"{_above(name)}mttr_parts_s.{DRAIN}" in ours.figures]


def _above(name: str) -> str:
    return f"per_class.{name}." if name else ""
