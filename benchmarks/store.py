"""How fast entries are committed, and how soon a controller that starts cold believes all that the log says.

For each store: durable commits of 1, 100 and 1,000 entries, one after the other, beside what the database alone does
with the same bytes in a table without indexes; and a cold start, in a process of its own, from a snapshot and the
entries after it, as many as `snapshot_every` lets there be.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from benchmarks.report import Row, publish
from checks.finding import Action, Finding, Verdict
from checks.registry import CHECKS
from controller.events import CheckLevelsChanged, Event, FindingRaised, Logged, NodeSeen, PresenceChanged
from controller.policy import folding
from controller.policy.belief import Belief
from controller.sections.store import StoreSection
from controller.store.choosing import open_store
from controller.store.compaction import write_snapshot
from controller.store.log import EventLog, Receipt, row_of
from controller.store.postgresql_connection import Server
from controller.store.snapshot import restore
from tests.support.postgres import PASSWORD, running_postgres
from wire.messages import CheckLevel, NodeFacts

BATCHES = (1, 100, 1_000)
SECONDS = 4.0
TAIL_BATCH = 10_000
Opener = Callable[[], EventLog]


def finding(number: int) -> Event:
    """Return an edge of ordinary size."""
    because = "GPU-0 has fallen off the bus; the driver wrote Xid 79 and nvidia-smi no longer lists it."
    what = Finding("gpu.xid", f"GPU-{number % 8}", "79", Verdict.FAILED, Action.REBOOT, because, "0000:3b:00")
    return FindingRaised(f"node-{number % 10_000:06d}", "3b1f0c1e-8a1b-4f5c-9d62-0a1b2c3d4e5f", what, 1.79e9 + number)


def entries(first: int, count: int) -> list[Logged]:
    """Return entries with these ids."""
    return [Logged(number, 1.79e9 + number, finding(number)) for number in range(first, first + count)]


async def commit_rate(log: EventLog, batch: int, after: int) -> tuple[float, int]:
    """Return entries a second, each with its receipt, and the last id."""
    log.begin_term()
    took_s, count = 0.0, 0
    while took_s < SECONDS:
        new = entries(after + count + 1, batch)
        receipts = [Receipt(f"node-{e.event_id % 10_000:06d}", "boot", e.event_id // 10_000 + 1) for e in new]
        began = time.perf_counter()
        await log.append(new, receipts)
        took_s += time.perf_counter() - began
        count += batch
    return count / took_s, after + count


def bare_sqlite(path: Path, batch: int) -> float:
    """Return entries a second of SQLite alone, with the same bytes and the same durability."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE IF NOT EXISTS bare (body BLOB)")
    rows = [(row_of(entry)[-1],) for entry in entries(1, batch)]
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < SECONDS:
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO bare VALUES (?)", rows)
        count += batch
    connection.close()
    return count / (time.perf_counter() - began)


def bare_postgresql(server: Server, batch: int) -> float:
    """Return entries a second of PostgreSQL alone, with the same bytes and the same durability."""
    bodies = [row_of(entry)[-1].decode() for entry in entries(1, batch)]
    with closing(server.connect()) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS bare (body TEXT)")
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < SECONDS:
            connection.execute("INSERT INTO bare SELECT * FROM unnest(%s::text[])", (bodies,))
            count += batch
        return count / (time.perf_counter() - began)


def fleet(nodes: int) -> Belief:
    """Return a belief of so many nodes with all their checks."""
    belief = Belief()
    levels = {check.id: CheckLevel("ok", 1.79e9) for check in CHECKS}
    for number in range(nodes):
        devices = {f"GPU-{number:06d}-{gpu}": f"NVIDIA H100 80GB HBM3, serial 16{number:06d}{gpu}" for gpu in range(8)}
        facts = NodeFacts(False, "0.1.0", "6.8.0", "580.65", "NVIDIA H100", 8, f"S{number}", devices, ["reboot"])
        name = f"node-{number:06d}"
        for event in (
            NodeSeen(name, f"boot-{number:032x}", facts),
            PresenceChanged(name, "online", "the agent connected"),
            CheckLevelsChanged(name, levels),
        ):
            folding.apply(belief, Logged(belief.last_event_id + 1, 1.79e9, event))
    return belief


def prepare(log: EventLog, nodes: int, tail: int) -> Iterator[Row]:
    """Fill a log with a snapshot of a fleet and entries after it."""
    belief = fleet(nodes)
    began = time.perf_counter()
    write_snapshot(log, belief, now=time.time())
    yield Row("snapshot written in", time.perf_counter() - began, "s")
    log.begin_term()
    for first in range(0, tail, TAIL_BATCH):
        asyncio.run(log.append(entries(belief.last_event_id + first + 1, min(TAIL_BATCH, tail - first)), []))
    yield Row("store's size", asyncio.run(log.size()).used_bytes / 1e6, "MB")


def start_cold(section: StoreSection, state: Path) -> None:
    """Restore belief and print how long that took and what it needs."""
    began = time.perf_counter()
    with closing(open_store(section, state)) as log:
        belief, tail = restore(log)
        log.recall_taken()
    took_s = time.perf_counter() - began
    used_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(took_s, used_mib, len(belief.nodes), tail)


def cold_start(section: StoreSection, state: Path) -> Iterator[Row]:
    """Have a process of its own start cold."""
    arguments = ("--cold", section.model_dump_json(), str(state))
    told = subprocess.run(
        [sys.executable, "-m", "benchmarks.store", *arguments], check=True, capture_output=True, text=True
    )
    took_s, used_mib, nodes, tail = map(float, told.stdout.split())
    yield Row(f"cold start, {nodes:,.0f} nodes and {tail:,.0f} entries", took_s, "s", "<= 60")
    yield Row("resident then", used_mib, "MiB", "<= 2048")


@contextmanager
def sections(directory: Path) -> Iterator[dict[str, tuple[StoreSection, Callable[[int], float]]]]:
    """Give every store that is measured, with what measures its database alone."""
    secret = directory / "secret"
    secret.write_text(PASSWORD)
    with running_postgres() as postgres:
        server = postgres.new_database()
        yield {
            "SQLite": (StoreSection(), lambda batch: bare_sqlite(directory / "bare.sqlite", batch)),
            "PostgreSQL": (
                StoreSection(url=server.url, password_file=secret),
                lambda batch: bare_postgresql(server, batch),
            ),
        }


def measure(name: str, section: StoreSection, bare: Callable[[int], float], *, nodes: int, tail: int) -> Iterator[Row]:
    """Yield what one store does."""
    with tempfile.TemporaryDirectory() as directory:
        state = Path(directory)
        with closing(open_store(section, state)) as log:
            yield from (Row(f"{name}, {row.what}", row.value, row.unit) for row in prepare(log, nodes, tail))
        for row in cold_start(section, state):
            yield Row(f"{name}, {row.what}", row.value, row.unit, row.aim)
        with closing(open_store(section, state)) as log:
            last = 3 * nodes + tail
            for batch in BATCHES:
                alone = bare(batch)
                rate, last = asyncio.run(commit_rate(log, batch, last))
                yield Row(f"{name}, commits of {batch:,}: entries", rate, "1/s")
                yield Row(f"{name}, commits of {batch:,}: share of the bare database", rate / alone, "", ">= 0.5")


def main() -> None:
    """Measure every store, or, with `--cold`, start cold once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=100_000)
    parser.add_argument("--tail", type=int, default=200_000)
    parser.add_argument("--cold", nargs=2, metavar=("SECTION", "STATE"))
    wanted = parser.parse_args()
    if wanted.cold:
        start_cold(StoreSection.model_validate_json(wanted.cold[0]), Path(wanted.cold[1]))
        return
    with tempfile.TemporaryDirectory() as directory, sections(Path(directory)) as measured:
        rows = [
            row
            for name, (section, bare) in measured.items()
            for row in measure(name, section, bare, nodes=wanted.nodes, tail=wanted.tail)
        ]
    publish("store", rows, about=f"{wanted.nodes:,} nodes, {wanted.tail:,} entries after the snapshot")


if __name__ == "__main__":
    main()
