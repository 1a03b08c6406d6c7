"""The pictures of a simulation's page."""

from __future__ import annotations

from controller.api.report_words import share, short
from controller.api.simulation_tables import OURS, PARTS_SHOWN, Policies, number, repaired
from controller.simulation.result import JOBS, Results
from controller.web.report_plots import BarRow, Plot, bars, intervals

LOOKS = ("lost-fault", "lost-people", "lost-scheduler", "lost-lost")
"""Of jobs' sizes, as the style sheet has them."""


def plots(policies: Policies) -> tuple[Plot, ...]:
    """Return those pictures for which there is something to show."""
    drawn = (_jobs(policies), _missed(policies), _found(policies[OURS]), _repair(policies[OURS]), _cordons(policies))
    return tuple(plot for plot in drawn if plot is not None)


def _jobs(policies: Policies) -> Plot | None:
    """Return what jobs lose, for what they get out of their time is nearly all and would hide it."""
    rows: list[BarRow] = []
    for gpus, look in zip(reversed(JOBS), LOOKS, strict=False):
        for name, policy in policies.items():
            lost = 1.0 - policy.figures[f"ettr.{gpus}"].mean
            rows.append((name, [(lost, look, f"job of {gpus:,} GPUs: {share(lost)}")], share(lost)))
    legend = tuple((look, f"job of {gpus:,} GPUs") for gpus, look in zip(reversed(JOBS), LOOKS, strict=False))
    described = "Share of a reference job's time that is lost to faults of nodes, by its size and by policy: 1 - ETTR."
    return bars("jobs", "What a job loses of its time (1 − ETTR)", described, rows, legend)


def _missed(policies: Policies) -> Plot | None:
    rows: list[BarRow] = []
    for name, policy in policies.items():
        hours = policy.figures["missed_fault_node_hours"].mean
        rows.append((name, [(hours, "lost-fault", f"{number(hours)} node-hours")], number(hours)))
    described = "Node-hours in service with a fault of the node's own, by policy."
    return bars("missed", "Node-hours in service with a fault", described, rows, ())


def _cordons(policies: Policies) -> Plot | None:
    rows: list[BarRow] = []
    for name, policy in policies.items():
        false, every = policy.figures["false_cordons"].mean, policy.figures["cordons"].mean
        parts = [(every - false, "part-verify", f"right {number(every - false)}")]
        parts += [(false, "lost-fault", f"false {number(false)}")] if false else []
        rows.append((name, parts, f"{number(false)} false"))
    legend = (("part-verify", "right"), ("lost-fault", "false"))
    return bars("cordons", "Nodes taken out in a run", "Cordons a run by policy, right and false.", rows, legend)


def _found(ours: Results) -> Plot | None:
    rows = []
    for name in ours.runs[0].per_class:
        runs = [run.per_class[name] for run in ours.runs]
        truth = sum(run.truth for run in runs)
        if truth and any(run.recall is not None for run in runs):
            detected = sum(run.detected for run in runs)
            rows.append((name, detected, truth - detected))
    if not rows:
        return None
    described = "Recall by class of fault: posterior mean and 90 % interval."
    return intervals("found", "Faults that were found, from 0 to 1", described, rows)


def _repair(ours: Results) -> Plot | None:
    rows: list[BarRow] = []
    for name in repaired(ours):
        above = f"per_class.{name}." if name else ""
        spent = {part: ours.figures[f"{above}mttr_parts_s.{part}"].mean for part in PARTS_SHOWN}
        parts = [(spent[part], f"part-{part}", f"{part}: {short(spent[part])}") for part in PARTS_SHOWN if spent[part]]
        rows.append((name or "all", parts, short(sum(spent.values()))))
    legend = tuple((f"part-{part}", part) for part in PARTS_SHOWN)
    return bars("repair", "What repairs took, on average", "Mean time to repair by class of fault.", rows, legend)
