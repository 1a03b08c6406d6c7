"""How long the planner of benchmarks holds the controller up: idle fleets of several sizes, each with a history.

Every node is free and overdue, which is the dearest there is: all of them are looked at, and the shortlist is valued.
Measured is the longest part between two turns of other work, and all parts of one planning together.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

from benchmarks.report import Row, publish
from controller.benching.planner import LOOKED_AT_ONCE, VALUED_AT_ONCE
from controller.events import Logged, NodeSeen, PresenceChanged, ScheduleObserved
from controller.policy import folding
from controller.policy.belief import Belief
from controller.policy.benching.bench_rules import BenchRules
from controller.policy.benching.scheduling import Candidate, candidates, choose, promising, shortlist
from controller.policy.rules import Budget, Rules
from wire.messages import NodeFacts

BEGAN = 1.79e9
DAY_S = 86_400.0
SIZES = (1_000, 10_000, 100_000)
FACTS = NodeFacts(gpu_count=8, orders_allowed=["bench"])
RULES = Rules((), Budget(percent=10.0), bench=BenchRules(idle_by="slurm"))


def fleet(size: int) -> Belief:
    """Return what is believed of an idle fleet, whose nodes passed everything at different times."""
    belief = Belief()
    for number in range(size):
        name = f"node-{number:06d}"
        said = (
            NodeSeen(name, "boot-1", FACTS),
            PresenceChanged(name, "online", "so"),
            ScheduleObserved(name, True, "", "", [], BEGAN, responding=True),
        )
        for event in said:
            folding.apply(belief, Logged(belief.last_event_id + 1, BEGAN, event))
        passed = {str(each): BEGAN + number % 1_000 for each in RULES.when.benchmarks}
        belief.bench.passed[name] = passed
    return belief


def planned(belief: Belief, now: float) -> Iterator[float]:
    """Plan once as the controller does, and yield how long each part took, in seconds."""
    names, found, valued = list(belief.nodes), list[tuple[float, str]](), list[Candidate]()
    for first in range(0, len(names), LOOKED_AT_ONCE):
        began = time.perf_counter()
        found += promising(belief, RULES, names[first : first + LOOKED_AT_ONCE], now)
        yield time.perf_counter() - began
    began = time.perf_counter()
    best = shortlist(found)
    yield time.perf_counter() - began
    for first in range(0, len(best), VALUED_AT_ONCE):
        began = time.perf_counter()
        valued += candidates(belief, RULES, best[first : first + VALUED_AT_ONCE], now)
        yield time.perf_counter() - began
    began = time.perf_counter()
    assert choose(belief, RULES, valued, now)
    yield time.perf_counter() - began


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    rows: list[Row] = []
    for size in parser.parse_args().sizes:
        belief = fleet(size)
        parts = list(planned(belief, BEGAN + 60 * DAY_S))
        rows.append(Row(f"{size:,} idle nodes, one planning", 1_000.0 * sum(parts), "ms"))
        rows.append(Row(f"{size:,} idle nodes, longest part", 1_000.0 * max(parts), "ms", "20" if size < 1e5 else ""))
    publish("bench_planning", rows, about="planning of benchmarks on idle nodes")


if __name__ == "__main__":
    main()
