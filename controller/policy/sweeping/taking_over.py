"""What a controller says of sweeps when it takes over: what ran under an earlier one has lost its unique id."""

from __future__ import annotations

from collections.abc import Iterator

from checks.bench_outcome import Outcome
from controller.bench_events import BenchStopped
from controller.events import Event
from controller.policy.belief import Belief
from controller.sweep_events import SweepGroupEnded

LOST = "the controller stopped while it ran, and its unique id is lost"


def interrupted(belief: Belief) -> Iterator[Event]:
    """Yield the end of every group that has a lease: it is asked again. What only waits for a lease goes on waiting."""
    for sweep in belief.sweeps.open():
        for number, run_id in list(sweep.runs.items()):
            run = belief.bench.runs.get(run_id)
            if run is not None and run.leases:
                yield SweepGroupEnded(sweep.sweep_id, number, Outcome.ERROR, LOST)
                yield BenchStopped(run_id, "fleetmend", LOST)
