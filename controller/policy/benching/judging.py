"""What a result means: every number held against the limits and against its peers, and what fails by that. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import median

from checks.bench_baseline import Fingerprint, FleetShift
from checks.bench_judging import judge_result
from checks.bench_limits import BenchLimits, BenchMetric
from checks.bench_outcome import Outcome, worst
from checks.bench_result import BenchMachine, Benchmark, BenchNumber, BenchResult
from controller.bench_events import JudgedNumber
from controller.policy.benching.book import BenchBook

WITHOUT_NUMBERS = frozenset({Benchmark.DCGM})
"""Benchmarks that say what is wrong in words alone. Any other one that passes without a number has measured nothing."""

OF_FILE_SYSTEMS = frozenset({"storage_read"})
"""Metrics that no GPU takes part in."""

REASONS_NAMED = 3
"""So many of the things that are wrong are told in the sentence of a result; its numbers say the rest."""


def sku_of(machine: BenchMachine, limits: BenchLimits) -> str:
    """Return the kind of the machine's GPUs by which limits are known, else what it says itself."""
    return limits.sku_of(machine.sku) or machine.sku


def fingerprint_of(number: BenchNumber, machine: BenchMachine) -> Fingerprint | None:
    """Return what makes a number of a node by itself comparable, `None` when the node does not say what it is.

    A file system is known by its kind and place: no driver of a GPU is between it and who reads it.
    """
    is_known = machine.topology if number.metric in OF_FILE_SYSTEMS else machine.sku and machine.driver
    if not is_known:
        return None
    return Fingerprint(
        number.metric,
        machine.sku,
        machine.driver,
        machine.nccl,
        machine.topology,
        number.size_bytes,
        way=number.way,
    )


def judge_number(number: BenchNumber, machine: BenchMachine, limits: BenchLimits, book: BenchBook) -> JudgedNumber:
    """Return what one number means. Its outcome is empty when there is nothing to hold it against."""
    metric = _metric(limits, number.metric)
    if metric is None:
        return JudgedNumber(number, "", f"Nobody knows a metric {number.metric[:60]!r}; it is kept and not judged.")
    fingerprint = fingerprint_of(number, machine)
    floor = limits.floor(metric.name, sku_of(machine, limits), number.size_bytes or None)
    baseline = book.baselines.get(fingerprint) if fingerprint is not None else None
    shift = _excuse(metric, book.shifts.get(fingerprint)) if fingerprint is not None else None
    judgement = judge_result(metric, number.value, floor=floor, baseline=baseline, shift=shift)
    has_limit = baseline is not None or (floor is not None and (floor.fail is not None or floor.warn is not None))
    outcome = str(judgement.outcome) if has_limit or judgement.outcome is Outcome.ERROR else ""
    return JudgedNumber(number, outcome, judgement.because, dict(judgement.inputs), fingerprint)


def _excuse(metric: BenchMetric, shift: FleetShift | None) -> FleetShift | None:
    """Return the shift if it can explain a bad number: the fleet moved to the worse side."""
    return shift if shift is not None and (shift.by > 0.0) == metric.higher_is_worse else None


def _metric(limits: BenchLimits, name: str) -> BenchMetric | None:
    try:
        return limits.metric(name)
    except KeyError:
        return None


def judge_numbers(result: BenchResult, limits: BenchLimits, book: BenchBook) -> list[JudgedNumber]:
    """Return what each number of a result means; those of a run that went wrong are kept as they are."""
    if not result.outcome.is_measured:
        return [JudgedNumber(number, "", "") for number in result.numbers]
    return [judge_number(number, result.machine, limits, book) for number in result.numbers]


def outcome_of(result: BenchResult, numbers: list[JudgedNumber]) -> tuple[Outcome, str]:
    """Return the outcome of a whole result, and its sentence.

    Numbers that nothing can be held against neither pass nor fail; where there are no others, the result warns. A run
    that measured nothing is an error, whatever it says of itself.
    """
    faults = [fault.severity for fault in result.faults]
    if result.outcome is Outcome.SKIP:
        return Outcome.SKIP, result.because
    if result.outcome is Outcome.PASS and not numbers and not faults and result.benchmark not in WITHOUT_NUMBERS:
        return Outcome.ERROR, f"{result.benchmark} says that it ran, and gave no number."
    judged = [Outcome(each.outcome) for each in numbers if each.outcome]
    itself = [] if result.outcome is Outcome.PASS and (judged or numbers) else [result.outcome]
    unjudged = [Outcome.WARN] if numbers and not judged and result.outcome.is_measured else []
    outcome = worst([*itself, *judged, *unjudged, *faults])
    return outcome, _because(outcome, result, numbers)


def _because(outcome: Outcome, result: BenchResult, numbers: list[JudgedNumber]) -> str:
    reasons = list(dict.fromkeys(_reasons(outcome, result, numbers)))
    if not reasons:
        return result.because
    more = f" And {len(reasons) - REASONS_NAMED} more." if len(reasons) > REASONS_NAMED else ""
    return " ".join(reasons[:REASONS_NAMED]) + more


def _reasons(outcome: Outcome, result: BenchResult, numbers: list[JudgedNumber]) -> Iterator[str]:
    if outcome is Outcome.PASS:
        return
    yield from (fault.because for fault in result.faults if fault.severity is outcome)
    if result.outcome is outcome:
        yield result.because
    judged = [each for each in numbers if each.outcome == outcome]
    yield from map(_told, judged)
    if outcome is Outcome.WARN and not judged:
        yield from _unjudged([each for each in numbers if not each.outcome])


def _told(each: JudgedNumber) -> str:
    device = f"{each.number.device}: " if each.number.device else ""
    return f"{device}{each.because}"


def _unjudged(numbers: list[JudgedNumber]) -> Iterator[str]:
    """Yield one sentence for each metric: eight GPUs without a limit are one thing to know, and not eight."""
    alike: dict[str, list[JudgedNumber]] = {}
    for each in numbers:
        alike.setdefault(each.number.metric, []).append(each)
    for metric, group in alike.items():
        values = [each.number.value for each in group if each.inputs and each.number.value is not None]
        if len(values) < len(group) or len(group) == 1:
            yield from map(_told, group)
        else:
            reached = f"{len(values)} numbers from {min(values):.4g} to {max(values):.4g}"
            yield f"{metric}: {reached}, without a limit or enough peers to judge them by."


def values_by_fingerprint(numbers: list[JudgedNumber]) -> dict[Fingerprint, float]:
    """Return what a node reached in each fingerprint: the median over its devices."""
    found: dict[Fingerprint, list[float]] = {}
    for each in numbers:
        value = each.number.value
        if each.fingerprint is not None and value is not None and math.isfinite(value) and value > 0.0:
            found.setdefault(each.fingerprint, []).append(value)
    return {fingerprint: median(values) for fingerprint, values in found.items()}


def nothing_speaks_against(result: BenchResult, numbers: list[JudgedNumber]) -> bool:
    """Return whether a result may stand for healthy hardware: measured, without a fault, a warning or a failure."""
    wrong = {Outcome.WARN, Outcome.FAIL, Outcome.ERROR}
    return result.outcome is Outcome.PASS and not result.faults and not any(each.outcome in wrong for each in numbers)
