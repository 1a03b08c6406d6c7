"""From what the ranks of a group say to what the group measured: as slow as the slowest says, or no result at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from checks.bench_outcome import Outcome
from checks.bench_result import BenchMachine, BenchNumber, BenchResult
from controller.bench_events import BenchEnded, BenchStopped
from controller.policy.benching.book import BenchBook, BenchRun, Lease
from controller.policy.localising.trials import Group
from controller.policy.sweeping.book import Sweep
from controller.sweep_events import SweepGroupEnded, SweepNodeLeft

MEET_S = 90.0
"""How long rank 0 may take to say its unique id. Source: our choice; ten seconds of idleness are proven before it
begins, and a process with CUDA and NCCL is up within some ten seconds more."""

Followed = SweepGroupEnded | SweepNodeLeft | BenchStopped


def followed(bench: BenchBook, sweep: Sweep, group: Group, run: BenchRun, now: float) -> Iterator[Followed]:
    """Yield what became of a group that is under a run: nothing while it goes on within its time."""
    lease = _lease(bench, run)
    left = dict(_left(group, bench, run))
    if left:
        yield from (SweepNodeLeft(sweep.sweep_id, node, because) for node, because in left.items())
        return
    results = results_of(bench, run)
    absent = {node for ended in results.values() for node in ended.result.missing} - results.keys()
    if results and results.keys() | absent >= set(group.nodes):
        yield _ended(sweep, group, results)
        if absent and not run.ended_at:
            yield BenchStopped(run.run_id, "fleetmend", f"{', '.join(sorted(absent))} never arrived")
    elif run.ended_at or (lease is not None and lease.expires_at <= now):
        yield _broken_off(sweep, group, run, results)
    elif lease is not None and group.number not in sweep.met and lease.granted_at + MEET_S <= now:
        because = f"rank 0 on {group.nodes[0]} did not say its unique id within {MEET_S:g} s"
        yield _no_result(sweep, group, Outcome.ERROR, because, missing=[group.nodes[0]])
        yield BenchStopped(run.run_id, "fleetmend", because)


def results_of(bench: BenchBook, run: BenchRun) -> Mapping[str, BenchEnded]:
    """Return what the ranks of a run came back with so far."""
    lease = _lease(bench, run)
    return lease.results if lease is not None else run.results


def _lease(bench: BenchBook, run: BenchRun) -> Lease | None:
    return bench.leases.get(next(iter(run.leases), ""))


def _left(group: Group, bench: BenchBook, run: BenchRun) -> Iterator[tuple[str, str]]:
    """Yield the nodes that say that they take no part, and why."""
    lease = _lease(bench, run)
    results, refused = results_of(bench, run), lease.refused if lease is not None else {}
    for node in group.nodes:
        if node in results and results[node].result.outcome is Outcome.SKIP:
            yield node, results[node].result.because
        elif node not in results and node in refused:
            yield node, f"it did not take the order: {refused[node][1]}"


def _ended(sweep: Sweep, group: Group, results: Mapping[str, BenchEnded]) -> SweepGroupEnded:
    """An error of one rank is one of all; so is a failure that a rank sees by itself, e.g. a wrong sum."""
    said = [(node, results[node].result) for node in group.nodes if node in results]
    missing = sorted({each for _, result in said for each in result.missing if each in group.nodes})
    wrong = {outcome: _first(said, outcome) for outcome in (Outcome.ERROR, Outcome.FAIL)}
    if missing or wrong[Outcome.ERROR]:
        because = wrong[Outcome.ERROR] or f"{', '.join(missing)} never arrived"
        return _no_result(sweep, group, Outcome.ERROR, because, missing=missing)
    because = wrong[Outcome.FAIL] or f"{len(said)} ranks measured it"
    outcome = Outcome.FAIL if wrong[Outcome.FAIL] else Outcome.PASS
    machine = machine_of(result.machine for _, result in said)
    return SweepGroupEnded(sweep.sweep_id, group.number, outcome, because, _worst(said), machine)


def _first(said: Iterable[tuple[str, BenchResult]], outcome: Outcome) -> str:
    return next((f"{node}: {result.because}" for node, result in said if result.outcome is outcome), "")


def _broken_off(sweep: Sweep, group: Group, run: BenchRun, results: Mapping[str, BenchEnded]) -> SweepGroupEnded:
    """A lease or a run is over and not every rank has spoken. When none has, that says nothing of any one of them."""
    silent = [node for node in group.nodes if node not in results]
    if any(outcome == Outcome.SKIP for node in silent for outcome in run.outcomes.get(node, {}).values()):
        return _no_result(sweep, group, Outcome.SKIP, run.ended_because or "its lease was taken back")
    if not results:
        because = run.ended_because or "no rank said anything before its lease expired"
        return _no_result(sweep, group, Outcome.ERROR, because)
    because = f"{', '.join(silent)} said nothing before the lease expired"
    return _no_result(sweep, group, Outcome.ERROR, because, missing=silent)


def _no_result(
    sweep: Sweep, group: Group, outcome: Outcome, because: str, *, missing: Sequence[str] = ()
) -> SweepGroupEnded:
    return SweepGroupEnded(sweep.sweep_id, group.number, outcome, because, missing=list(missing))


def _worst(said: Iterable[tuple[str, BenchResult]]) -> list[BenchNumber]:
    """Return one number for each lane: of the largest message, the least that any rank says, or that it has none."""
    found: dict[str, BenchNumber] = {}
    for number in (number for _, result in said for number in result.numbers if number.lane):
        before = found.get(number.lane)
        if before is None or _rank(number) < _rank(before):
            found[number.lane] = number
    return [found[lane] for lane in sorted(found)]


def _rank(number: BenchNumber) -> tuple[int, float]:
    return -number.size_bytes, -1.0 if number.value is None else number.value


def machine_of(machines: Iterable[BenchMachine]) -> BenchMachine:
    """Return what a group was measured on; where its nodes differ, all that there is, joined by `+`."""
    every = list(machines)
    sku, driver, nccl = (
        "+".join(sorted({getattr(machine, name) for machine in every} - {""})) for name in ("sku", "driver", "nccl")
    )
    return BenchMachine(sku, driver, nccl, gpus=sum(machine.gpus for machine in every))
