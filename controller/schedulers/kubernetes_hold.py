"""What says on a Kubernetes node that fleetmend holds it, and the patches that write it and take it off. Pure.

A node is held while it is unschedulable and bears the annotation of our incident. The taint says it to
people and keeps off what tolerates `node.kubernetes.io/unschedulable`; it alone holds nothing, because `kubectl
uncordon` leaves it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from checks.finding import Finding
from controller.adapters import Hold, NodeSchedule
from controller.policy.places import Places
from controller.schedulers.kubernetes_objects import KubeNode, ManagedFields
from controller.schedulers.kubernetes_words import said
from controller.topology.kubernetes import LABELS, LabelTable, places_of

PREFIX = "fleetmend.io"
INCIDENT = f"{PREFIX}/incident"
REASON = f"{PREFIX}/reason"
HOLDER = f"{PREFIX}/cordoned-by"
SINCE = f"{PREFIX}/cordoned-at"
KEY = f"{PREFIX}/key"
TOKEN = f"{PREFIX}/fencing-token"
ANNOTATIONS = (INCIDENT, REASON, HOLDER, SINCE, KEY, TOKEN)

HEALTHY = f"{PREFIX}/Healthy"
"""Condition of a node."""

MAX_REASON_CHARACTERS = 1000
"""Source: our choice, to be read by people. All annotations of an object may have 256 KiB (apimachinery,
TotalAnnotationSizeLimitB), an event's message 1024 characters."""

NOT_IN_A_VALUE = re.compile(r"[^A-Za-z0-9_.-]")
MAX_VALUE_CHARACTERS = 63
"""Source: Kubernetes, "Labels and Selectors": a value, which a taint's is too."""

UNSCHEDULABLE_FIELD = b'"f:unschedulable"'
"""Source: structured-merge-diff's fieldsV1."""

BY_NOBODY_KNOWN = "somebody or something else"


@dataclass(frozen=True, slots=True)
class NodeState:
    """One node, as far as it matters here.

    Attributes:
        node: its name in Kubernetes.
        name: its name in fleetmend, empty for a node that fleetmend does not know.
        version: the resourceVersion, which is the precondition of a write.
        incident_id, token, since: what our annotations say; empty, 0 and empty without.
        tainted: our taint is on it.
        cordoned_by: who wrote `unschedulable` last, as its program calls itself.
        ready: the status of the condition Ready, empty without one.
        said: what others say of it.
        places: where its labels say that it stands.
    """

    node: str
    name: str
    uid: str
    version: str
    unschedulable: bool
    taints: tuple[Mapping[str, str], ...]
    incident_id: str
    token: int
    since: str
    tainted: bool
    cordoned_by: str
    ready: str
    said: tuple[Finding, ...] = ()
    places: Places = field(default_factory=dict)

    @property
    def held_by(self) -> str:
        """The incident that holds it, empty when none of ours does."""
        return self.incident_id if self.unschedulable else ""

    @property
    def foreign_reason(self) -> str:
        """Why somebody else holds it, empty when nobody does."""
        if not self.unschedulable or self.incident_id:
            return ""
        return f"cordoned by {self.cordoned_by or BY_NOBODY_KNOWN}"

    @property
    def left_over(self) -> bool:
        """Our marks are on it, and no hold: somebody uncordoned it by hand."""
        return not self.unschedulable and (self.tainted or bool(self.incident_id))


def state_of(node: KubeNode, *, taint: str, label: str = "", places: LabelTable = LABELS) -> NodeState:
    """Return what matters of a node.

    Args:
        taint: key of our taint.
        label: whose value is the name in fleetmend; empty takes the node's own.
        places: kind of place → labels that name one.
    """
    metadata, spec = node.metadata, node.spec
    annotations = metadata.annotations or {}
    token = annotations.get(TOKEN, "")
    return NodeState(
        node=metadata.name,
        name=(metadata.labels or {}).get(label, "") if label else metadata.name,
        uid=metadata.uid,
        version=metadata.version,
        unschedulable=spec.unschedulable,
        taints=tuple(spec.taints or ()),
        incident_id=annotations.get(INCIDENT, ""),
        token=int(token) if token.isdecimal() and token.isascii() and len(token) < MAX_VALUE_CHARACTERS else 0,
        since=annotations.get(SINCE, ""),
        tainted=any(mark.get("key") == taint for mark in spec.taints or ()),
        cordoned_by=_cordoned_by(metadata.managed_fields or ()) if spec.unschedulable else "",
        ready=next((c.status for c in node.status.conditions or () if c.type == "Ready"), ""),
        said=said(node.status.conditions or (), metadata.labels or {}, _marks(spec.taints or ())),
        places=places_of(metadata.labels or {}, places),
    )


def _marks(taints: Sequence[Mapping[str, str]]) -> list[tuple[str, str]]:
    return [(mark.get("key", ""), mark.get("value", "")) for mark in taints]


def _cordoned_by(entries: Sequence[ManagedFields]) -> str:
    """Return which program wrote `unschedulable`, and when."""
    for entry in entries:
        if UNSCHEDULABLE_FIELD in bytes(entry.fields):
            return f"{entry.manager} at {entry.time}" if entry.time else entry.manager
    return ""


def schedule_of(state: NodeState, jobs: tuple[str, ...]) -> NodeSchedule:
    """Return the node as every scheduler shows one.

    A kubelet that says of itself that it is not ready does answer; one that is lost is `Unknown` to Kubernetes.
    """
    responding = state.ready != "Unknown" if state.ready else None
    return NodeSchedule(
        not state.unschedulable, state.held_by, state.foreign_reason, jobs, responding, state.said, state.places
    )


def cordon_patch(state: NodeState, hold: Hold, *, taint: str, holder: str, now: str) -> dict[str, Any]:
    """Return the merge patch that holds a node: all of it or nothing, and only while the node is as it was seen.

    Taints are one list to Kubernetes, which a patch replaces whole; hence the precondition.
    """
    ours = {"key": taint, "value": _value(hold.incident_id), "effect": "NoSchedule"}
    annotations = {
        INCIDENT: hold.incident_id,
        REASON: hold.reason[:MAX_REASON_CHARACTERS],
        HOLDER: holder,
        SINCE: now,
        KEY: hold.key,
        TOKEN: str(hold.fencing_token),
    }
    return {
        "metadata": {"uid": state.uid, "resourceVersion": state.version, "annotations": annotations},
        "spec": {"unschedulable": True, "taints": [*_others(state, taint), ours]},
    }


def uncordon_patch(state: NodeState, *, taint: str) -> dict[str, Any]:
    """Return the merge patch that takes off all that is ours, and only while the node is as it was seen."""
    return {
        "metadata": {
            "uid": state.uid,
            "resourceVersion": state.version,
            "annotations": dict.fromkeys(ANNOTATIONS),
        },
        "spec": {"unschedulable": None, "taints": _others(state, taint) or None},
    }


def _others(state: NodeState, taint: str) -> list[Mapping[str, str]]:
    return [mark for mark in state.taints if mark.get("key") != taint]


def _value(text: str) -> str:
    return NOT_IN_A_VALUE.sub("-", text)[:MAX_VALUE_CHARACTERS].strip("_.-")


def condition_patch(*, healthy: bool, message: str, now: str) -> dict[str, Any]:
    """Return the strategic merge patch of a node's status: a plain merge patch would wipe every other condition."""
    condition = {
        "type": HEALTHY,
        "status": "True" if healthy else "False",
        "reason": "ReturnedToService" if healthy else "IncidentOpen",
        "message": message,
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
    }
    return {"status": {"conditions": [condition]}}


def event_of(state: NodeState, *, reason: str, message: str, holder: str, now: str) -> dict[str, Any]:
    """Return an event of a node. The uid is the node's name, as the kubelet writes it and kubectl looks for it."""
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": "fleetmend-", "namespace": "default"},
        "involvedObject": {"apiVersion": "v1", "kind": "Node", "name": state.node, "uid": state.node},
        "reason": reason,
        "message": message[:MAX_REASON_CHARACTERS],
        "type": "Normal" if reason == "FleetmendUncordoned" else "Warning",
        "source": {"component": "fleetmend"},
        "reportingComponent": f"{PREFIX}/controller",
        "reportingInstance": holder,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
