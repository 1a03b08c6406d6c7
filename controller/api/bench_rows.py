"""What is believed of active benchmarks as the API shows it. Pure, like rows.py."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from checks.bench_baseline import Baseline, Fingerprint
from checks.bench_catalogue import CATALOGUE
from checks.bench_limits import BenchLimits, BenchMetric
from checks.bench_outcome import Outcome
from controller.api.bench_charts import Measured
from controller.api.bench_shapes import (
    BaselineShown,
    BenchmarkShown,
    EarlierResult,
    FaultShown,
    HeadlineShown,
    LeaseShown,
    MachineShown,
    NumberShown,
    ResultDetail,
    ResultRow,
    RunDetail,
    RunRow,
    TurnShown,
)
from controller.api.moments import iso, iso_or_none
from controller.bench_events import BenchJudged, JudgedNumber
from controller.policy.benching.bench_rules import BenchRules
from controller.policy.benching.book import BenchBook, BenchRun, Kept, Lease, Origin, Turn
from wire.messages import BenchProgress

Progress = Mapping[str, Mapping[str, BenchProgress]]
"""Lease → node → how far it is."""


def benchmark_rows(rules: BenchRules) -> list[BenchmarkShown]:
    """Return what there is to measure with."""
    limits_s = list(rules.tier_limit_s)
    return [
        BenchmarkShown(name, about.measures, about.finds, about.needs, limits_s) for name, about in CATALOGUE.items()
    ]


def run_row(run: BenchRun) -> RunRow:
    """Return a run for a list."""
    return RunRow(
        run.run_id,
        list(run.nodes),
        list(run.benchmarks),
        run.tier,
        run.purpose,
        run.by,
        run.because,
        iso(run.asked_at),
        run.waiting,
        run.outcome,
        iso_or_none(run.ended_at),
        run.ended_because,
        run.incident_id or None,
    )


def run_detail(run: BenchRun, book: BenchBook, progress: Progress) -> RunDetail:
    """Return a run with all of its turns, in the order in which they are begun."""
    return RunDetail(
        **msgspec.structs.asdict(run_row(run)), turns=[_turn(run, book, progress, *turn) for turn in _turns(run)]
    )


def _turns(run: BenchRun) -> Iterator[tuple[str, str]]:
    return ((node, benchmark) for node in run.nodes for benchmark in run.benchmarks)


def _turn(run: BenchRun, book: BenchBook, progress: Progress, node: str, benchmark: str) -> TurnShown:
    lease = next((book.leases[each] for each in run.leases if _is_for(book, each, node, benchmark)), None)
    because = run.sentences.get(node, {}).get(benchmark, "")
    if lease is not None and node not in lease.judged:
        said = progress.get(lease.lease_id, {}).get(node)
        share = min(1.0, max(0.0, said.share)) if said is not None else 0.0
        return TurnShown(node, benchmark, "running", because, share, said.text if said is not None else "")
    if Turn(run.nodes if run.together else (node,), benchmark) in run.left:
        return TurnShown(node, benchmark, "planned", because, 0.0, "")
    outcome = run.outcomes.get(node, {}).get(benchmark, "")
    return TurnShown(node, benchmark, outcome or "abandoned", because or run.stopped, 1.0, "")


def _is_for(book: BenchBook, lease_id: str, node: str, benchmark: str) -> bool:
    lease = book.leases.get(lease_id)
    return lease is not None and node in lease.nodes and lease.benchmark == benchmark


def result_row(node: str, benchmark: str, kept: Kept, limits: BenchLimits) -> ResultRow:
    """Return a result for a list."""
    return ResultRow(
        node, benchmark, kept.outcome, kept.because, iso(kept.at), kept.run_id, _headline(kept.headline, limits)
    )


def lease_row(lease: Lease) -> LeaseShown:
    """Return a lease for a list."""
    return LeaseShown(
        lease.lease_id,
        lease.run_id,
        list(lease.nodes),
        lease.benchmark,
        lease.tier,
        iso(lease.granted_at),
        iso(lease.expires_at),
        [node for node in lease.nodes if node in lease.results or node in lease.judged],
    )


def result_detail(row: ResultRow, judged: BenchJudged | None, book: BenchBook, limits: BenchLimits) -> ResultDetail:
    """Return a result with everything that the log has of it; `judged` is `None` when it has it no longer."""
    passed_at = book.passed.get(row.node, {}).get(row.benchmark, 0.0)
    earlier = book.history.get(row.node, {}).get(row.benchmark, [])
    said = judged or BenchJudged(row.node, "", row.run_id, row.benchmark, row.outcome, row.because)
    return ResultDetail(
        row.node,
        row.benchmark,
        row.outcome,
        row.because,
        row.at,
        row.run_id,
        row.headline,
        iso_or_none(passed_at),
        judged is not None,
        MachineShown(*msgspec.structs.astuple(said.machine)),
        [_number(number, limits) for number in said.numbers],
        [FaultShown(fault.code, fault.because, fault.device, fault.severity) for fault in said.faults],
        list(said.notes),
        [EarlierResult(iso(past.at), past.outcome) for past in earlier],
    )


def _headline(headline: Mapping[str, float], limits: BenchLimits) -> list[HeadlineShown]:
    return [HeadlineShown(name, value, metric_of(limits, name).unit) for name, value in headline.items()]


def metric_of(limits: BenchLimits, name: str) -> BenchMetric:
    """Return the metric; what a node says of one that nobody knows has no unit, and is shown all the same."""
    try:
        return limits.metric(name)
    except KeyError:
        return BenchMetric(name, "", name)


def _number(judged: JudgedNumber, limits: BenchLimits) -> NumberShown:
    number, metric = judged.number, metric_of(limits, judged.number.metric)
    return NumberShown(
        metric=number.metric,
        summary=metric.summary,
        unit=metric.unit,
        value=number.value,
        device=number.device,
        lane=number.lane,
        size_bytes=number.size_bytes,
        way=number.way,
        p50_s=number.p50_s,
        p99_s=number.p99_s,
        variation=number.variation,
        samples=number.samples,
        outcome=judged.outcome,
        because=judged.because,
        fail=_input(judged, "fail"),
        warn=_input(judged, "warn"),
        median=_input(judged, "median"),
        deviation=_input(judged, "deviation"),
        peers=round(_input(judged, "peers") or 0.0),
    )


def _input(judged: JudgedNumber, name: str) -> float | None:
    """Return a number that the judgement went by, as bench_judging wrote it; `None` where it went by none."""
    text = judged.inputs.get(name, "")
    return float(text) if text else None


def measured(numbers: Iterable[NumberShown]) -> Iterator[Measured]:
    """Yield what a picture can be made of: the numbers of a node by itself."""
    for number in numbers:
        if number.value is not None and number.lane in {"", "all"}:
            yield Measured(
                number.metric,
                number.summary,
                number.unit,
                number.size_bytes,
                number.value,
                number.device,
                number.way,
                number.fail,
                number.median,
                number.peers,
            )


def failed_first(rows: Iterable[ResultRow]) -> list[ResultRow]:
    """Return what failed before the rest."""
    return sorted(rows, key=lambda row: row.outcome != Outcome.FAIL)


def is_chosen(fingerprint: Fingerprint, wanted: Mapping[str, str]) -> bool:
    """Return whether a fingerprint is of the metric, kind of GPU and driver that are wanted; empty wants all."""
    return all(wanted.get(name, "") in {"", getattr(fingerprint, name)} for name in ("metric", "sku", "driver"))


def baseline_row(baseline: Baseline, book: BenchBook, limits: BenchLimits) -> BaselineShown:
    """Return what peers reach, from whom that was learnt, and whether the fleet has moved since."""
    name = baseline.fingerprint
    origin, shift = book.origins.get(name, Origin(0.0, "")), book.shifts.get(name)
    return BaselineShown(
        metric=name.metric,
        unit=metric_of(limits, name.metric).unit,
        sku=name.sku,
        driver=name.driver,
        nccl=name.nccl,
        topology=name.topology,
        size_bytes=name.size_bytes,
        nodes=name.nodes,
        crosses=name.crosses,
        way=name.way,
        median=baseline.median,
        deviation=baseline.deviation,
        peers=baseline.peers,
        learnt_from=list(origin.nodes),
        learnt_at=iso_or_none(origin.at),
        learnt_by=origin.by,
        shift=shift.because if shift is not None else "",
    )
