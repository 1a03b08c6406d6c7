"""Kubernetes, by its API: what a node is like comes from watches, every write goes by the state that it was decided on.

A cordon is one PATCH: unschedulable, taint and annotations, with the resourceVersion as precondition. That the node is
so is read back. The condition and the event for people come after it, and never fail it.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import structlog

from controller.adapters import Hold, NodeSchedule, Waiting
from controller.errors import Permanent, Refused, Retryable
from controller.schedulers import kubernetes_hold
from controller.schedulers.kubernetes_access import Access, NotUsable, config_of
from controller.schedulers.kubernetes_answers import CONFLICT, Answered, failure_of
from controller.schedulers.kubernetes_cluster import Cluster
from controller.schedulers.kubernetes_devices import Devices
from controller.schedulers.kubernetes_drain import Drainer
from controller.schedulers.kubernetes_hold import NodeState
from controller.schedulers.kubernetes_pods import Drain, Mode, PodPolicies, PodRule, PodState, Policy, seconds
from controller.sections.kubernetes import KubernetesSection
from controller.settings import SettingsError
from controller.topology.kubernetes import LABELS, LabelTable

log = structlog.get_logger()

JOBS = ("wait", "requeue", "cancel")

TRIES = 5
"""So often a write is tried anew because somebody else wrote the node in the same moment; kubelets do every few
seconds. Source: our choice."""

NOTES_LIMIT_S = 2.0
"""The condition and the event may take so long each. Source: our choice."""

NOTES_AT_ONCE = 2
"""So few, because cordons go before. Source: our choice."""


def scheduler_of(section: KubernetesSection, *, deadline_s: float, places: LabelTable = LABELS) -> KubernetesScheduler:
    """Return the adapter for the cluster of the settings.

    Args:
        places: kind of place → labels of a node that name one.

    Raises:
        SettingsError: there is none by these settings.
    """
    try:
        access = Access(config_of(section.kubeconfig, section.context), deadline_s)
    except NotUsable as error:
        raise SettingsError(f"kubernetes: {error}") from error
    return KubernetesScheduler(access, section, places=places)


def policies_of(section: KubernetesSection) -> PodPolicies:
    """Return how the site wants its pods treated."""
    rules = (PodRule(Mode(rule.mode), rule.namespaces, rule.labels, rule.limit_s) for rule in section.pods)
    return PodPolicies(
        rules=tuple(rules),
        empty_dir=Policy(section.empty_dir),
        unmanaged=Policy(section.unmanaged),
        job_labels=section.job_labels,
        device_annotation=section.device_annotation,
        device_resources=section.device_resources,
    )


@dataclass(slots=True)
class KubernetesScheduler:
    """A Kubernetes cluster.

    Attributes:
        clock: seconds since 1970.
    """

    access: Access
    section: KubernetesSection
    clock: Callable[[], float] = time.time
    name: str = "kubernetes"
    places: LabelTable = field(default_factory=lambda: LABELS)
    cluster: Cluster = field(init=False)
    _drainer: Drainer = field(init=False)
    _devices: Devices = field(init=False)
    _reached: dict[str, str] = field(default_factory=dict)
    _waiting: dict[str, Waiting] = field(default_factory=dict)
    _beside: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _news: dict[str, list[tuple[Mapping[str, object], Mapping[str, object]]]] = field(default_factory=dict)
    """Node → conditions and events that people are to be told, oldest first."""
    _telling: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(NOTES_AT_ONCE))
    _holder: str = field(default_factory=lambda: f"fleetmend on {socket.gethostname()}")

    def __post_init__(self) -> None:
        policies = policies_of(self.section)
        self.cluster = Cluster(self.access, policies, self.section.taint, self.section.node_label, self.places)
        self._drainer = Drainer(self.access, policies, self.section.grace_period_s)
        self._devices = Devices(self.access)

    async def close(self) -> None:
        """End the watches and every connection; people get a moment to be told what was done last."""
        with suppress(TimeoutError):
            async with asyncio.timeout(NOTES_LIMIT_S):
                await self.told()
        await self.cluster.close()
        await self.access.close()

    async def observe(self) -> Mapping[str, NodeSchedule]:
        """Return every node of the cluster, from watches that are no older than a minute.

        A job is a pod that runs or is to run there, or what its labels say it is part of; pods of DaemonSets, static
        and ended ones are none. So a node without jobs is idle, which is what a benchmark waits for.
        """
        with _told("reading the nodes"):
            await self._confirmed()
        for state in self.cluster.left_over():
            self._later(f"kubernetes-tidy-{state.node}", self._tidy(state))
        return self.cluster.schedules()

    async def cordon(self, node: str, hold: Hold) -> str:
        """Hold the node for an incident: no pod is placed on it any more, and those on it go on.

        Raises:
            Refused: somebody else holds it, and what they wrote is left as it is.
        """
        with _told(f"the cordon of {node}"):
            state, written = self.cluster.known(node), False
            for _ in range(TRIES):
                if state is None or state.unschedulable:
                    state = await self._look(node)
                if state.held_by != hold.incident_id:
                    _refuse_unless_free(state)
                elif state.tainted:
                    return self._cordoned(state, hold, written=written)
                # Kubernetes' own controller writes taints as it last saw them, and may just have taken ours off.
                written |= await self._write(state, self._cordon_patch(state, hold))
                state = None
        if written:
            raise Retryable(f"Kubernetes accepted the cordon of {node}, which is not so all the same", after_s=1.0)
        raise Retryable(f"Kubernetes: {node} was changed by others {TRIES} times while it was cordoned", after_s=1.0)

    async def uncordon(self, node: str, hold: Hold) -> str:
        """Take our taint, annotations and cordon off, if it is this incident's hold that is on the node.

        Raises:
            Refused: somebody else holds it, or a later controller of ours does.
        """
        written = False
        with _told(f"the uncordon of {node}"):
            for _ in range(TRIES):
                state = await self._look(node)
                if not state.unschedulable and not state.left_over:
                    return self._given_back(state, hold, written=written)
                if written and not state.left_over:
                    break
                # Kubernetes' own controller writes taints as it last saw them, and may just have put ours back.
                if not state.left_over:
                    _refuse_unless_ours(state, hold)
                written |= await self._write(state, kubernetes_hold.uncordon_patch(state, taint=self.section.taint))
        if written:
            raise Retryable(f"Kubernetes accepted the uncordon of {node}, which is not so all the same", after_s=1.0)
        raise Retryable(f"Kubernetes: {node} was changed by others {TRIES} times while it was uncordoned", after_s=1.0)

    async def drain(self, node: str, hold: Hold, *, jobs: str) -> tuple[str, ...]:
        """Take one step towards a node without work and return the pods that are still on it.

        `wait` evicts nobody; `requeue` evicts by the site's rules, with leave of disruption budgets; `cancel` deletes.

        Raises:
            Refused: the node is not held by this incident, or a rule forbids to evict one of its pods.
            Permanent: none of the pods still there can ever be evicted.
        """
        if jobs not in JOBS:
            raise Permanent(f"drain: jobs is {jobs!r}, it must be one of {', '.join(JOBS)}")
        with _told(f"the drain of {node}"):
            await self._confirmed()
            state = self.cluster.known(node)
            if state is None or state.held_by != hold.incident_id:
                state = await self._look(node)
            _refuse_unless_ours(state, hold)
            pods = await self._pods(state, hold) if hold.device else await self._all_pods(state)
            step = self._step(state, jobs)
            wanted = self._drainer.wanted(pods, step)
            if wanted:
                _refuse_unless_ours(await self._look(node), hold)
                await self._drainer.carry_out(wanted)
            self._waiting[node] = self._drainer.waiting(pods, step)
        return tuple(sorted(pod.title for pod in pods))

    def waits_for(self, node: str) -> Waiting:
        """Return what the last step of the node's drain left to be waited for."""
        return self._waiting.get(node, Waiting(""))

    def reach(self, hold: Hold) -> str:
        """Return whom the drain of a device waited for."""
        return self._reached.pop(hold.key, f"No pod is left on the node that may hold {hold.device}.")

    async def _all_pods(self, state: NodeState) -> Sequence[PodState]:
        """Return the work on a node. That there is none is asked for: what a watch does not show may be on its way."""
        return self.cluster.pods_on(state.node) or await self.cluster.pods_now(state.node)

    async def _pods(self, state: NodeState, hold: Hold) -> Sequence[PodState]:
        """Return the pods that hold the device, or all of the node when nobody can say which do."""
        found = await self._devices.reach(state.node, await self._all_pods(state), hold.device)
        if not found.pods and not found.because:
            now = await self.cluster.pods_now(state.node)
            found = await self._devices.reach(state.node, now, hold.device)
        if found.because and hold.key not in self._reached:
            log.warning("drain.widened", node=state.name, device=hold.device, because=found.because)
            self._reached[hold.key] = f"The whole node was drained, because {found.because}."
        return found.pods

    def _step(self, state: NodeState, jobs: str) -> Drain:
        now = self.clock()
        since = seconds(state.since)
        return Drain(jobs, now - since if since else 0.0, now, self.section.force_after_s)

    async def _confirmed(self) -> None:
        try:
            async with asyncio.timeout(self.access.deadline_s):
                await self.cluster.confirmed()
        except TimeoutError as error:
            raise Retryable("Kubernetes: its nodes and pods are still being listed", after_s=2.0) from error

    async def _look(self, node: str) -> NodeState:
        """Return a node as it is now. One whose name is a label's value is known by the watch alone."""
        known = self.cluster.known(node)
        if known is None and self.section.node_label:
            await self._confirmed()
            known = self.cluster.known(node)
        if known is None and self.section.node_label:
            raise Permanent(f"Kubernetes has no node whose label {self.section.node_label} is {node!r}")
        return self.cluster.take(await self.access.node(known.node if known is not None else node))

    def _cordon_patch(self, state: NodeState, hold: Hold) -> dict[str, object]:
        now = self._now()
        return kubernetes_hold.cordon_patch(state, hold, taint=self.section.taint, holder=self._holder, now=now)

    async def _write(self, state: NodeState, patch: Mapping[str, object]) -> bool:
        """Write a node as long as it is as it was seen; return False when it is not."""
        try:
            self.cluster.take(await self.access.patch_node(state.node, patch))
        except Answered as error:
            if error.answer.code == CONFLICT:
                return False
            raise
        return True

    def _cordoned(self, state: NodeState, hold: Hold, *, written: bool) -> str:
        if not written:
            return f"{state.name} is cordoned in Kubernetes for {hold.incident_id} already."
        self._note(state, "FleetmendCordoned", f"{hold.incident_id}: {hold.reason}", healthy=False)
        return f"{state.name} is cordoned in Kubernetes for {hold.incident_id}."

    def _given_back(self, state: NodeState, hold: Hold, *, written: bool) -> str:
        if not written:
            return f"{state.name} is schedulable in Kubernetes: nobody holds it."
        self._note(state, "FleetmendUncordoned", f"{hold.incident_id} is over.", healthy=True)
        return f"{state.name} is given back to Kubernetes."

    async def _tidy(self, state: NodeState) -> None:
        """Take what is left of our hold off a node that somebody uncordoned by hand: `kubectl uncordon` leaves our
        taint, which would go on keeping pods off."""
        patch = kubernetes_hold.uncordon_patch(state, taint=self.section.taint)
        try:
            if await self._write(state, patch):
                log.info("node.tidied", node=state.name, incident_id=state.incident_id)
                self._note(state, "FleetmendUncordoned", "It was uncordoned by hand.", healthy=True)
        except (Answered, Retryable, Permanent, Refused) as error:
            log.warning("node.untidied", node=state.name, because=str(error))

    def _note(self, state: NodeState, reason: str, message: str, *, healthy: bool) -> None:
        """Have people told by a condition and an event. The effect itself is done: nobody waits for this."""
        now = self._now()
        condition = kubernetes_hold.condition_patch(healthy=healthy, message=message, now=now)
        event = kubernetes_hold.event_of(state, reason=reason, message=message, holder=self._holder, now=now)
        self._news.setdefault(state.node, []).append((condition, event))
        self._later(f"kubernetes-note-{state.node}", self._tell(state.node, state.name))

    def _later(self, name: str, deed: Coroutine[Any, Any, None]) -> None:
        """Do something beside all else; nothing of the same name twice at one time."""
        if name in self._beside and not self._beside[name].done():
            deed.close()
            return
        task = self._beside[name] = asyncio.create_task(deed, name=name)
        task.add_done_callback(lambda _: self._beside.pop(name) if self._beside.get(name) is task else None)

    async def _tell(self, node: str, name: str) -> None:
        """Tell the news of a node one after the other: of two conditions the later one must stay."""
        while news := self._news.pop(node, []):
            for condition, event in news:
                async with self._telling:
                    said = await _tried(self.access.patch_node_status(node, condition))
                    said = await _tried(self.access.create_event(event)) or said
                if said:
                    log.warning("node.unannotated", node=name, because=said)

    async def told(self) -> None:
        """Return once people have been told of all that was done."""
        await asyncio.gather(*self._beside.values(), return_exceptions=True)

    def _now(self) -> str:
        return datetime.fromtimestamp(int(self.clock()), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def _tried(write: Awaitable[None]) -> str:
    """Return why a write failed, empty when it did not."""
    try:
        async with asyncio.timeout(NOTES_LIMIT_S):
            await write
    except (Answered, Retryable, Permanent, TimeoutError) as error:
        return str(error) or "no answer in time"
    return ""


@contextmanager
def _told(doing: str) -> Iterator[None]:
    """Turn an answer that nobody here expected into the engine's words."""
    try:
        yield
    except Answered as error:
        raise failure_of(error.answer, doing) from error


def _refuse_unless_free(state: NodeState) -> None:
    if state.held_by:
        raise Refused(f"{state.name} is held in Kubernetes for another incident of fleetmend: {state.held_by}")
    if state.foreign_reason:
        raise Refused(f"{state.name} is held in Kubernetes by somebody else: {state.foreign_reason}")


def _refuse_unless_ours(state: NodeState, hold: Hold) -> None:
    if state.held_by != hold.incident_id:
        _refuse_unless_free(state)
        raise Refused(f"{state.name} is not held in Kubernetes for {hold.incident_id}: it is schedulable")
    if state.token > hold.fencing_token:
        raise Refused(
            f"{state.name} was cordoned by a later controller (term {state.token}, this is {hold.fencing_token})"
        )
