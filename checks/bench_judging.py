"""What a benchmark's number means: a floor that is absolute, a baseline of peers, and one of five outcomes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from checks.bench_baseline import Baseline, FleetShift
from checks.bench_limits import BenchFloor, BenchMetric
from checks.bench_outcome import Outcome, worst

FAIL_SHARE = 0.93
WARN_SHARE = 0.965
"""Shares of the peers' median, for a node by itself. Source: ai-infrastructure-on-azure a01b073, which asks for another
node at 7 % below and warns at 3.5 %."""

GROUP_FAIL_SHARE = 0.85
GROUP_WARN_SHARE = 0.93
"""Shares of the reference for groups of nodes, whose results vary more. Source: the reference of active benchmarks."""

DEVIATIONS = 3.5
"""Robust deviations below the median from which a node stands out. Source: Iglewicz and Hoaglin (1993)."""


MOST_ROUNDED = 10_000.0
"""Four digits are written of what is less: no benchmark repeats itself more exactly. Source: our choice."""


@dataclass(frozen=True, slots=True)
class BenchJudgement:
    """An outcome and why. `inputs`: the number and everything that it was held against."""

    outcome: Outcome
    because: str
    inputs: Mapping[str, str] = field(default_factory=dict)


def judge_result(
    metric: BenchMetric,
    value: float | None,
    *,
    floor: BenchFloor | None = None,
    baseline: Baseline | None = None,
    shift: FleetShift | None = None,
) -> BenchJudgement:
    """Return what a node's number means.

    It fails below the floor, and when it is both far below its peers' median and out of their spread. While the whole
    fleet has shifted nothing fails: the cause is not the node. Without floor and baseline nothing can pass.

    Args:
        value: in the metric's unit; `None` when the benchmark ran and gave none.
        baseline: of the same fingerprint.
        shift: of the fleet, when there is one now.
    """
    if value is None or not math.isfinite(value) or value <= 0.0:
        return BenchJudgement(Outcome.ERROR, f"The {metric.summary} gave no number.")
    inputs = _inputs(value, floor, baseline)
    failed = _failed(metric, value, floor, baseline)
    if failed and shift is not None:
        return BenchJudgement(Outcome.WARN, f"{failed} {shift.because}", inputs)
    if failed:
        return BenchJudgement(Outcome.FAIL, failed, inputs)
    warned = _warned(metric, value, floor, baseline)
    if warned:
        return BenchJudgement(Outcome.WARN, warned, inputs)
    return BenchJudgement(Outcome.PASS, f"The {metric.summary} is {_said(metric, value)}.", inputs)


def judge_group(
    shares: Mapping[str, float | None], *, shift: FleetShift | None = None
) -> tuple[Outcome, dict[str, Outcome]]:
    """Return the outcome of a group of nodes, and of each of its lanes.

    Args:
        shares: lane → its bandwidth as a share of the reference for groups of the same fingerprint, `None` for a lane
            that gave no number. No lane at all is an error.
        shift: while the whole fleet has shifted nothing fails.
    """
    lanes = {lane: _group_lane(share, shift) for lane, share in shares.items()}
    return worst(lanes.values()), lanes


def _group_lane(share: float | None, shift: FleetShift | None) -> Outcome:
    if share is None or not math.isfinite(share) or share <= 0.0:
        return Outcome.ERROR
    if share < GROUP_FAIL_SHARE:
        return Outcome.FAIL if shift is None else Outcome.WARN
    return Outcome.WARN if share < GROUP_WARN_SHARE else Outcome.PASS


def _failed(metric: BenchMetric, value: float, floor: BenchFloor | None, baseline: Baseline | None) -> str:
    """Return why the number is a failure, empty when it is none."""
    if floor is not None and floor.fail is not None and _is_worse(metric, value, floor.fail):
        limit = _said(metric, floor.fail)
        return f"The {metric.summary} is {_said(metric, value)}, the limit is {limit} ({floor.source})."
    if baseline is None:
        return ""
    share, deviations = _beside_peers(metric, value, baseline)
    if share >= FAIL_SHARE or deviations > -DEVIATIONS:
        return ""
    return (
        f"The {metric.summary} is {_said(metric, value)}, {1 - share:.1%} worse than the median "
        f"{_rounded(baseline.median)} of {baseline.peers} peers, and {-deviations:.1f} robust deviations from it."
    )


def _warned(metric: BenchMetric, value: float, floor: BenchFloor | None, baseline: Baseline | None) -> str:
    """Return why the number is no pass, empty when it is one."""
    if floor is not None and floor.warn is not None and _is_worse(metric, value, floor.warn):
        wanted = _said(metric, floor.warn)
        return f"The {metric.summary} is {_said(metric, value)}, it should be {wanted} ({floor.source})."
    if baseline is None:
        if floor is not None and (floor.fail is not None or floor.warn is not None):
            return ""
        return f"The {metric.summary} is {_said(metric, value)}, without a limit or enough peers to judge it by."
    share, deviations = _beside_peers(metric, value, baseline)
    if share >= WARN_SHARE and deviations > -DEVIATIONS:
        return ""
    return (
        f"The {metric.summary} is {_said(metric, value)}, {1 - share:.1%} worse than the median "
        f"{_rounded(baseline.median)} of {baseline.peers} peers."
    )


def _beside_peers(metric: BenchMetric, value: float, baseline: Baseline) -> tuple[float, float]:
    """Return the share of the median and the robust deviations from it, both smaller the worse the value is."""
    deviations = baseline.deviations_of(value)
    if metric.higher_is_worse:
        return baseline.median / value, -deviations
    return value / baseline.median, deviations


def _is_worse(metric: BenchMetric, value: float, limit: float) -> bool:
    return value > limit if metric.higher_is_worse else value < limit


def _said(metric: BenchMetric, value: float) -> str:
    return f"{_rounded(value)} {metric.unit}"


def _rounded(value: float) -> str:
    return f"{value:.4g}" if value < MOST_ROUNDED else f"{value:.0f}"


def _inputs(value: float, floor: BenchFloor | None, baseline: Baseline | None) -> dict[str, str]:
    limits = {} if floor is None else {"fail": floor.fail, "warn": floor.warn}
    peers = {} if baseline is None else {"median": baseline.median, "deviation": baseline.deviation}
    count = {} if baseline is None else {"peers": float(baseline.peers)}
    numbers = {"value": value, **limits, **peers, **count}
    return {name: f"{number:g}" for name, number in numbers.items() if number is not None}
