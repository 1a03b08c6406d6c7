"""Which pods of a node are work, and what becomes of each when the node is drained. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from fnmatch import fnmatchcase

from controller.schedulers.kubernetes_objects import KubePod

MIRROR = "kubernetes.io/config.mirror"
"""Annotation of the API's image of a pod that the kubelet runs from a file. Source: kubernetes, types.go of kubelet."""

ENDED = frozenset({"Succeeded", "Failed"})
"""Phases of a pod that runs no more. Source: Kubernetes, "Pod Lifecycle"."""

IN_MEMORY = "Memory"

UUID = re.compile(r"(?:GPU|MIG)-[0-9A-Za-z]+(?:-[0-9A-Za-z]+)*(?:/[0-9]+/[0-9]+)?")
"""A GPU's UUID, or that of a part of one. Source: NVML, nvmlDeviceGetUUID; the old form of a MIG device has slashes."""


class Mode(StrEnum):
    """What a rule says of a pod."""

    EVICT = "evict"
    WAIT = "wait"
    NEVER = "never"
    IGNORE = "ignore"


class Policy(StrEnum):
    """What is done with pods that lose something by an eviction."""

    EVICT = "evict"
    WAIT = "wait"
    REFUSE = "refuse"


class Move(StrEnum):
    """What one step of a drain does with one pod: `force` takes it off the API without waiting for its node."""

    EVICT = "evict"
    DELETE = "delete"
    FORCE = "force"
    LEAVE = "leave"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class PodRule:
    """What becomes of some pods. Names and values may hold `*`; no namespace means all of them.

    Attributes:
        limit_s: with WAIT, how long after the cordon a pod is evicted all the same; 0 is never.
    """

    mode: Mode
    namespaces: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    limit_s: float = 0.0

    def fits(self, namespace: str, labels: Mapping[str, str]) -> bool:
        """Return whether it speaks of such a pod."""
        if self.namespaces and not any(fnmatchcase(namespace, name) for name in self.namespaces):
            return False
        return all(key in labels and fnmatchcase(labels[key], value) for key, value in self.labels.items())


@dataclass(frozen=True, slots=True)
class PodPolicies:
    """How a site wants its pods treated; see controller/sections/kubernetes.py."""

    rules: tuple[PodRule, ...] = ()
    empty_dir: Policy = Policy.EVICT
    unmanaged: Policy = Policy.WAIT
    job_labels: tuple[str, ...] = ()
    device_annotation: str = ""
    device_resources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PodState:
    """One pod that is work.

    Attributes:
        job: the job it is part of, else itself, with the namespace.
        rule: the first rule that fits it.
        unmanaged: nothing makes it anew elsewhere.
        local_data: it keeps data on the node's disk.
        ends_at: when its grace period is over, as seconds since 1970; 0 when nobody asked it to end.
        devices: UUIDs of its GPUs, `None` when its annotations do not say.
        asks: it asks a device plug-in for GPUs.
        claims: it claims devices by dynamic resource allocation.
    """

    namespace: str
    name: str
    uid: str
    version: str
    node: str
    job: str
    rule: PodRule | None = None
    unmanaged: bool = False
    local_data: bool = False
    ends_at: float = 0.0
    devices: tuple[str, ...] | None = None
    asks: bool = False
    claims: bool = False

    @property
    def title(self) -> str:
        """How people find it."""
        return f"{self.namespace}/{self.name}"


def pod_of(pod: KubePod, policies: PodPolicies) -> PodState | None:
    """Return a pod that is work; `None` for what stays on a drained node or has ended: DaemonSets', static, ignored."""
    metadata = pod.metadata
    labels, annotations = metadata.labels or {}, metadata.annotations or {}
    owner = next((owner for owner in metadata.owners or () if owner.controller), None)
    rule = next((rule for rule in policies.rules if rule.fits(metadata.namespace, labels)), None)
    if not pod.spec.node or pod.status.phase in ENDED or MIRROR in annotations:
        return None
    if (owner is not None and owner.kind == "DaemonSet") or (rule is not None and rule.mode is Mode.IGNORE):
        return None
    job = next((labels[label] for label in policies.job_labels if labels.get(label)), metadata.name)
    return PodState(
        namespace=metadata.namespace,
        name=metadata.name,
        uid=metadata.uid,
        version=metadata.version,
        node=pod.spec.node,
        job=f"{metadata.namespace}/{job}",
        rule=rule,
        unmanaged=owner is None,
        local_data=any(v.empty_dir is not None and v.empty_dir.medium != IN_MEMORY for v in pod.spec.volumes or ()),
        ends_at=seconds(metadata.ends_at) if metadata.ends_at else 0.0,
        devices=_listed(annotations.get(policies.device_annotation)) if policies.device_annotation else None,
        asks=_asks(pod, policies.device_resources),
        claims=bool(pod.spec.claims),
    )


def _listed(text: str | None) -> tuple[str, ...] | None:
    """Return the UUIDs in an annotation, whatever else is written there; `None` when there is no word of any."""
    found = UUID.findall(text or "")
    return tuple(sorted(set(found))) if found else None


def _asks(pod: KubePod, patterns: tuple[str, ...]) -> bool:
    containers = [*(pod.spec.containers or ()), *(pod.spec.init_containers or ())]
    names = {name for container in containers for name in container.resources.limits or ()}
    return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)


def jobs_of(pods: Iterable[PodState]) -> tuple[str, ...]:
    """Return the jobs that pods are of, in order."""
    return tuple(sorted({pod.job for pod in pods}))


@dataclass(frozen=True, slots=True)
class Drain:
    """How a node is drained.

    Attributes:
        jobs: `wait`, `requeue` or `cancel`.
        held_for_s: how long ago the node was cordoned.
        now: seconds since 1970.
        force_after_s: 0 is never.
    """

    jobs: str
    held_for_s: float
    now: float
    force_after_s: float = 0.0


def moves(pods: Sequence[PodState], drain: Drain, policies: PodPolicies) -> list[tuple[PodState, Move]]:
    """Return what this step of the drain does with each pod.

    `requeue` goes by the site's rules; `cancel` deletes whatever is not `never`, and asks no disruption budget.
    """
    return [(pod, _move(pod, drain, policies)) for pod in pods]


def _move(pod: PodState, drain: Drain, policies: PodPolicies) -> Move:
    mode = pod.rule.mode if pod.rule is not None else None
    if drain.jobs == "wait" or mode is Mode.NEVER:
        return Move.LEAVE
    if pod.ends_at:
        overdue = drain.force_after_s and drain.now >= pod.ends_at + drain.force_after_s
        return Move.FORCE if overdue else Move.LEAVE
    if drain.jobs == "cancel":
        return Move.DELETE
    return _requeued(pod, drain, policies)


def _requeued(pod: PodState, drain: Drain, policies: PodPolicies) -> Move:
    if pod.rule is not None:
        waits = pod.rule.mode is Mode.WAIT and not (pod.rule.limit_s and drain.held_for_s >= pod.rule.limit_s)
        return Move.LEAVE if waits else Move.EVICT
    wanted = {policies.unmanaged} if pod.unmanaged else set()
    wanted |= {policies.empty_dir} if pod.local_data else set()
    if Policy.REFUSE in wanted:
        return Move.REFUSE
    return Move.LEAVE if Policy.WAIT in wanted else Move.EVICT


def seconds(timestamp: str) -> float:
    """Return a timestamp of Kubernetes as seconds since 1970; 0 for what is none."""
    try:
        return datetime.fromisoformat(timestamp).timestamp()
    except (ValueError, OverflowError):
        return 0.0
