"""The drain of 200 nodes with 15 pods each: fleetmend beside `kubectl drain`, on the same API server in the same run.

`kubectl drain --selector` goes from node to node, so it stands here twice: as one process, over a tenth of the nodes,
and as many processes as do best, each with a node of its own. Nodes have no kubelets: the pods ask for no grace period,
so the API removes each as its eviction is accepted. What a workload takes to end is the same for everybody, and not
measured. fleetmend's time begins with the first finding and has the cordon in it, as kubectl's has its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.bench_cell import BenchCell, bench_cell
from benchmarks.cordon_latency import introduce
from benchmarks.fleet_traffic import fault, node_name, raised
from benchmarks.kubernetes import ACTING, CLUSTER, NO_BREAKERS, Ask, Watcher, at_once, cordon_of, is_here
from benchmarks.report import Row, publish
from tests.support.kubernetes import ASSETS, KubernetesCluster
from tests.support.kubernetes_api import MERGE_PATCH, KubernetesApi, pod, seen

NODES, PODS = 200, 15
ONE_PROCESS_NODES = NODES // 10
PARALLEL = (8, 32)
"""Processes of kubectl at a time; the better counts."""

LIMIT_S = 540.0
DEFAULT = "/api/v1/namespaces/default"
PLAYBOOK = """
playbook: drain_and_ask
summary: A GPU has a fault.
fault_class: gpu
severity: warning
precedence: 1
mode: act
runbook: docs/how-to/respond/gpu_lost.md
answers:
  - {check: gpu.xid, verdicts: [failed]}
guards: {drain: needed, reversible: true}
steps:
  - cordon: {}
  - drain: {jobs: requeue, limit: 10m}
  - approve: {question: "Go on?"}
  - verify: {}
  - uncordon: {}
hand_over:
  - ticket: {team: platform}
"""


class Pods:
    """Counts the pods as a watch tells of them."""

    def __init__(self, api: KubernetesApi) -> None:
        self._api = api
        self.left = 0
        self.last_gone_at = 0.0

    @contextmanager
    def watching(self) -> Iterator[Pods]:
        """Watch meanwhile."""
        found = self._api.get(f"{DEFAULT}/pods")
        self.left, version = len(found["items"]), found["metadata"]["resourceVersion"]
        with self._api.watch(f"{DEFAULT}/pods?resourceVersion={version}", timeout_s=3600.0) as events:
            thread = threading.Thread(target=self._note, args=(events,), daemon=True)
            thread.start()
            yield self
        thread.join(timeout=10.0)

    def _note(self, events: Iterator[dict[str, Any]]) -> None:
        # The watch ends with a closed connection when the measurement is over.
        with suppress(OSError, ValueError, AttributeError):
            for event in events:
                if event["type"] == "DELETED":
                    self.left, self.last_gone_at = self.left - 1, time.time()

    def wait_until_gone(self, *, left: int = 0) -> float:
        """Return when the last one went."""
        seen("no pod is left", lambda: self.left <= left, limit_s=LIMIT_S)
        return self.last_gone_at


def fill(cluster: KubernetesCluster, nodes: list[str]) -> None:
    """Put running pods on every node, as if something made them that exists."""
    api = cluster.api
    api.request("POST", f"{DEFAULT}/configmaps", {"metadata": {"name": "owner"}}).expect(201, 409)
    uid = api.get(f"{DEFAULT}/configmaps/owner")["metadata"]["uid"]
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid, "controller": True}
    asyncio.run(at_once(cluster, [_pod(f"{node}-{number}", node, owner) for node in nodes for number in range(PODS)]))


def _pod(name: str, node: str, owner: dict[str, object]) -> Ask:
    body = pod(name, node=node, ownerReferences=[owner])
    body["spec"]["terminationGracePeriodSeconds"] = 0
    running = json.dumps({"status": {"phase": "Running"}})

    async def ask(session: aiohttp.ClientSession) -> None:
        async with session.post(f"{DEFAULT}/pods", json=body) as answer:
            assert answer.status == 201, await answer.text()
        headers = {"Content-Type": MERGE_PATCH}
        async with session.patch(f"{DEFAULT}/pods/{name}/status", data=running, headers=headers) as answer:
            assert answer.status == 200, await answer.text()

    return ask


def by_kubectl(cluster: KubernetesCluster, nodes: list[str], parallel: int) -> tuple[float, float]:
    """Drain each node by a process of its own; return seconds until the last pod went, and until all had ended."""
    with Pods(cluster.api).watching() as pods:
        began, left = time.time(), pods.left - len(nodes) * PODS
        with ThreadPoolExecutor(parallel) as pool:
            list(pool.map(lambda node: kubectl(cluster, node), nodes))
        ended = time.time()
        return pods.wait_until_gone(left=left) - began, ended - began


def find_kubectl() -> str:
    """Return the program, empty when there is none; envtest has one beside the API server."""
    path = os.pathsep.join([os.environ.get("PATH", ""), os.environ.get(ASSETS, "")])
    return shutil.which("kubectl", path=path) or ""


def kubectl(cluster: KubernetesCluster, *which: str) -> None:
    """Run `kubectl drain`."""
    options = ("--kubeconfig", str(cluster.kubeconfig), "--ignore-daemonsets")
    done = subprocess.run(
        [find_kubectl(), "drain", *which, *options], capture_output=True, text=True, check=False, timeout=LIMIT_S
    )
    assert done.returncode == 0, done.stderr


def by_one_process(cluster: KubernetesCluster, nodes: list[str]) -> float:
    """Drain nodes by one process, which goes from one to the next; return the seconds until it ended."""
    for node in nodes:
        cluster.api.patch(f"/api/v1/nodes/{node}", {"metadata": {"labels": {"drain": "yes"}}})
    began = time.time()
    kubectl(cluster, "--selector", "drain=yes")
    return time.time() - began


def by_fleetmend(cell: BenchCell, cluster: KubernetesCluster, nodes: list[str]) -> tuple[float, float]:
    """Have every node fail; return seconds until the last pod went, and until every drain was known to be over."""
    with Pods(cluster.api).watching() as pods, cell.wire() as wire:
        cell.start()
        introduce(cell, wire, len(nodes))
        seen("all nodes are known to be free", lambda: all(node["schedulable"] for node in cell.get("nodes")))
        began = time.time()
        for node in nodes:
            wire.publish(*raised(node, 1, fault("79", "GPU-0")))
        wire.flush()
        gone = pods.wait_until_gone()
        return gone - began, max(_drained_at(cell, incident["id"]) for incident in cell.get("incidents")) - began


def _drained_at(cell: BenchCell, incident: str) -> float:
    """Wait until an incident's drain is over; return when it was, on the controller's clock."""

    def look() -> float | None:
        timeline = cell.get("incidents", incident)["timeline"]
        ended = (entry["at"] for entry in timeline if entry["text"] == "Drain done")
        return next((datetime.fromisoformat(at).timestamp() for at in ended), None)

    return seen(f"the drain of {incident} is over", look, limit_s=60.0)


def freed(cluster: KubernetesCluster, nodes: list[str]) -> None:
    """Give every node back."""
    with Watcher(cluster.api).watching() as watcher:
        asyncio.run(at_once(cluster, [cordon_of(node, on=False) for node in nodes]))
        watcher.wait_until_free(*nodes)


def measure_kubectl(cluster: KubernetesCluster, nodes: list[str]) -> list[Row]:
    """Return the figures of kubectl."""
    rows = []
    few = nodes[:ONE_PROCESS_NODES]
    fill(cluster, few)
    rows.append(Row(f"kubectl drain --selector, {len(few)} nodes", by_one_process(cluster, few), "s"))
    for parallel in PARALLEL:
        freed(cluster, nodes)
        fill(cluster, nodes)
        gone, ended = by_kubectl(cluster, nodes, parallel)
        rows.append(Row(f"kubectl drain, {parallel} processes at a time: last pod gone", gone, "s"))
        rows.append(Row(f"kubectl drain, {parallel} processes at a time: all ended", ended, "s"))
    freed(cluster, nodes)
    return rows


async def measure_fleetmend(cluster: KubernetesCluster, folder: Path, nodes: list[str]) -> list[Row]:
    """Return the figures of fleetmend."""
    playbooks = folder / "playbooks"
    playbooks.mkdir()
    (playbooks / "drain_and_ask.yaml").write_text(PLAYBOOK)
    (folder / "cell").mkdir()
    settings = NO_BREAKERS + ACTING.format(playbooks=playbooks) + CLUSTER.format(kubeconfig=cluster.kubeconfig)
    async with bench_cell(folder / "cell", settings) as cell:
        run: Callable[[], tuple[float, float]] = lambda: by_fleetmend(cell, cluster, nodes)  # noqa: E731
        gone, known = await asyncio.to_thread(run)
        return [
            Row("fleetmend: last pod gone", gone, "s", "less than kubectl"),
            Row("fleetmend: every drain known to be over", known, "s", "less than kubectl"),
            Row("fleetmend: evictions", len(nodes) * PODS / gone, "a second"),
            Row("controller's memory", cell.usage()[1], "MiB"),
        ]


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=NODES)
    nodes = [node_name(number) for number in range(parser.parse_args().nodes)]
    if not is_here("kubernetes_drain"):
        return
    with tempfile.TemporaryDirectory(prefix="fleetmend-drain-") as scratch:
        folder = Path(scratch)
        (folder / "cluster").mkdir()
        with KubernetesCluster(folder / "cluster") as cluster:
            cluster.add_nodes(*nodes)
            rows = measure_kubectl(cluster, nodes) if find_kubectl() else []
            fill(cluster, nodes)
            rows += asyncio.run(measure_fleetmend(cluster, folder, nodes))
    publish("kubernetes_drain", rows, about=f"{len(nodes)} nodes with {PODS} pods each, real API server")


if __name__ == "__main__":
    main()
