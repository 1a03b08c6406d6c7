"""What a policy is held to over several fleets: aims, and the policy of the last release on the same faults.

Pure: trials in, rows and a verdict out. docs/explanation/decisions.md says where the aims come from.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from controller.policy.reporting.intervals import share_of
from controller.simulation.lemons import Known, known
from controller.simulation.model import NODE_FAULTS, Kind, Model
from controller.simulation.result import JOBS, Result
from controller.simulation.trial import Trial

LEAST_PRECISION: Final = 0.98
LEAST_RECALL: Final = 0.95
MOST_FALSE: Final = 0.01
LEAST_LEMON_PRECISION: Final = 0.9
LEAST_LEMON_RECALL: Final = 0.85
LEMONS_KNOWN_DAYS: Final = 90.0
"""Lemons are to be known after so many days. Source: after 30 days not even who knows every true fault finds so many
of them at that precision, and after 60 days just about; docs/explanation/decisions.md has the figures."""

LEAST_FAULTS: Final = 20
"""A class with fewer faults is held to nothing by itself: they say too little. Source: our choice."""


class Row(msgspec.Struct, frozen=True):
    """One aim.

    Attributes:
        name: of the figure.
        value: `None` where there was nothing to measure.
        aim: in words.
        met: `None` where the trials are too short or too few to say; that fails nobody.
    """

    name: str
    value: float | None
    aim: str
    met: bool | None


class Compared(msgspec.Struct, frozen=True):
    """One figure of two policies on the same faults.

    Attributes:
        released, candidate: means over the seeds.
        low, high: interval of the mean difference, candidate less released.
        worse: the whole interval is on the bad side.
    """

    name: str
    released: float
    candidate: float
    low: float
    high: float
    worse: bool


class GateVerdict(msgspec.Struct, frozen=True):
    """What a gate says. `release`: whose playbooks were compared; `same`: they are those of the candidate."""

    nodes: int
    days: float
    seeds: list[int]
    release: str
    same: bool
    aims: list[Row]
    lemons: list[Known]
    compared: list[Compared]

    @property
    def failures(self) -> list[str]:
        """Why it does not pass, a sentence each; nothing when it does."""
        missed = [
            f"{row.name} is {'unknown' if row.value is None else f'{row.value:.4g}'}, the aim is {row.aim}"
            for row in self.aims
            if row.met is False
        ]
        worse = [
            f"{each.name}: {each.candidate:.6g} instead of {each.released:.6g}, worse than {self.release} by more than "
            f"chance ({each.low:+.3g} to {each.high:+.3g})"
            for each in self.compared
            if each.worse
        ]
        return missed + worse


def aims(trials: Sequence[Trial], model: Model) -> list[Row]:
    """Return every aim and whether it is met. Counts are those of all seeds together."""
    runs = [each.result for each in trials]
    cordons, false = sum(run.cordons for run in runs), sum(run.false_cordons for run in runs)
    shown = [name for name in model.classes if _shows(model, name)]
    truth, detected = _counts(runs, shown)
    rows = [
        _least("precision of cordons", _share(cordons - false, cordons), LEAST_PRECISION),
        _least("recall of hardware that shows", _share(detected, truth), LEAST_RECALL),
        _most("false cordons, of all", _share(false, cordons), MOST_FALSE),
        _most("cordons for decoys", float(sum(run.decoy_cordons for run in runs)), 0.0),
    ]
    return [*rows, *_of_classes(runs, shown), *_of_lemons(trials)]


def _shows(model: Model, name: str) -> bool:
    declared = model.classes[name]
    return declared.kind in NODE_FAULTS - {Kind.HIDDEN} and not declared.redundant


def _counts(runs: Sequence[Result], names: Sequence[str]) -> tuple[int, int]:
    of_classes = [run.per_class[name] for run in runs for name in names]
    return sum(each.truth for each in of_classes), sum(each.detected for each in of_classes)


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _least(name: str, value: float | None, limit: float) -> Row:
    return Row(name, value, f"≥ {limit:g}", value is not None and value >= limit)


def _most(name: str, value: float | None, limit: float) -> Row:
    return Row(name, value, f"≤ {limit:g}", value is not None and value <= limit)


def _of_classes(runs: Sequence[Result], names: Sequence[str]) -> list[Row]:
    """Return recall and precision of each class that came often enough: a rare one does not show in the sums."""
    rows = []
    for name in names:
        truth, detected = _counts(runs, [name])
        if truth >= LEAST_FAULTS:
            right = [run.per_class[name].precision for run in runs]
            precision = [each for each in right if each is not None]
            rows.append(_recall(name, truth, detected))
            rows += [_least(f"precision of {name}", statistics.fmean(precision), LEAST_PRECISION)] if precision else []
    return rows


def _recall(name: str, truth: int, detected: int) -> Row:
    """Return whether a class is found; a few that were missed by chance do not decide, as they would of the sum."""
    likely = share_of(detected, truth - detected)[1].high
    return Row(f"recall of {name}", detected / truth, f"≥ {LEAST_RECALL:g}", (likely or 0.0) >= LEAST_RECALL)


def _of_lemons(trials: Sequence[Trial]) -> list[Row]:
    after = [each for each in lemons_known(trials) if each.days == LEMONS_KNOWN_DAYS]
    names = tuple(f"lemons after {LEMONS_KNOWN_DAYS:g} days: {what}" for what in ("precision", "recall"))
    if not after or not after[0].lemons:
        return [
            Row(name, None, f"≥ {limit:g}", met=None)
            for name, limit in zip(names, (LEAST_LEMON_PRECISION, LEAST_LEMON_RECALL), strict=True)
        ]
    return [
        _least(names[0], after[0].precision, LEAST_LEMON_PRECISION),
        _least(names[1], after[0].recall, LEAST_LEMON_RECALL),
    ]


def lemons_known(trials: Sequence[Trial]) -> list[Known]:
    """Return how lemons were known after each horizon that the trials reached."""
    return [known(runs) for runs in zip(*(each.lemons for each in trials), strict=True)]


@dataclass(frozen=True, slots=True)
class Figure:
    """What two policies are compared by. `better`: 1 where more is better, -1 where less is."""

    name: str
    better: int
    of: Callable[[Result], float | None]


def _ettr_of(gpus: str) -> Callable[[Result], float]:
    return lambda run: run.ettr[gpus]


FIGURES: Final = (
    Figure("precision of cordons", 1, lambda run: run.precision),
    Figure("recall of hardware that shows", 1, lambda run: run.recall),
    Figure("false cordons", -1, lambda run: run.false_cordons),
    Figure("node-hours with a missed fault", -1, lambda run: run.missed_fault_node_hours),
    Figure("availability", 1, lambda run: run.availability),
    Figure("tickets", -1, lambda run: run.tickets),
    Figure("pages", -1, lambda run: run.pages),
    *(Figure(f"ETTR of a job of {gpus:,} GPUs", 1, _ettr_of(str(gpus))) for gpus in JOBS),
)


def compared(released: Sequence[Trial], candidate: Sequence[Trial]) -> list[Compared]:
    """Return two policies beside each other; the trials of the same place had the same fleet and the same faults.

    A figure is worse when its mean difference is, by more than chance explains. Ten figures are looked at, so that
    each is held to 99.5 % on the bad side: one harmless change in twenty fails by chance, not one in four.
    """
    rows = []
    for figure in FIGURES:
        pairs = [
            (before, after)
            for one, other in zip(released, candidate, strict=True)
            if (before := figure.of(one.result)) is not None and (after := figure.of(other.result)) is not None
        ]
        if len(pairs) > 1:
            rows.append(_compared(figure, pairs))
    return rows


def _compared(figure: Figure, pairs: Sequence[tuple[float, float]]) -> Compared:
    differences = [after - before for before, after in pairs]
    mean, count = statistics.fmean(differences), len(pairs)
    half = _T99[max(each for each in _T99 if each < count)] * statistics.stdev(differences) / math.sqrt(count)
    low, high = mean - half, mean + half
    return Compared(
        figure.name,
        statistics.fmean(before for before, _ in pairs),
        statistics.fmean(after for _, after in pairs),
        low,
        high,
        worse=high < 0.0 if figure.better > 0 else low > 0.0,
    )


_T99: Final[Mapping[int, float]] = {
    1: 63.66, 2: 9.92, 3: 5.84, 4: 4.60, 5: 4.03, 6: 3.71, 7: 3.50, 8: 3.36, 9: 3.25, 10: 3.17, 11: 3.11, 12: 3.05,
    13: 3.01, 14: 2.98, 15: 2.95, 16: 2.92, 17: 2.90, 18: 2.88, 19: 2.86, 20: 2.85, 24: 2.80, 29: 2.76,
}  # fmt: skip
"""Degrees of freedom → Student's t at 99.5 %; in between the next lower one holds. Source: NIST/SEMATECH e-Handbook of
Statistical Methods 1.3.6.7.2."""
