"""How fast a report is folded, beside decoding the same log alone, and how much memory it takes as days go by.

The log is that of a fleet in which nodes fail and are mended by a playbook as in production: findings, incidents with
their playbook copied in, steps, and the looks of a scheduler and changes of levels in between, in the proportions of a
busy cell. Both numbers are of one process; what decoding alone does is the most that any reader of the log can do.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import msgspec

from benchmarks.report import Row, publish, spread
from checks.finding import Action, Finding, Verdict
from controller import events, playbooks
from controller.cell import Cell
from controller.policy.belief import Belief
from controller.policy.playbook import Playbook
from controller.policy.reporting.asked import Asked, Prices
from controller.policy.reporting.fold import Fold
from controller.reporting import Reporter
from controller.store.log import logged_of, row_of
from controller.store.sqlite import SqliteLog
from wire.messages import CheckLevel, NodeFacts

BEGIN = 1_790_000_000.0
DAY_S = 86_400.0
NODES = 2_000
PER_NODE_DAY = 4.0 / 1_000.0
"""Incidents. Source: the fault model's rate; the rest of the log is what nodes and schedulers say."""
LOOKS_PER_NODE_DAY = 3.0
STEPS = ("cordon", "drain", "collect", "reboot", "verify", "probation", "uncordon")
DECODED = 60_000
"""Entries that are timed; the fold is warm by then."""


@dataclass(slots=True)
class Fleet:
    """Writes the log of a fleet, entry by entry, in the order of time."""

    seed: int = 1
    number: int = 0
    incidents: int = 0
    dice: random.Random = field(init=False)
    playbook: Playbook = field(init=False)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        self.playbook = next(each for each in playbooks.load_default() if each.name == "gpu_lost")

    def logged(self, at: float, event: events.Event) -> events.Logged:
        """Return the next entry."""
        self.number += 1
        return events.Logged(self.number, at, event)

    def begin(self) -> Iterator[events.Logged]:
        """Yield what every node says first."""
        for number in range(NODES):
            gpus = {f"GPU-{number}-{g}": f"gpu {g} H100 serial {number}-{g} at 0000:{g:02x}:00" for g in range(8)}
            facts = NodeFacts(gpu_model="NVIDIA H100", gpu_count=8, devices=gpus, places={"rack": [f"r{number // 8}"]})
            yield self.logged(BEGIN, events.NodeSeen(f"node-{number:05d}", "boot", facts))
            yield self.logged(BEGIN, events.PresenceChanged(f"node-{number:05d}", "online", "the agent connected"))

    def day(self, day: int) -> Iterator[events.Logged]:
        """Yield the entries of a day."""
        moments = [self.dice.random() for _ in range(int(NODES * (PER_NODE_DAY + LOOKS_PER_NODE_DAY)))]
        share = PER_NODE_DAY / (PER_NODE_DAY + LOOKS_PER_NODE_DAY)
        for moment in sorted(moments):
            at, node = BEGIN + (day + moment) * DAY_S, f"node-{self.dice.randrange(NODES):05d}"
            yield from self._incident(at, node) if self.dice.random() < share else self._look(at, node)

    def _look(self, at: float, node: str) -> Iterator[events.Logged]:
        job = str(self.dice.randrange(5_000))
        yield self.logged(at, events.ScheduleObserved(node, True, "", "", [job], at))
        yield self.logged(at, events.CheckLevelsChanged(node, {"gpu.xid": CheckLevel("ok", at, "Nothing was seen.")}))

    def _incident(self, at: float, node: str) -> Iterator[events.Logged]:
        self.incidents += 1
        name, because = (
            f"inc-{self.incidents:06d}",
            events.Reason("A GPU has fallen off the bus.", {"check": "gpu.xid"}),
        )
        serial = f"{int(node[5:])}-{self.dice.randrange(8)}"
        found = Finding("gpu.xid", f"GPU-{serial}", "79", Verdict.FAILED, Action.REBOOT, because.because, serial=serial)
        yield self.logged(at, events.FindingRaised(node, "boot", found, at - 0.5))
        opened = events.IncidentOpened(
            name, node, found.device, "gpu_lost", self.playbook, [found], because, "act", serial
        )
        yield self.logged(at, opened)
        for verb in STEPS:
            key = f"{name}/{verb}/1"
            yield self.logged(
                at, events.StepIntended(name, "automatic", verb, verb, 1, key, node, "", {}, at + 60, because)
            )
            yield self.logged(at + 0.001, events.StepEnded(name, verb, 1, "done", "so", key))
        yield self.logged(at, events.FindingCleared(node, found.key, "so", at))
        yield self.logged(at, events.IncidentClosed(name, "returned", because))


def rates(rows: list[tuple[int, float, bytes]], fold: Fold) -> tuple[float, float]:
    """Return entries a second: decoded alone, and decoded and folded."""
    began = time.perf_counter()
    for row in rows:
        logged_of("benchmark", *row)
    decoded_s = time.perf_counter() - began
    began = time.perf_counter()
    for row in rows:
        fold.take(logged_of("benchmark", *row))
    return len(rows) / decoded_s, len(rows) / (time.perf_counter() - began)


def speed() -> tuple[float, float]:
    """Return the rates over a log whose first half is folded already."""
    fleet = Fleet()
    fold = Fold(Asked(BEGIN, BEGIN + 365 * DAY_S))
    fold.take_all(fleet.begin())
    rows: list[tuple[int, float, bytes]] = []
    day = 0
    while len(rows) < DECODED:
        for entry in fleet.day(day):
            columns = row_of(entry)
            rows.append((columns[0], columns[1], columns[-1]))
        day += 1
    return rates(rows, fold)


def memory_mib(days: int) -> float:
    """Return what a fold of so many days holds."""
    fleet = Fleet()
    tracemalloc.start()
    fold = Fold(Asked(BEGIN, BEGIN + days * DAY_S))
    fold.take_all(fleet.begin())
    for day in range(days):
        fold.take_all(fleet.day(day))
    held = tracemalloc.get_traced_memory()[0] / 2**20
    tracemalloc.stop()
    assert fold.report().span.nodes == NODES
    return held


@dataclass(slots=True)
class Beside:
    """What a reporter sees of a cell whose log is in SQLite."""

    log: SqliteLog
    belief: Belief = field(default_factory=Belief)

    async def caught_up(self) -> None:
        """Everything is in the log."""


async def beside_a_loop(folder: Path, days: int) -> tuple[int, float, list[float]]:
    """Return how many entries a controller's log has, how long its report takes, and for how long its loop stood still
    meanwhile, each time, in milliseconds."""
    fleet, log = Fleet(), SqliteLog(folder / "events.sqlite")
    log.begin_term()
    await log.append(list(fleet.begin()), [])
    for day in range(days):
        await log.append(list(fleet.day(day)), [])
    reporter = Reporter(cast("Cell", Beside(log)), Prices())
    made = asyncio.create_task(reporter.report(Asked(BEGIN, BEGIN + days * DAY_S), whole=False))
    began = last = time.perf_counter()
    stood_ms: list[float] = []
    while not made.done():
        await asyncio.sleep(0.001)
        now = time.perf_counter()
        stood_ms.append((now - last) * 1e3)
        last = now
    assert made.result().span.nodes == NODES
    took_s = time.perf_counter() - began
    log.close()
    return fleet.number, took_s, stood_ms


def report_s() -> float:
    """Return how long it takes to make the report of a month once everything is folded."""
    fleet = Fleet()
    fold = Fold(Asked(BEGIN, BEGIN + 30 * DAY_S))
    fold.take_all(fleet.begin())
    for day in range(30):
        fold.take_all(fleet.day(day))
    began = time.perf_counter()
    msgspec.json.encode(fold.report())
    return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--days", type=int, default=60, help="the longer of the two spans of memory")
    asked = arguments.parse_args()
    tries = [speed() for _ in range(3)]
    decoded, folded = max(tries, key=lambda each: each[1])
    rows = [
        Row("decoding alone", decoded, "entries/s"),
        Row("decoding and folding", folded, "entries/s"),
        Row("share of decoding alone", 100.0 * folded / decoded, "%"),
        Row(f"held after {asked.days // 4} days of {NODES} nodes", memory_mib(asked.days // 4), "MiB"),
        Row(f"held after {asked.days} days of {NODES} nodes", memory_mib(asked.days), "MiB"),
        Row("report of a month, folded, as JSON", report_s(), "s"),
    ]
    with tempfile.TemporaryDirectory() as folder:
        entries, took_s, stood_ms = asyncio.run(beside_a_loop(Path(folder), asked.days // 2))
    rows += [
        Row(f"a controller's report of {entries:,} entries in SQLite", took_s, "s"),
        *spread("its loop stands still meanwhile", stood_ms, "ms"),
    ]
    publish("report_fold", rows, about=f"a report's fold over {DECODED:,} entries, {NODES:,} nodes")


if __name__ == "__main__":
    main()
