"""The nodes and pods of one cluster, as two watches keep them: each look costs what changed, not what exists."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog

from controller.adapters import NodeSchedule
from controller.schedulers.kubernetes_access import Access
from controller.schedulers.kubernetes_hold import NodeState, schedule_of, state_of
from controller.schedulers.kubernetes_mirror import Kind, Mirror
from controller.schedulers.kubernetes_objects import KubeNode, KubePod
from controller.schedulers.kubernetes_pods import PodPolicies, PodState, jobs_of, pod_of
from controller.topology.kubernetes import LABELS, LabelTable

log = structlog.get_logger()

RUNNING = "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed"
"""Pods that have a node and have not ended."""


@dataclass(slots=True)
class Cluster:
    """What is known of the cluster.

    Attributes:
        taint: key of our taint.
        label: whose value is a node's name in fleetmend; empty takes its own.
        places: kind of place → labels that name one.
    """

    access: Access
    policies: PodPolicies
    taint: str
    label: str = ""
    places: LabelTable = field(default_factory=lambda: LABELS)
    nodes: Mirror[KubeNode, NodeState] = field(init=False)
    pods: Mirror[KubePod, PodState] = field(init=False)
    _by_name: dict[str, NodeState] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)
    _on: dict[str, dict[str, PodState]] = field(default_factory=dict)
    _left_over: dict[str, NodeState] = field(default_factory=dict)
    _stale: set[str] = field(default_factory=set)
    _schedules: dict[str, NodeSchedule] = field(default_factory=dict)
    _watches: list[asyncio.Task[None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        clock = time.monotonic
        nodes = Kind("api/v1/nodes", KubeNode, self._state)
        pods = Kind("api/v1/pods", KubePod, lambda pod: pod_of(pod, self.policies), RUNNING)
        self.nodes = Mirror(self.access, nodes, self._node_changed, clock)
        self.pods = Mirror(self.access, pods, self._pod_changed, clock)

    async def confirmed(self) -> None:
        """Return once both watches are up to date; they begin with the first call.

        Raises:
            Retryable, Permanent, Refused: one is not, and why.
        """
        if not self._watches:
            self._watches = [
                asyncio.create_task(self.nodes.run(), name="kubernetes-nodes"),
                asyncio.create_task(self.pods.run(), name="kubernetes-pods"),
            ]
        await self.nodes.confirmed()
        await self.pods.confirmed()

    async def close(self) -> None:
        """End the watches."""
        for watch in self._watches:
            watch.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)
        self._watches = []

    def known(self, name: str) -> NodeState | None:
        """Return a node by its name in fleetmend, as it was last seen."""
        return self._by_name.get(name)

    def take(self, node: KubeNode) -> NodeState:
        """Take in a node that was read or written besides the watch, and return it."""
        self.nodes.put(node)
        return self._state(node)

    def pods_on(self, node: str) -> list[PodState]:
        """Return the work on a node, by its name in Kubernetes."""
        return list(self._on.get(node, {}).values())

    async def pods_now(self, node: str) -> list[PodState]:
        """Return the work on a node by asking for it: what is not there by the watch may not be there yet."""
        found = (pod_of(pod, self.policies) for pod in await self.access.pods_on(node))
        return [pod for pod in found if pod is not None]

    def left_over(self) -> list[NodeState]:
        """Return the nodes that bear marks of ours without a hold."""
        return list(self._left_over.values())

    def schedules(self) -> Mapping[str, NodeSchedule]:
        """Return every node that fleetmend knows, by its name there."""
        for node in self._stale:
            name = self._names.get(node, "")
            if name:
                self._schedules[name] = schedule_of(self._by_name[name], jobs_of(self.pods_on(node)))
        self._stale.clear()
        return dict(self._schedules)

    def _state(self, node: KubeNode) -> NodeState:
        return state_of(node, taint=self.taint, label=self.label, places=self.places)

    def _node_changed(self, before: NodeState | None, after: NodeState | None) -> None:
        for gone in (before,) if before is not None and (after is None or after.name != before.name) else ():
            self._forget(gone)
        if after is None:
            return
        other = self._by_name.get(after.name)
        if not after.name or (other is not None and other.node != after.node):
            if before is None or before.name != after.name:
                log.warning("node.unnamed", node=after.node, label=self.label, taken_by=other.node if other else "")
            return
        self._by_name[after.name], self._names[after.node] = after, after.name
        if after.left_over:
            self._left_over[after.node] = after
        else:
            self._left_over.pop(after.node, None)
        self._stale.add(after.node)

    def _forget(self, node: NodeState) -> None:
        self._left_over.pop(node.node, None)
        if self._names.pop(node.node, None) is not None:
            del self._by_name[node.name]
            self._schedules.pop(node.name, None)

    def _pod_changed(self, before: PodState | None, after: PodState | None) -> None:
        for pod in (before,) if before is not None else ():
            self._on[pod.node].pop(pod.title, None)
            self._stale.add(pod.node)
        if after is not None:
            self._on.setdefault(after.node, {})[after.title] = after
            self._stale.add(after.node)
