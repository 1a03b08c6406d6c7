"""Figures of a simulation: what was found of what was there, how fast, and what it cost.

docs/explanation/decisions.md says how each is defined.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from controller.simulation.model import NODE_FAULTS
from controller.simulation.run import Asked
from controller.simulation.score import HOUR_S, Score, Seen, is_visible
from controller.simulation.truth import DAY_S

JOBS: Final = (128, 1024, 9600)
"""GPUs of the reference jobs."""
GPUS_A_NODE: Final = 8
CHECKPOINT_S: Final = 600.0
"""Between two checkpoints of a reference job. Source: our choice; Meta has 5 to 60 min."""
RESUME_S: Final = 60.0
"""Until a job goes on once a spare node stands in. Source: ByteRobust, 46 to 65 s with standbys."""


class ClassResult(msgspec.Struct, frozen=True):
    """One class of fault.

    Attributes:
        truth: so many were there.
        detected: so many of them an incident was opened for.
        precision: share of the cordons on account of the class that were right, `None` without any.
        recall: detected of truth.
        mttd_s: from a fault's beginning to its incident, median.
        mtti_s: from a fault's beginning to its node being out, median.
        mttr_s: from a fault's beginning to its node's return, mean.
    """

    truth: int
    detected: int
    precision: float | None
    recall: float | None
    mttd_s: float | None
    mtti_s: float | None
    mttr_s: float | None


class Result(msgspec.Struct, frozen=True):
    """One run, or several put together.

    Attributes:
        precision, recall: over the classes of hardware that show.
        false_cordons: cordons of nodes that had no fault of their own.
        decoy_cordons: of those, the ones that a decoy brought about.
        recidivism: faults that came back after a repair that was taken for one, of all that were detected.
        budget_used: most nodes held at once, of all.
        stages_s: mean time of a step by what it is for.
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
    recidivism: float | None
    budget_used: float
    tickets: int
    pages: int
    stages_s: dict[str, float]
    lemons: dict[str, float | None]


def result_of(asked: Asked, score: Score, *, took_s: float) -> Result:
    """Return the figures of a run."""
    seen = list(score.seen.values())
    visible = [each for each in seen if is_visible(each.fault) and not each.fault.redundant]
    right = sum(cordon.right for cordon in score.cordons)
    decoys = {name for name, each in asked.model.classes.items() if each.kind not in NODE_FAULTS}
    nodes = len(score.world.nodes)
    return Result(
        nodes=nodes,
        days=asked.days,
        seed=asked.seed,
        node_days_per_s=nodes * asked.days / took_s,
        incidents=score.incidents,
        per_class={name: _of_class(name, score) for name in asked.model.classes},
        cordons=len(score.cordons),
        false_cordons=len(score.cordons) - right,
        decoy_cordons=sum(not cordon.right and cordon.cause in decoys for cordon in score.cordons),
        missed_fault_node_hours=score.missed_s / HOUR_S,
        availability=1.0 - score.out_s / (nodes * asked.days * DAY_S),
        ettr=_ettr(score, nodes * asked.days),
        precision=_share(right, len(score.cordons)),
        recall=_share(sum(bool(each.detected_at) for each in visible), len(visible)),
        recidivism=_share(score.came_back, sum(bool(each.detected_at) for each in visible)),
        budget_used=score.most_held / nodes,
        tickets=score.tickets,
        pages=score.pages,
        stages_s={name: statistics.fmean(times) for name, times in sorted(score.stages_s.items())},
        lemons=_lemons(score),
    )


def _of_class(name: str, score: Score) -> ClassResult:
    seen = [each for each in score.seen.values() if each.fault.name == name]
    cordons = [cordon for cordon in score.cordons if cordon.cause == name]
    detected = [each for each in seen if each.detected_at]
    return ClassResult(
        truth=len(seen),
        detected=len(detected),
        precision=_share(sum(cordon.right for cordon in cordons), len(cordons)),
        recall=_share(len(detected), len(seen)),
        mttd_s=_of(statistics.median, _times(detected, lambda each: each.detected_at)),
        mtti_s=_of(statistics.median, _times(detected, lambda each: each.isolated_at)),
        mttr_s=_of(statistics.fmean, _times(detected, lambda each: each.returned_at)),
    )


def _times(seen: Iterable[Seen], moment: Callable[[Seen], float]) -> list[float]:
    return [moment(each) - each.began_at for each in seen if moment(each)]


def _of(average: Callable[[Sequence[float]], float], times: Sequence[float]) -> float | None:
    return average(times) if times else None


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


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


def _ettr(score: Score, node_days: float) -> dict[str, float]:
    """Return what jobs of several sizes get out of their time: lost work, detection and a restart for each failure.

    Source of the form: Meta's expected ETTR, by the fault model.
    """
    stops = [each for each in score.seen.values() if is_visible(each.fault) and not each.fault.redundant]
    answer_s = score.world.model.repairs.answer.median_s
    lost = [_lost_s(each, answer_s) for each in stops]
    rate = (len(stops) + score.came_back) / (node_days * DAY_S)
    loss_s = statistics.fmean(lost) if lost else 0.0
    return {str(gpus): math.exp(-gpus / GPUS_A_NODE * rate * loss_s) for gpus in JOBS}


NOBODY_KNOWS_S: Final = 1800.0
"""A job that nobody stopped stands so long until its collective gives up. Source: PyTorch's default of NCCL's time-out
is 10 min; 30 min is what large trainings set."""


def _lost_s(seen: Seen, answer_s: float) -> float:
    """Return what a fault costs a job: half a checkpoint's interval, the way to a spare, and until the node is out.

    Where nothing takes the node out, the collective gives up at last, and a person finds the node and does it.
    """
    waited = seen.isolated_at - seen.began_at if seen.isolated_at else NOBODY_KNOWS_S + answer_s
    return CHECKPOINT_S / 2 + RESUME_S + min(waited, NOBODY_KNOWS_S + answer_s)


def together(results: Sequence[Result], choose: Callable[[Result], float | None]) -> tuple[float, float, float] | None:
    """Return mean and 95 % interval of a figure that is never less than 0 over seeds, `None` where no run has it.

    Source: Student's t at the sizes that are common; a bootstrap would say the same of twenty seeds.
    """
    values = [value for value in map(choose, results) if value is not None]
    if not values:
        return None
    mean = statistics.fmean(values)
    if len(values) == 1:
        return mean, mean, mean
    half = _T95.get(len(values) - 1, 1.96) * statistics.stdev(values) / math.sqrt(len(values))
    return mean, max(0.0, mean - half), mean + half


_T95: Final[Mapping[int, float]] = {
    1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26, 10: 2.23,
    11: 2.20, 12: 2.18, 13: 2.16, 14: 2.14, 15: 2.13, 16: 2.12, 17: 2.11, 18: 2.10, 19: 2.09, 24: 2.06, 29: 2.05,
}  # fmt: skip
