"""What a cell costs at 1,000 and 10,000 nodes, or as many as --nodes says: controller, broker, cold start.

Each size is a cell of its own. Every node is introduced with its level and one finding that stands; then the
controller is killed and started again: the cold start is over when it knows every node, from its own log and from the
levels that the broker kept; then once more without its log. At rest, each node says its level once a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
import tempfile
import time
from pathlib import Path

from benchmarks.bench_cell import BenchCell, bench_cell, usage_of
from benchmarks.cordon_latency import AT_ONCE, introduce
from benchmarks.fleet_traffic import fault, level, node_name, raised
from benchmarks.report import Row, publish
from checks.finding import Verdict

SIZES = (1_000, 10_000)
CALM_S = 20.0
LEVEL_INTERVAL_S = 60.0


def find_something(cell: BenchCell, nodes: int) -> None:
    """Have each node find a fault that nobody acts on."""
    with cell.wire("findings") as wire:
        stored = 0

        def count(_node: str, seqs: list[int]) -> None:
            nonlocal stored
            stored += len(seqs)

        wire.stored = count
        wire.hear_acknowledgements()
        end = time.monotonic() + 300
        for number in range(nodes):
            wire.publish(*raised(node_name(number), 1, fault("31", "GPU-1", verdict=Verdict.DEGRADED)))
            while stored < number + 1 - AT_ONCE or (number + 1 == nodes and stored < nodes):
                assert time.monotonic() < end, f"{stored} of {nodes} findings are stored"
                wire.listen(0.1)


def cold_start_s(cell: BenchCell, nodes: int, *, forget: bool = False) -> float:
    """Kill the controller, start it, and return after how long it knew every node.

    Args:
        forget: its whole state is gone, too, so that it knows only what the broker has kept. It is ended in order then:
            the process that compacts its log would outlive a kill, and write on.
    """
    cell.stop(signal.SIGTERM if forget else signal.SIGKILL)
    if forget:
        shutil.rmtree(cell.state / "controller")
    began = time.monotonic()
    cell.start()
    while cell.get("status")["counts"]["nodes"] < nodes:
        assert time.monotonic() - began < 300, "the fleet is not known again"
        time.sleep(0.05)
    took = time.monotonic() - began
    assert "being dropped" not in cell.broker.log.read_text(), "the broker had no room for all that it has kept"
    return took


def calm_cores(cell: BenchCell, nodes: int) -> tuple[float, float]:
    """Let every node say its level once a minute; return the cores that controller and broker use."""
    assert cell.broker.process is not None
    began, controller, broker = time.monotonic(), cell.usage()[0], usage_of(cell.broker.process.pid)[0]
    with cell.wire("levels") as wire:
        per_s = nodes / LEVEL_INTERVAL_S
        for number in range(int(per_s * CALM_S)):
            while (left := began + number / per_s - time.monotonic()) > 0:
                wire.listen(left)
            wire.publish(*level(node_name(number % nodes), [fault("31", "GPU-1", verdict=Verdict.DEGRADED)]))
        wire.flush()
    took = time.monotonic() - began
    after = usage_of(cell.broker.process.pid)[0]
    return (cell.usage()[0] - controller) / took, (after - broker) / took


def measure(cell: BenchCell, nodes: int) -> list[Row]:
    """Return the figures of one size."""
    assert cell.broker.process is not None
    cell.start()
    with cell.wire() as wire:
        introduce(cell, wire, nodes)
    find_something(cell, nodes)
    cold = cold_start_s(cell, nodes)
    controller, broker = calm_cores(cell, nodes)
    size = f"{nodes:,} nodes"
    biggest = nodes >= 100_000
    log_mib = (cell.state / "controller" / "events.sqlite").stat().st_size / 2**20
    resident = cell.usage()[1]
    return [
        Row(f"{size}: controller's memory", resident, "MiB", "≤ 2,048" if biggest else ""),
        Row(f"{size}: broker's memory", usage_of(cell.broker.process.pid)[1], "MiB"),
        Row(f"{size}: cold start", cold, "s", "≤ 60" if biggest else ""),
        Row(f"{size}: controller at rest", 100 * controller, "% of a core"),
        Row(f"{size}: broker at rest", 100 * broker, "% of a core"),
        Row(f"{size}: event log", log_mib, "MiB"),
        Row(f"{size}: cold start without a log", cold_start_s(cell, nodes, forget=True), "s"),
    ]


async def run(sizes: list[int]) -> list[Row]:
    """Return the figures of every size."""
    rows = []
    for nodes in sizes:
        with tempfile.TemporaryDirectory(prefix="fleetmend-scale-") as folder:
            async with bench_cell(Path(folder)) as cell:
                rows += await asyncio.to_thread(measure, cell, nodes)
    return rows


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, nargs="+", default=list(SIZES))
    publish("scale", asyncio.run(run(parser.parse_args().nodes)), about="one cell on one machine")


if __name__ == "__main__":
    main()
