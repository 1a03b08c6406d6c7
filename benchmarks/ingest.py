"""Durable events a second of one controller: broker → validated → committed → acknowledged to the node.

Beside the two things that it cannot outrun, in the same run: what the broker hands to a bare client that acknowledges
and forgets, and what SQLite and PostgreSQL commit of such rows in batches of the same size.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import aiomqtt

from benchmarks.bench_cell import BenchCell, bench_cell
from benchmarks.fleet_traffic import CELL, fault, level, node_name, online, raised
from benchmarks.report import Row, publish
from benchmarks.store import bare_postgresql
from checks.finding import Verdict
from cli.broker import CONTROLLER
from tests.support.postgres import PASSWORD, running_postgres
from wire import topics
from wire.topics import Channel

NODES = 1_000
LIMIT_S = 300.0
CODES = ("13", "31", "43", "45", "68", "69")
"""Faults of programs, which no playbook acts on: what is measured is the intake and not the repair."""


def flood(cell: BenchCell, events: int, *, rounds: int = 0) -> float:
    """Publish so many events and return the seconds until the controller acknowledged the last of them."""
    stored: Counter[str] = Counter()
    with cell.wire("flood") as wire:
        wire.stored = lambda node, seqs: stored.update({node: len(seqs)})
        wire.hear_acknowledgements()
        batch = [
            raised(
                node_name(n),
                rounds + seq,
                fault(CODES[seq % len(CODES)], f"GPU-{seq // len(CODES)}", verdict=Verdict.DEGRADED),
            )
            for seq in range(1, events // NODES + 1)
            for n in range(NODES)
        ]
        began = time.monotonic()
        for topic, payload in batch:
            wire.publish(topic, payload)
        while stored.total() < len(batch):
            assert time.monotonic() - began < LIMIT_S, f"{stored.total()} of {len(batch)} acknowledged"
            wire.listen(0.05)
        return time.monotonic() - began


async def _bare_client(port: int, password: str, events: int) -> None:
    """Take so many messages in with aiomqtt alone and say how long that took; runs in a process of its own."""
    heard, began = 0, 0.0
    async with aiomqtt.Client(
        "127.0.0.1", port, username=CONTROLLER, password=password, identifier="bare", clean_session=False
    ) as client:
        await client.subscribe(topics.every_node(CELL, Channel.EVENT), qos=1)
        print("ready", flush=True)
        async for _ in client.messages:
            heard += 1
            began = began or time.monotonic()
            if heard == events:
                break
    print(time.monotonic() - began, flush=True)


def bare_client_s(cell: BenchCell, events: int) -> float:
    """Return how long a client needs that only acknowledges."""
    arguments = (str(cell.broker.door), cell.broker.credentials(CONTROLLER)[1], str(events))
    client = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.ingest", "--bare", *arguments], stdout=subprocess.PIPE, text=True
    )
    assert client.stdout is not None
    assert client.stdout.readline().strip() == "ready"
    with cell.wire("flood-bare") as wire:
        batch = [raised(node_name(n % NODES), n + 1, fault("13", "GPU-0")) for n in range(events)]
        for topic, payload in batch:
            wire.publish(topic, payload)
        wire.flush()
    took = float(client.stdout.readline())
    client.wait(timeout=10)
    return took


def bare_commits_per_s(folder: Path, log: Path, batch: int) -> float:
    """Return rows a second that SQLite commits durably, with the log's own rows and settings, in batches."""
    with sqlite3.connect(f"file:{log}?mode=ro", uri=True) as source:
        columns = "event_id, at, kind, node, incident_id, link, body"
        rows = source.execute(f"SELECT {columns} FROM events LIMIT 50000").fetchall()  # noqa: S608 - names of our own
    target = sqlite3.connect(folder / "bare.sqlite", isolation_level=None)
    target.execute("PRAGMA journal_mode=WAL")
    target.execute("PRAGMA synchronous=FULL")
    target.execute("CREATE TABLE events (event_id INTEGER PRIMARY KEY, at, kind, node, incident_id, link, body)")
    began = time.monotonic()
    for start in range(0, len(rows), batch):
        target.execute("BEGIN IMMEDIATE")
        target.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)", rows[start : start + batch])
        target.execute("COMMIT")
    took = time.monotonic() - began
    target.close()
    return len(rows) / took


async def measure(events: int, folder: Path) -> list[Row]:
    """Return the figures of a controller on SQLite, and of the bare client."""
    async with bench_cell(folder) as cell:
        took, cpu, resident = await asyncio.to_thread(_taken_in, cell, events)
        bare = await asyncio.to_thread(bare_client_s, cell, events)
    log = folder / "controller" / "events.sqlite"
    commits = bare_commits_per_s(folder, log, batch=500)
    rate, slower = events / took, min(events / bare, commits)
    return [
        Row("durable events", rate, "1/s", "≥ 10,000"),
        Row("bare client of the broker", events / bare, "1/s"),
        Row("bare SQLite, 500 rows a commit", commits, "1/s"),
        Row("share of the slower of the two", 100 * rate / slower, "%", "≥ 50"),
        Row("controller's CPU an event", 1e6 * cpu / events, "µs"),
        Row("controller's memory", resident, "MiB"),
    ]


async def measure_on_postgresql(events: int, folder: Path) -> list[Row]:
    """Return the figures of a controller on PostgreSQL."""
    secret = folder / "secret"
    with running_postgres() as postgres:
        server = postgres.new_database()
        settings = f'[store]\nurl = "{server.url}"\npassword_file = "{secret}"\n'
        async with bench_cell(folder, settings) as cell:
            took, cpu, _ = await asyncio.to_thread(_taken_in, cell, events)
        commits = await asyncio.to_thread(bare_postgresql, server, 500)
    return [
        Row("durable events on PostgreSQL", events / took, "1/s", "≥ 10,000"),
        Row("bare PostgreSQL, 500 rows a commit", commits, "1/s"),
        Row("controller's CPU an event on PostgreSQL", 1e6 * cpu / events, "µs"),
    ]


def _taken_in(cell: BenchCell, events: int) -> tuple[float, float, float]:
    """Return how long the events took, what CPU they cost, and the memory then."""
    cell.start()
    _introduce(cell)
    before = cell.usage()[0]
    took = flood(cell, events)
    cpu, resident = cell.usage()
    cell.stop()
    return took, cpu - before, resident


def _introduce(cell: BenchCell) -> None:
    with cell.wire("introduction") as wire:
        for n in range(NODES):
            wire.publish(*online(node_name(n)))
            wire.publish(*level(node_name(n)))
        wire.flush()
    end = time.monotonic() + 60
    while cell.get("status")["counts"]["nodes"] < NODES:
        assert time.monotonic() < end, "the nodes are not known"
        time.sleep(0.1)


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=30_000)
    parser.add_argument("--bare", nargs=3, metavar=("PORT", "PASSWORD", "EVENTS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.bare:
        port, password, events = arguments.bare
        asyncio.run(_bare_client(int(port), password, int(events)))
        return
    with tempfile.TemporaryDirectory(prefix="fleetmend-ingest-") as folder:
        sqlite, postgresql = Path(folder) / "sqlite", Path(folder) / "postgresql"
        sqlite.mkdir()
        postgresql.mkdir()
        (postgresql / "secret").write_text(PASSWORD)
        rows = asyncio.run(measure(arguments.events, sqlite))
        rows += asyncio.run(measure_on_postgresql(arguments.events, postgresql))
    publish("ingest", rows, about=f"{arguments.events:,} events of {NODES:,} nodes to one controller")


if __name__ == "__main__":
    main()
