"""From a finding that is published to the cordon that is called, with a fleet of 10,000 nodes talking meanwhile.

Steady: every node says 0.03 events a second (an edge, or its level), a few of them faults. Burst: 200 nodes fail in
one moment. The scheduler is an operator's hook, a small program that writes down when it was called. Beside it stands
the start of that very program, which is the part that no controller can save. NVIDIA NVSentinel publishes 165 ms and
5.10 s (p99) for the same two.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.bench_cell import BenchCell, bench_cell
from benchmarks.fleet_traffic import Wire, fault, level, node_name, online, raised
from benchmarks.report import Row, publish, spread
from checks.finding import Verdict

RATE_A_NODE = 0.03
BURST = 200
AT_ONCE = 10_000
"""So many nodes are introduced together."""
FAULT_SHARE = 0.02
"""Of the steady events; the others change no schedule."""

HOOK = r"""
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
int main(int count, char **words) {
    char line[400];
    struct timespec now;
    if (count > 1 && !strcmp(words[1], "observe")) { puts("{\"nodes\": {}}"); return 0; }
    if (count > 1 && !strcmp(words[1], "drain")) { puts("{\"jobs\": []}"); return 0; }
    clock_gettime(CLOCK_REALTIME, &now);
    int length = snprintf(line, sizeof line, "%s %s %ld.%09ld\n", words[1], words[2], now.tv_sec, now.tv_nsec);
    int file = open(CALLS, O_WRONLY | O_APPEND | O_CREAT, 0600);
    return write(file, line, length) == length ? 0 : 1;
}
"""
SETTINGS = """
breakers = []
playbooks = "{playbooks}"
[budget]
percent = 100
[scheduler]
kind = "command"
hook = "{hook}"
interval_s = 3600
"""
PLAYBOOK = """
playbook: cordon_and_ask
summary: A GPU has a fault.
fault_class: gpu
severity: warning
precedence: 1
mode: act
runbook: docs/how-to/respond/gpu_lost.md
answers:
  - {check: gpu.xid, verdicts: [failed]}
guards: {drain: not_needed, reversible: true}
steps:
  - cordon: {}
  - approve: {question: "Go on?"}
  - verify: {}
  - uncordon: {}
hand_over:
  - ticket: {team: platform}
"""


def prepared(folder: Path) -> tuple[str, Path, Path]:
    """Build the hook and write the playbook; return the settings, the hook, and where it writes its calls."""
    calls, hook, playbooks = folder / "calls", folder / "hook", folder / "playbooks"
    (folder / "hook.c").write_text(HOOK)
    subprocess.run(["gcc", "-O1", f'-DCALLS="{calls}"', "-o", hook, folder / "hook.c"], check=True)
    playbooks.mkdir()
    (playbooks / "cordon_and_ask.yaml").write_text(PLAYBOOK)
    return SETTINGS.format(playbooks=playbooks, hook=hook), hook, calls


def cordoned_at(calls: Path) -> dict[str, float]:
    """Return node → when its cordon was called."""
    lines = calls.read_text().split("\n") if calls.exists() else []
    return {node: float(at) for verb, node, at in (line.split() for line in lines if line) if verb == "cordon"}


def introduce(cell: BenchCell, wire: Wire, nodes: int) -> None:
    """Make the fleet known, a part at a time: all of a great one at once is more than the broker keeps for a client."""
    for first in range(0, nodes, AT_ONCE):
        upto = min(first + AT_ONCE, nodes)
        for number in range(first, upto):
            wire.publish(*online(node_name(number)), retain=True)
            wire.publish(*level(node_name(number)), retain=True)
        wire.flush()
        end = time.monotonic() + 120
        while cell.get("status")["counts"]["nodes"] < upto:
            assert time.monotonic() < end, "the fleet is not known"
            time.sleep(0.2)


def steady(wire: Wire, nodes: int, seconds: float) -> dict[str, float]:
    """Let the fleet talk; return node → when its fault was published."""
    dice, published, began = random.Random(1), {}, time.time()
    for number in range(int(nodes * RATE_A_NODE * seconds)):
        due = began + number / (nodes * RATE_A_NODE)
        while (left := due - time.time()) > 0:
            wire.listen(left)
        node = node_name(dice.randrange(nodes))
        if dice.random() < FAULT_SHARE and node not in published:
            published[node] = time.time()
            wire.publish(*raised(node, 1, fault("79", "GPU-0")))
        elif dice.random() < 0.5:
            wire.publish(*level(node), retain=True)
        else:
            wire.publish(*raised(node, 1_000 + number, fault("31", "GPU-1", verdict=Verdict.DEGRADED)))
    return published


def burst(wire: Wire, nodes: int, known: set[str]) -> dict[str, float]:
    """Let 200 nodes fail in one moment; return node → when that was published."""
    fresh = [node for node in map(node_name, range(nodes)) if node not in known][:BURST]
    published = {}
    for node in fresh:
        published[node] = time.time()
        wire.publish(*raised(node, 1, fault("79", "GPU-0")))
    wire.flush()
    return published


def delays_ms(calls: Path, published: dict[str, float]) -> list[float]:
    """Wait until every one of these nodes is cordoned; return how long each took."""
    end = time.monotonic() + 60
    while not set(published) <= set(at := cordoned_at(calls)):
        assert time.monotonic() < end, f"{len(set(published) - set(at))} nodes are not cordoned"
        time.sleep(0.05)
    return [1_000 * (at[node] - when) for node, when in published.items()]


def bare_hook_ms(hook: Path) -> list[float]:
    """Return how long the start and end of the hook alone take."""
    took = []
    for _ in range(100):
        began = time.perf_counter()
        subprocess.run([hook, "cordon", "nobody"], check=True)
        took.append(1_000 * (time.perf_counter() - began))
    return took


def measure(cell: BenchCell, hook: Path, calls: Path, nodes: int, seconds: float) -> list[Row]:
    """Return the figures."""
    cell.start()
    with cell.wire() as wire:
        introduce(cell, wire, nodes)
        talked = steady(wire, nodes, seconds)
        calm = delays_ms(calls, talked)
        hard = delays_ms(calls, burst(wire, nodes, set(talked)))
    return [
        *spread(f"steady, {len(calm)} faults", calm, "ms", "≤ 100"),
        *spread(f"burst of {BURST}", hard, "ms", "≤ 1,000"),
        *spread("the hook alone", bare_hook_ms(hook), "ms"),
        Row("controller's memory", cell.usage()[1], "MiB"),
    ]


async def run(nodes: int, seconds: float, folder: Path) -> list[Row]:
    """Return the figures of one cell."""
    settings, hook, calls = prepared(folder)
    async with bench_cell(folder, settings) as cell:
        return await asyncio.to_thread(measure, cell, hook, calls, nodes, seconds)


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=30.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fleetmend-cordon-") as folder:
        rows = asyncio.run(run(arguments.nodes, arguments.seconds, Path(folder)))
    publish("cordon_latency", rows, about=f"finding published → cordon called, {arguments.nodes:,} nodes")


if __name__ == "__main__":
    main()
