"""How fast a log is decided again, beside reading the same log and decoding it only, in the same run.

The log is that of a simulated fleet under the default playbooks, as `fleetmend controller export` writes it.
Each of the three is run several times by turns and its best time counts: the machine may do other work.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from benchmarks.report import Row, publish
from cli.log_files import entries_of
from controller.assembly import rules_of
from controller.events import Logged
from controller.hindsight.compare import Compare
from controller.policy.replaying.again import Again
from controller.policy.rules import Rules
from controller.settings import ControllerSettings
from controller.simulation.fleet import racks_and_leaves
from controller.simulation.model import load_model
from controller.simulation.run import Asked, simulate
from controller.store.cloud_events import cloud_event

RATE = 15.0
"""Faults of 1,000 nodes in a day: a bad month."""


def written(file: Path, rules: Rules, *, nodes: int, days: float) -> int:
    """Write the log of a simulated fleet, and return how many entries it has."""
    with file.open("wb") as lines:

        def write(entry: Logged) -> None:
            lines.write(cloud_event(entry, "main") + b"\n")

        simulate(Asked(racks_and_leaves(nodes), days, 1, load_model(rate=RATE)), rules, heard=write)
    return sum(1 for _ in file.open("rb"))


def decoded(file: Path) -> None:
    """Read a log and decode each of its lines."""
    deque(entries_of(file, whole=True), maxlen=0)


def decided(file: Path, rules: Rules) -> None:
    """Decide a log again; it must come out the same."""
    again = Again(rules)
    again.take_all(entries_of(file, whole=True))
    assert again.difference is None and again.decisions and not again.others, again.difference


def compared(file: Path, rules: Rules) -> None:
    """Put the same rules over a log; they must differ in nothing."""
    comparing = Compare(rules)
    comparing.take_all(entries_of(file, whole=True))
    found = comparing.result()
    assert found.history == found.candidate and found.history.cordons


def best_s(runs: int, *does: Callable[[], None]) -> Iterator[float]:
    """Yield the best time of each, all of them run by turns."""
    took = [[_seconds(do) for do in does] for _ in range(runs)]
    return map(min, zip(*took, strict=True))


def _seconds(do: Callable[[], None]) -> float:
    gc.collect()
    began = time.process_time()
    do()
    return time.process_time() - began


def main() -> None:
    """Print the figures and write them down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=1_000)
    parser.add_argument("--days", type=float, default=30.0)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rules = replace(rules_of(ControllerSettings(state=Path(folder))), simulated_speedup=1.0)
        file = Path(folder) / "log.jsonl"
        entries = written(file, rules, nodes=arguments.nodes, days=arguments.days)
        reading, deciding, comparing = best_s(
            arguments.runs, lambda: decoded(file), lambda: decided(file, rules), lambda: compared(file, rules)
        )
    rows = [
        Row("entries", entries, ""),
        Row("read and decoded", entries / reading, "entries/s"),
        Row("decided again", entries / deciding, "entries/s"),
        Row("decided again, of reading and decoding", 100.0 * reading / deciding, "%", ">= 20"),
        Row("compared with a candidate", entries / comparing, "entries/s"),
        Row("compared, of reading and decoding", 100.0 * reading / comparing, "%"),
    ]
    publish("replay", rows, about=f"{arguments.nodes:,} simulated nodes, {arguments.days:g} days, CPU time")


if __name__ == "__main__":
    main()
