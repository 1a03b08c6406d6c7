"""What says on a node that it is held, and for whom."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.adapters import Hold, NodeSchedule
from controller.schedulers.kubernetes_hold import (
    NodeState,
    condition_patch,
    cordon_patch,
    event_of,
    schedule_of,
    state_of,
    uncordon_patch,
)
from controller.schedulers.kubernetes_objects import KubeNode

TAINT = "fleetmend.io/cordoned"
OURS = {"key": TAINT, "value": "inc-000007", "effect": "NoSchedule"}
THEIRS = {"key": "team", "value": "ml", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"}
NOTES = {"fleetmend.io/incident": "inc-000007", "fleetmend.io/fencing-token": "3"}
BY_KUBECTL = {
    "manager": "kubectl-cordon",
    "time": "2026-11-27T03:00:00Z",
    "fieldsV1": {"f:spec": {"f:unschedulable": {}}},
}


def state(*, spec: dict[str, Any] | None = None, ready: str = "True", label: str = "", **metadata: Any) -> NodeState:
    conditions = [{"type": "Ready", "status": ready}] if ready else []
    raw = {
        "metadata": {"name": "n1", "uid": "u", "resourceVersion": "7"} | metadata,
        "spec": spec or {},
        "status": {"conditions": conditions},
    }
    node = msgspec.json.decode(msgspec.json.encode(raw), type=KubeNode)
    return state_of(node, taint=TAINT, label=label)


CORDONED = {"unschedulable": True}


@pytest.mark.parametrize(
    ("seen", "schedule"),
    [
        (state(), NodeSchedule(True, responding=True)),
        (state(spec=CORDONED, annotations=NOTES), NodeSchedule(False, "inc-000007", responding=True)),
        (state(spec=CORDONED), NodeSchedule(False, "", "cordoned by somebody or something else", responding=True)),
        (
            state(spec=CORDONED, managedFields=[{"manager": "kubelet", "fieldsV1": {}}, BY_KUBECTL]),
            NodeSchedule(False, "", "cordoned by kubectl-cordon at 2026-11-27T03:00:00Z", responding=True),
        ),
        (state(spec={"taints": [OURS]}, annotations=NOTES), NodeSchedule(True, responding=True)),
        (state(spec={"taints": [THEIRS]}, ready="False"), NodeSchedule(True, responding=True)),
        (state(ready="Unknown"), NodeSchedule(True, responding=False)),
        (state(ready=""), NodeSchedule(True, responding=None)),
    ],
    ids=["free", "ours", "foreign", "by hand", "uncordoned by hand", "not ready", "lost", "never heard of"],
)
def test_a_node_is_told_as_every_scheduler_tells_one(seen: NodeState, schedule: NodeSchedule) -> None:
    assert schedule_of(seen, ()) == schedule


@pytest.mark.parametrize(
    ("seen", "left_over"),
    [
        (state(), False),
        (state(spec={"taints": [THEIRS]}), False),
        (state(spec={"taints": [OURS]}), True),
        (state(annotations=NOTES), True),
        (state(spec=CORDONED, annotations=NOTES), False),
    ],
)
def test_marks_without_a_cordon_are_left_over(seen: NodeState, left_over: bool) -> None:
    assert seen.left_over is left_over


def test_a_cordon_writes_all_at_once_and_only_on_what_was_seen(hold: Hold) -> None:
    patch = cordon_patch(state(spec={"taints": [THEIRS, OURS]}), hold, taint=TAINT, holder="me", now="now")

    assert patch == {
        "metadata": {
            "uid": "u",
            "resourceVersion": "7",
            "annotations": {
                "fleetmend.io/incident": "inc-000007",
                "fleetmend.io/reason": hold.reason,
                "fleetmend.io/cordoned-by": "me",
                "fleetmend.io/cordoned-at": "now",
                "fleetmend.io/key": hold.key,
                "fleetmend.io/fencing-token": "1",
            },
        },
        "spec": {"unschedulable": True, "taints": [THEIRS, OURS]},
    }


def test_an_uncordon_takes_off_what_is_ours_alone() -> None:
    patch = uncordon_patch(state(spec={"taints": [OURS, THEIRS]}), taint=TAINT)

    assert patch["spec"] == {"unschedulable": None, "taints": [THEIRS]}
    assert set(patch["metadata"]["annotations"].values()) == {None}
    assert uncordon_patch(state(spec={"taints": [OURS]}), taint=TAINT)["spec"]["taints"] is None


@given(st.text(), st.text())
def test_any_incident_is_a_value_that_a_taint_may_have(incident: str, reason: str) -> None:
    hold = Hold(incident, reason, "key", 1)

    value = cordon_patch(state(), hold, taint=TAINT, holder="", now="")["spec"]["taints"][-1]["value"]

    assert len(value) <= 63
    assert not value or (value[0].isalnum() and value[-1].isalnum() and value.isascii())


@pytest.mark.parametrize("token", ["", "x", "-1", "\N{SUPERSCRIPT TWO}", "9" * 5000])
def test_a_token_that_is_none_counts_as_none(token: str) -> None:
    assert state(annotations={"fleetmend.io/fencing-token": token}).token == 0


def test_a_node_without_the_label_has_no_name() -> None:
    assert state(labels={"site/name": "gpu-1"}, label="site/name").name == "gpu-1"
    assert state(label="site/name").name == ""


def test_the_condition_says_healthy_or_not() -> None:
    [condition] = condition_patch(healthy=False, message="m", now="now")["status"]["conditions"]

    assert (condition["type"], condition["status"], condition["reason"]) == (
        "fleetmend.io/Healthy",
        "False",
        "IncidentOpen",
    )


def test_the_event_is_no_longer_than_the_api_takes() -> None:
    event = event_of(state(), reason="FleetmendCordoned", message="x" * 5000, holder="me", now="now")

    assert len(event["message"]) <= 1024
