"""What simulated fleets did, as one page that needs nothing else."""

from __future__ import annotations

from controller.api.moments import duration
from controller.api.report_words import share
from controller.api.simulation_tables import OURS, Policies, number, tables
from controller.simulation.model import Model
from controller.web.report_view import ReportView, page_of
from controller.web.simulation_plots import plots

HEADLINES = (
    ("precision", "precision", share, "of cordons"),
    ("recall", "recall", share, "hardware that shows"),
    ("false cordons", "false_cordons", number, "a run"),
    ("found after", "mttd_s", duration, "median"),
    ("returned after", "mttr_s", duration, "mean, people included"),
    ("availability", "availability", share, "of nodes"),
    ("ETTR", "ettr.9600", share, "of a job of 9,600 GPUs"),
)


def simulation_page(policies: Policies, model: Model) -> str:
    """Return the page."""
    ours = policies[OURS]
    headlines = {}
    for name, path, words, below in HEADLINES:
        found = ours.figures.get(path)
        if found is not None:
            headlines[name] = (words(found.mean), below)
    view = ReportView(
        span_of(policies),
        "",
        "",
        f"{model.rate:g} hardware faults of 1,000 nodes in a day",
        headlines,
        plots(policies),
        tuple(tables(policies, model)),
        0,
        (MADE_UP,),
    )
    return page_of(view, title="Report on a simulated fleet")


MADE_UP = (
    "Faults, repairs and people are made up by the fault model, much of which is an estimate; what was decided is what "
    "the real policy decides."
)


def span_of(policies: Policies) -> str:
    """Return what was simulated, in words."""
    ours = policies[OURS]
    first, last = ours.seeds[0], ours.seeds[-1]
    seeds = f"seed {first}" if first == last else f"seeds {first} to {last}"
    return f"{ours.nodes:,} nodes, {ours.days:g} days, {seeds}"
