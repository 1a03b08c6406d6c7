"""From a kernel-log record to `spec.unschedulable` seen by a watch, beside a bare PATCH of the same server and run.

Real etcd, kube-apiserver and kube-controller-manager, real Mosquitto. Quiet: real agents on simulated machines, one
fault after the other, each a record at the machine's kernel-log seam. Burst: 200 nodes fail in one moment; their
findings are published by one connection, because 200 agents on this machine would measure each other. Nodes have no
kubelets: nobody else writes them meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import ssl
import statistics
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import aiohttp

from agent.simulation.machine import SimulatedMachine
from benchmarks.bench_cell import BenchCell, bench_cell
from benchmarks.cordon_latency import PLAYBOOK, introduce
from benchmarks.fleet_traffic import fault, node_name, raised
from benchmarks.latency import CODES
from benchmarks.report import Row, publish, spread
from cli.client import Client
from tests.support.embedded import EmbeddedCell, until
from tests.support.kubernetes import ADMIN_TOKEN, ASSETS, KubernetesCluster
from tests.support.kubernetes_api import MERGE_PATCH, KubernetesApi, seen

QUIET_NODES = 4
BURST = 200
AT_ONCE = 32
"""Bare PATCHes in flight at one time: as many as the adapter has connections for at least."""

NO_BREAKERS = """
breakers = []
domains = []
"""
"""So many faults within minutes are what these are for."""

CLUSTER = """
[kubernetes]
kubeconfig = "{kubeconfig}"
"""
ACTING = """
playbooks = "{playbooks}"
[budget]
percent = 100
[scheduler]
kind = "kubernetes"
"""


class Watcher:
    """Notes when a watch first told that a node is unschedulable."""

    def __init__(self, api: KubernetesApi) -> None:
        self._api = api
        self.at: dict[str, float] = {}

    @contextmanager
    def watching(self) -> Iterator[Watcher]:
        """Watch meanwhile."""
        version = self._api.get("/api/v1/nodes?limit=1")["metadata"]["resourceVersion"]
        with self._api.watch(f"/api/v1/nodes?resourceVersion={version}", timeout_s=3600.0) as events:
            thread = threading.Thread(target=self._note, args=(events,), daemon=True)
            thread.start()
            yield self
        thread.join(timeout=10.0)

    def _note(self, events: Iterator[dict[str, dict[str, dict[str, str]]]]) -> None:
        # The watch ends with a closed connection when the measurement is over.
        with suppress(OSError, ValueError, AttributeError):
            for event in events:
                node = event["object"]["metadata"]["name"]
                if not event["object"]["spec"].get("unschedulable"):
                    self.at.pop(node, None)
                elif node not in self.at:
                    self.at[node] = time.time()

    def wait(self, *nodes: str) -> dict[str, float]:
        """Return node → when it was seen unschedulable, once all were."""
        seen(f"{len(nodes)} nodes are unschedulable", lambda: set(nodes) <= self.at.keys(), limit_s=120.0)
        return {node: self.at[node] for node in nodes}

    def wait_until_free(self, *nodes: str) -> None:
        """Return once nobody holds these nodes any more."""
        seen(f"{len(nodes)} nodes are schedulable", lambda: not set(nodes) & self.at.keys(), limit_s=120.0)


Ask = Callable[[aiohttp.ClientSession], Awaitable[None]]


async def at_once(cluster: KubernetesCluster, asks: Sequence[Ask], *, limit: int = AT_ONCE) -> float:
    """Ask all of these over kept connections, so many at a time; return how many seconds it took."""
    trusted = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=str(cluster.certificate)), limit=limit)
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    async with aiohttp.ClientSession(cluster.url, connector=trusted, headers=headers) as session:
        async with session.get("/api/v1/namespaces/default"):
            pass
        began = time.perf_counter()
        await asyncio.gather(*(ask(session) for ask in asks))
        return time.perf_counter() - began


def cordon_of(node: str, *, on: bool = True) -> Ask:
    """Return the bare PATCH that cordons a node, or gives it back."""

    async def ask(session: aiohttp.ClientSession) -> None:
        body = b'{"spec":{"unschedulable":true}}' if on else b'{"spec":{"unschedulable":null}}'
        path, headers = f"/api/v1/nodes/{node}", {"Content-Type": MERGE_PATCH}
        async with session.patch(path, data=body, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            await answer.read()

    return ask


def bare_ms(cluster: KubernetesCluster, watcher: Watcher, count: int) -> list[float]:
    """Return how long a bare PATCH takes to be seen by the watch, one after the other on one connection."""
    took = []

    async def one_by_one() -> None:
        async def each(session: aiohttp.ClientSession) -> None:
            for number in range(count):
                node = f"n{number % QUIET_NODES + 1}"
                began = time.time()
                await cordon_of(node)(session)
                took.append(1000 * ((await asyncio.to_thread(watcher.wait, node))[node] - began))
                await cordon_of(node, on=False)(session)
                await asyncio.to_thread(watcher.wait_until_free, node)

        await at_once(cluster, [each])

    asyncio.run(one_by_one())
    return took


def one_fault_ms(cell: EmbeddedCell, watcher: Watcher, number: int) -> float:
    """Break one GPU and give the node back; return from the record to the cordon seen."""
    node = f"n{number % QUIET_NODES + 1}"
    gpu, code = number // QUIET_NODES % 8, CODES[number // (QUIET_NODES * 8) % len(CODES)]
    began = time.time()
    SimulatedMachine.open(cell.state / "machines" / node).log_xid(gpu, code)
    took = watcher.wait(node)[node] - began
    Client(cell.url).post("nodes", node, "uncordon", because="benchmark")
    watcher.wait_until_free(node)
    until("its incidents are over", lambda: all(i["state"] == "closed" for i in cell.incidents(node)))
    return 1000 * took


def quiet(cluster: KubernetesCluster, folder: Path, faults: int) -> list[Row]:
    """Return the figures of faults one after the other."""
    cluster.add_nodes(*(f"n{number + 1}" for number in range(QUIET_NODES)))
    settings, state = folder / "settings.toml", folder / "cell"
    settings.write_text(NO_BREAKERS + CLUSTER.format(kubeconfig=cluster.kubeconfig))
    state.mkdir()
    options = ("--budget", "100%", "--playbooks", str(folder / "playbooks"), "--settings", str(settings))
    with (
        Watcher(cluster.api).watching() as watcher,
        EmbeddedCell(state, QUIET_NODES, "kubernetes", options) as cell,
    ):
        bare = bare_ms(cluster, watcher, min(faults, 100))
        whole = [one_fault_ms(cell, watcher, number) for number in range(faults)]
    return [
        *spread(f"quiet: record → unschedulable seen, {faults} faults", whole, "ms", "≤ 50"),
        *spread("quiet: bare PATCH → seen", bare, "ms"),
        Row("quiet: ratio of the medians", statistics.median(whole) / statistics.median(bare), "×"),
    ]


def burst(cell: BenchCell, cluster: KubernetesCluster) -> list[Row]:
    """Return the figures of 200 nodes that fail in one moment."""
    nodes = [node_name(number) for number in range(BURST)]
    with Watcher(cluster.api).watching() as watcher, cell.wire() as wire:
        began = time.time()
        bare_s = asyncio.run(at_once(cluster, [cordon_of(node) for node in nodes]))
        bare = [1000 * (at - began) for at in watcher.wait(*nodes).values()]
        asyncio.run(at_once(cluster, [cordon_of(node, on=False) for node in nodes]))
        watcher.wait_until_free(*nodes)
        cell.start()
        introduce(cell, wire, BURST)
        seen("the controller sees them free", lambda: all(node["schedulable"] for node in cell.get("nodes")))
        published = {}
        for node in nodes:
            published[node] = time.time()
            wire.publish(*raised(node, 1, fault("79", "GPU-0")))
        wire.flush()
        at = watcher.wait(*nodes)
    whole = [1000 * (at[node] - published[node]) for node in nodes]
    return [
        *spread(f"burst of {BURST}: finding → unschedulable seen", whole, "ms", "≤ 1,000"),
        *spread(f"burst of {BURST}: bare PATCHes, {AT_ONCE} at a time → seen", bare, "ms"),
        Row("bare PATCHes", BURST / bare_s, "a second"),
        Row("cordons", BURST / (max(at.values()) - min(published.values())), "a second"),
    ]


async def run_burst(cluster: KubernetesCluster, folder: Path) -> list[Row]:
    """Return the figures of the burst, in a cell of its own."""
    state = folder / "burst"
    state.mkdir()
    acting = ACTING.format(playbooks=folder / "playbooks")
    settings = NO_BREAKERS + acting + CLUSTER.format(kubeconfig=cluster.kubeconfig)
    async with bench_cell(state, settings) as cell:
        return await asyncio.to_thread(burst, cell, cluster)


def is_here(benchmark: str) -> bool:
    """Return whether there is a control plane to measure against, and say so when there is none."""
    if os.environ.get(ASSETS):
        return True
    print(f"{benchmark}: not measured, {ASSETS} names no folder with kube-apiserver")
    return False


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=100)
    faults = parser.parse_args().faults
    if not is_here("kubernetes"):
        return
    with tempfile.TemporaryDirectory(prefix="fleetmend-kubernetes-") as scratch:
        folder = Path(scratch)
        (folder / "playbooks").mkdir()
        (folder / "playbooks" / "cordon_and_ask.yaml").write_text(PLAYBOOK)
        (folder / "cluster").mkdir()
        with KubernetesCluster(folder / "cluster") as cluster:
            rows = quiet(cluster, folder, faults)
            cluster.add_nodes(*(node_name(number) for number in range(BURST)))
            rows += asyncio.run(run_burst(cluster, folder))
    publish("kubernetes", rows, about="from a fault to a node that takes no more pods, real API server")


if __name__ == "__main__":
    main()
