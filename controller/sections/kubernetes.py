"""Which Kubernetes cluster, and what becomes of the pods on a node that is drained."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from controller.sections.section import Section

TAINT_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
"""Source: Kubernetes, "Labels and Selectors": a qualified name."""

JOB_LABELS = (
    "training.kubeflow.org/job-name",
    "jobset.sigs.k8s.io/jobset-name",
    "leaderworkerset.sigs.k8s.io/name",
    "volcano.sh/job-name",
    "ray.io/cluster",
    "batch.kubernetes.io/job-name",
    "job-name",
)
"""Labels by which pods of many nodes are one job. Source: the documents of Kubeflow's training operator, JobSet,
LeaderWorkerSet, Volcano, KubeRay, and of Kubernetes' own Job before and since 1.27."""


DEVICE_RESOURCES = ("nvidia.com/*", "amd.com/gpu*", "gpu.intel.com/*", "huawei.com/*")
"""Source: the documents of the vendors' device plug-ins."""


class PodRuleSection(Section):
    """What becomes of some pods of a node that is drained by `jobs: requeue`; the first rule that fits a pod counts."""

    namespaces: tuple[str, ...] = Field(default=(), description="names, * stands for anything; all when empty")
    labels: dict[str, str] = Field(default={}, description="all of which the pod must have, * stands for anything")
    mode: Literal["evict", "wait", "never", "ignore"] = Field(
        description="evict at once; wait for the pod to end, but no longer than limit_s; never evict, the drain waits; "
        "ignore: it is no job, the drain does not wait for it"
    )
    limit_s: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="mode = wait: evict so long after the cordon, 0 is never"
    )

    @model_validator(mode="after")
    def _limit_means_something(self) -> PodRuleSection:
        if self.limit_s and self.mode != "wait":
            raise ValueError("limit_s goes with mode = 'wait' alone")
        return self


class KubernetesSection(Section):
    """Which Kubernetes cluster, and what becomes of the pods on a node that is drained."""

    kubeconfig: Path | None = Field(
        default=None, description="default: the service account of the pod that the controller runs in"
    )
    context: str = Field(default="", description="of the kubeconfig; default: its current one")
    node_label: str = Field(
        default="", description="label whose value is a node's name in fleetmend; default: the name is the same"
    )
    taint: str = Field(default="fleetmend.io/cordoned", description="key of the taint on a node that is held")
    empty_dir: Literal["evict", "wait", "refuse"] = Field(
        default="evict", description="pods with data on the node's disk in an emptyDir; one in memory does not count"
    )
    unmanaged: Literal["evict", "wait", "refuse"] = Field(
        default="wait", description="pods that nothing makes anew elsewhere"
    )
    grace_period_s: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="for a pod to end once it was evicted; default: what the pod itself asks for"
    )
    force_after_s: Annotated[float, Field(ge=0)] = Field(
        default=0.0,
        description="take a pod's name off the API so long after its grace period passed, although nobody has seen it "
        "end; 0 is never. Two pods of one StatefulSet may run then",
    )
    job_labels: tuple[str, ...] = Field(
        default=JOB_LABELS, description="labels whose value is the job that a pod is part of; the first it has counts"
    )
    device_annotation: str = Field(
        default="", description="annotation in which a device plug-in writes the UUIDs of a pod's GPUs"
    )
    device_resources: tuple[str, ...] = Field(
        default=DEVICE_RESOURCES, description="what pods ask a device plug-in for GPUs by, * stands for anything"
    )
    pods: list[PodRuleSection] = Field(default=[], description="what becomes of some of them, else they are evicted")

    @field_validator("taint")
    @classmethod
    def _taint_is_a_name(cls, taint: str) -> str:
        if not TAINT_KEY.fullmatch(taint):
            raise ValueError(f"{taint!r} is no key of a taint, like example.org/name")
        return taint
