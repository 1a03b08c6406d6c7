"""How many pages and tickets 500 faults make, and how long the first page takes, on a cell with its usual rules.

Behind one leaf switch: every node of it finds its port down. Over the fleet: as many GPUs fall off the bus on nodes
that share nothing, which makes a suspect of the check. One by one: the same once more with no shared cause looked for,
and a playbook that gives each node to people at once, so that only the grouping of pages is left. A page and a ticket
are a POST each to a webhook, whose receiver counts what it is told to be new.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from benchmarks.bench_cell import BenchCell, bench_cell
from benchmarks.cordon_latency import introduce
from benchmarks.fleet_traffic import fault, node_name, raised
from benchmarks.report import Row, publish
from checks.finding import Action, Finding, Verdict

FAULTS = 500
FLEET = 2_000
QUIET_S = 20.0
"""A storm is over when nothing was sent for so long: longer than news wait to be told together is not needed."""

LIMIT_S = 240.0

SETTINGS = """
[topology]
file = "{places}"
[[tickets]]
kind = "webhook"
url = "{url}/ticket"
deduplicates = true
[[pages]]
kind = "webhook"
url = "{url}/page"
deduplicates = true
"""
ONE_BY_ONE = """
breakers = []
domains = []
playbooks = "{playbooks}"
[budget]
percent = 100
"""
PLAYBOOK = """
playbook: people_at_once
summary: A GPU has a fault that a person looks at.
fault_class: gpu
severity: critical
precedence: 1
mode: act
clears: person
runbook: docs/how-to/respond/gpu_lost.md
answers:
  - {check: gpu.xid, verdicts: [failed]}
guards: {drain: not_needed, reversible: true}
steps:
  - cordon: {on_success: hand_over}
hand_over:
  - ticket: {team: datacentre}
  - page: {severity: critical}
"""


@dataclass(slots=True)
class Receiver:
    """Takes what is POSTed, as another system would.

    Attributes:
        got: (`ticket` or `page`, `filed`, `updated` or `closed`) → when each of them came.
    """

    url: str = ""
    got: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    last_at: float = 0.0

    def take(self, kind: str, notice: dict[str, Any]) -> None:
        """Note one."""
        self.last_at = time.time()
        self.got.setdefault((kind, notice["event"]), []).append(self.last_at)

    def count(self, kind: str, event: str) -> int:
        """Return how many there were of a sort."""
        return len(self.got.get((kind, event), []))


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Serve a receiver on a free port of loopback."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            receiver.take(self.path.strip("/"), body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()


def port_down(_number: int) -> Finding:
    """Return what a node says whose cable ends in nothing."""
    because = "Port 1 of mlx5_0 is down for 10 s and was up before."
    return Finding("fabric.rdma_port", "mlx5_0/1", "down", Verdict.FAILED, Action.CHECK_CABLING, because)


def off_the_bus(number: int) -> Finding:
    """Return what a node says that lost a GPU, each another one."""
    lost = fault("79", "GPU-0")
    return Finding(*(lost.check, lost.device, lost.code, lost.verdict, lost.action, lost.because), serial=f"s{number}")


@dataclass(frozen=True, slots=True)
class Storm:
    """One way for 500 faults to come. `aims`: for pages and tickets."""

    name: str
    find: Callable[[int], Finding]
    settings: str = ""
    every: int = 1
    aims: tuple[str, str] = ("", "")


STORMS = (
    Storm("behind one leaf switch", port_down, aims=("1", "1")),
    Storm("over the fleet", off_the_bus, every=FLEET // FAULTS),
    Storm("one by one", off_the_bus, ONE_BY_ONE, every=FLEET // FAULTS),
)


def measure(cell: BenchCell, receiver: Receiver, storm: Storm) -> list[Row]:
    """Let it come, wait until all is quiet, and return what was sent."""
    cell.start()
    with cell.wire() as wire:
        introduce(cell, wire, FLEET)
        began = time.time()
        for number in range(0, FAULTS * storm.every, storm.every):
            wire.publish(*raised(node_name(number), 1, storm.find(number)))
        wire.flush()
        took = time.time() - began
    until_quiet(receiver, began)
    pages = receiver.got.get(("page", "filed"), [])
    return [
        Row(f"{storm.name}: pages", len(pages), "", storm.aims[0]),
        Row(f"{storm.name}: tickets", receiver.count("ticket", "filed"), "", storm.aims[1]),
        Row(f"{storm.name}: news of open pages", receiver.count("page", "updated"), ""),
        Row(f"{storm.name}: first finding until the first page", pages[0] - began, "s"),
        Row(f"{storm.name}: first finding until the last notice", receiver.last_at - began, "s"),
        Row(f"{storm.name}: all findings are at the broker", took, "s"),
    ]


def until_quiet(receiver: Receiver, began: float) -> None:
    """Wait until a page came and nothing followed for a while."""
    while time.time() - max(receiver.last_at, began) < QUIET_S or not receiver.count("page", "filed"):
        assert time.time() - began < LIMIT_S, f"no end of it: {Counter({k: len(v) for k, v in receiver.got.items()})}"
        time.sleep(0.1)


def settings_of(folder: Path, storm: Storm, url: str) -> str:
    """Write where nodes stand and what answers; return the settings."""
    leaves = [f"{node_name(number)},leaf-{number // FAULTS}" for number in range(FLEET)]
    (folder / "places.csv").write_text("\n".join(["node,leaf", *leaves]) + "\n")
    (folder / "playbooks").mkdir()
    (folder / "playbooks" / "people_at_once.yaml").write_text(PLAYBOOK)
    more = storm.settings.format(playbooks=folder / "playbooks")
    return more + SETTINGS.format(places=folder / "places.csv", url=url)


async def run(wanted: list[str]) -> list[Row]:
    """Return the figures of every storm."""
    rows = []
    for storm in (storm for storm in STORMS if not wanted or storm.name in wanted):
        with tempfile.TemporaryDirectory(prefix="fleetmend-storm-") as folder, receiving() as receiver:
            settings = settings_of(Path(folder), storm, receiver.url)
            async with bench_cell(Path(folder), settings) as cell:
                rows += await asyncio.to_thread(measure, cell, receiver, storm)
    return rows


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("storms", nargs="*", help="names of storms; every one without any")
    publish("storm", asyncio.run(run(parser.parse_args().storms)), about=f"{FAULTS} faults in {FLEET:,} nodes")


if __name__ == "__main__":
    main()
