"""Figures of a simulation: what was found of what was there, how fast, and what it cost.

docs/explanation/decisions.md says how each is defined.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from controller.policy.reporting.durations import Durations
from controller.simulation.model import NODE_FAULTS, Jobs, Kind, Model
from controller.simulation.run import Asked
from controller.simulation.score import HOUR_S, Score
from controller.simulation.tally import Tally
from controller.simulation.truth import DAY_S

JOBS: Final = (128, 1024, 9600)
"""GPUs of the reference jobs."""
GPUS_A_NODE: Final = 8


class ClassResult(msgspec.Struct, frozen=True):
    """One class of fault.

    Attributes:
        truth: so many were there.
        detected: so many of them an incident was opened for.
        precision: share of the cordons on account of the class that were right, `None` without any.
        recall: detected of truth; `None` for what is no fault of hardware, for nothing is to be found of it.
        mttd_s: from a fault's beginning to its incident, median.
        mtti_s: from its incident to its node being out, median.
        mttr_s: from a fault's beginning to its node's return, mean.
        mttr_parts_s: what the time from its incident to the return went to, means; `None` without a return.
        recidivism: days → share of returns after which it came back to the same part so soon.
    """

    truth: int
    detected: int
    precision: float | None
    recall: float | None
    mttd_s: float | None
    mtti_s: float | None
    mttr_s: float | None
    mttr_parts_s: dict[str, float] | None
    recidivism: dict[str, float | None]


class BudgetUse(msgspec.Struct, frozen=True):
    """How much of the fleet's budget was used.

    Attributes:
        limit: nodes that may be held at once.
        most, mean: nodes that were held at once.
        wait_s: how long incidents waited for a budget, together.
    """

    limit: int
    most: int
    mean: float
    wait_s: float


class Result(msgspec.Struct, frozen=True):
    """One run.

    Attributes:
        precision, recall: over the classes of hardware that show.
        false_cordons: cordons of nodes that had no fault of their own.
        decoy_cordons: of those, the ones that a decoy or something shared brought about.
        mttd_s, mtti_s, mttr_s, mttr_parts_s, recidivism: as of a class, over hardware that shows.
        false_cordon_rate: false cordons of all cordons, `None` without any.
        false_cordon_node_hours: node-hours that were held after false cordons.
        lemons: precision and recall of the nodes that were called lemons.
        ettr: GPUs of a job → effective training time ratio.
    """

    nodes: int
    days: float
    seed: int
    node_days_per_s: float
    incidents: int
    per_class: dict[str, ClassResult]
    cordons: int
    false_cordons: int
    decoy_cordons: int
    missed_fault_node_hours: float
    availability: float
    ettr: dict[str, float]
    precision: float | None
    recall: float | None
    mttd_s: float | None
    mtti_s: float | None
    mttr_s: float | None
    mttr_parts_s: dict[str, float] | None
    false_cordon_rate: float | None
    false_cordon_node_hours: float
    recidivism: dict[str, float | None]
    budget: BudgetUse
    tickets: int
    pages: int
    lemons: dict[str, float | None]


def result_of(asked: Asked, score: Score, *, took_s: float) -> Result:
    """Return the figures of a run."""
    model, nodes = asked.model, len(score.world.nodes)
    node_days = nodes * asked.days
    hardware = [score.tallies[name] for name, each in model.classes.items() if _is_visible(model, name)]
    own = {name for name, each in model.classes.items() if each.kind in NODE_FAULTS and not each.redundant}
    false = sum(score.false_cordons.values())
    return Result(
        nodes=nodes,
        days=asked.days,
        seed=asked.seed,
        node_days_per_s=node_days / took_s,
        incidents=score.incidents,
        per_class={name: _of_class(name, score) for name in model.classes},
        cordons=score.cordons,
        false_cordons=false,
        decoy_cordons=sum(count for name, count in score.false_cordons.items() if name and name not in own),
        missed_fault_node_hours=score.missed_s / HOUR_S,
        availability=1.0 - score.out_s / (node_days * DAY_S),
        ettr=_ettr(hardware, model.jobs, node_days),
        precision=_share(score.cordons - false, score.cordons),
        recall=_share(sum(each.detected for each in hardware), sum(each.truth for each in hardware)),
        mttd_s=_median(each.to_find for each in hardware),
        mtti_s=_median(each.to_isolate for each in hardware),
        mttr_s=_mean(each.to_return for each in hardware),
        mttr_parts_s=score.parts.means_s(),
        false_cordon_rate=_share(false, score.cordons),
        false_cordon_node_hours=score.wrongly_s / HOUR_S,
        recidivism=_recidivism(hardware),
        budget=_budget(score, nodes, asked.days),
        tickets=score.tickets,
        pages=score.pages,
        lemons=_lemons(score),
    )


def _is_visible(model: Model, name: str) -> bool:
    declared = model.classes[name]
    return declared.kind in NODE_FAULTS - {Kind.HIDDEN} and not declared.redundant


def _of_class(name: str, score: Score) -> ClassResult:
    tally, kind = score.tallies[name], score.world.model.classes[name].kind
    return ClassResult(
        truth=tally.truth,
        detected=tally.detected,
        precision=_share(tally.right, tally.cordons),
        recall=_share(tally.detected, tally.truth) if kind in FOUND else None,
        mttd_s=_median([tally.to_find]),
        mtti_s=_median([tally.to_isolate]),
        mttr_s=_mean([tally.to_return]),
        mttr_parts_s=tally.parts.means_s(),
        recidivism=_recidivism([tally]),
    )


FOUND: Final = NODE_FAULTS | {Kind.LEAF, Kind.DOMAIN, Kind.POWER}
"""What is to be found: hardware, a node's own or shared."""


def _recidivism(tallies: Sequence[Tally]) -> dict[str, float | None]:
    returns = sum(each.returns for each in tallies)
    return {str(days): _share(sum(each.back[days] for each in tallies), returns) for days in Tally().back}


def _median(durations: Iterable[Durations]) -> float | None:
    together = Durations.together(durations)
    return together.quantile(0.5) if together.count else None


def _mean(durations: Iterable[Durations]) -> float | None:
    together = Durations.together(durations)
    return together.total_s / together.count if together.count else None


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _budget(score: Score, nodes: int, days: float) -> BudgetUse:
    limit = score.world.clock.rules.budget.limit(nodes)
    return BudgetUse(limit, score.most_held, score.held_s / (days * DAY_S), score.budget_wait_s)


def _lemons(score: Score) -> dict[str, float | None]:
    """Return how well lemons were named; one that never failed often enough cannot be known for one."""
    lemons = {name for name, node in score.world.nodes.items() if node.host.lemon}
    named = score.lemons_named
    return {
        "truth": float(len(lemons)),
        "named": float(len(named)),
        "precision": _share(len(named & lemons), len(named)),
        "recall": _share(len(named & lemons), len(lemons)),
    }


def _ettr(hardware: Sequence[Tally], jobs: Jobs, node_days: float) -> dict[str, float]:
    """Return what jobs of several sizes get out of their time: lost work, detection and a restart for each failure.

    Each fault that begins on a node in service, or comes back there, stops the job on it. It costs half a checkpoint's
    interval, the time until the node is taken out, and the way to a spare. Source of the form: Meta's expected ETTR,
    by the fault model.
    """
    stops = sum(each.stops for each in hardware)
    lost_s = sum(each.stopped_s for each in hardware) + stops * (jobs.checkpoint_s / 2 + jobs.resume_s)
    return {str(gpus): math.exp(-gpus / GPUS_A_NODE * lost_s / (node_days * DAY_S)) for gpus in JOBS}


class Between(msgspec.Struct, frozen=True):
    """A figure over seeds, never less than 0. `low`, `high`: 95 % interval of the mean; `seeds`: how many have it."""

    mean: float
    low: float
    high: float
    seeds: int


SHARES: Final = frozenset({"precision", "recall", "availability", "false_cordon_rate", "recidivism", "ettr"})
"""Figures that are never more than 1."""


def between(values: Sequence[float], *, most: float = math.inf) -> Between | None:
    """Return mean and interval of a figure that is never more than `most`, `None` of nothing.

    Source: Student's t at the sizes that are common; a bootstrap would say the same of twenty seeds.
    """
    if not values:
        return None
    mean, count = statistics.fmean(values), len(values)
    if count == 1:
        return Between(mean, mean, mean, count)
    half = _T95.get(count - 1, 1.96) * statistics.stdev(values) / math.sqrt(count)
    return Between(mean, max(0.0, mean - half), min(most, mean + half), count)


_T95: Final[Mapping[int, float]] = {
    1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26, 10: 2.23,
    11: 2.20, 12: 2.18, 13: 2.16, 14: 2.14, 15: 2.13, 16: 2.12, 17: 2.11, 18: 2.10, 19: 2.09, 24: 2.06, 29: 2.05,
}  # fmt: skip


class Results(msgspec.Struct, frozen=True):
    """Several runs. `figures`: path of a figure, like `per_class.F1.recall` → its mean and interval."""

    nodes: int
    days: float
    seeds: list[int]
    figures: dict[str, Between]
    runs: list[Result]


def results_of(runs: Sequence[Result]) -> Results:
    """Return runs of several seeds with what they say together."""
    flat = [dict(_flat(msgspec.to_builtins(run))) for run in runs]
    paths = dict.fromkeys(path for each in flat for path in each if path not in {"nodes", "days", "seed"})
    figures = {}
    for path in paths:
        values = [each[path] for each in flat if each.get(path) is not None]
        found = between(values, most=1.0 if SHARES.intersection(path.split(".")) else math.inf)
        if found is not None:
            figures[path] = found
    first = runs[0]
    return Results(first.nodes, first.days, [run.seed for run in runs], figures, list(runs))


def _flat(content: Mapping[str, object], above: str = "") -> Iterable[tuple[str, float]]:
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        elif isinstance(value, int | float):
            yield f"{above}{key}", float(value)
