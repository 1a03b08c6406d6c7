"""Which pods are work, and what a step of a drain does with each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.schedulers.kubernetes_objects import KubePod
from controller.schedulers.kubernetes_pods import (
    Drain,
    Mode,
    Move,
    PodPolicies,
    PodRule,
    PodState,
    Policy,
    moves,
    pod_of,
    seconds,
)

STATEFUL = {"kind": "StatefulSet", "name": "s", "controller": True}
MANAGED = PodState("ml", "p", "u", "1", "n1", "ml/p")
REQUEUE = Drain("requeue", held_for_s=60.0, now=1000.0)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def kube_pod(*, spec: dict[str, Any] | None = None, phase: str = "Running", **metadata: Any) -> KubePod:
    about = {"name": "p", "namespace": "ml", "uid": "u", "resourceVersion": "1", "ownerReferences": [STATEFUL]}
    raw = {"metadata": about | metadata, "spec": {"nodeName": "n1"} | (spec or {}), "status": {"phase": phase}}
    return msgspec.json.decode(msgspec.json.encode(raw), type=KubePod)


def rule(mode: Mode, **more: Any) -> PodPolicies:
    return PodPolicies(rules=(PodRule(mode, **more),))


def test_a_pod_that_something_makes_anew_is_work() -> None:
    assert pod_of(kube_pod(), PodPolicies()) == MANAGED


@pytest.mark.parametrize(
    "pod",
    [
        kube_pod(ownerReferences=[{"kind": "DaemonSet", "name": "d", "controller": True}]),
        kube_pod(annotations={"kubernetes.io/config.mirror": "hash"}),
        kube_pod(phase="Succeeded"),
        kube_pod(phase="Failed"),
        kube_pod(spec={"nodeName": ""}),
    ],
    ids=["daemon", "static", "succeeded", "failed", "not placed"],
)
def test_what_stays_on_a_drained_node_is_no_work(pod: KubePod) -> None:
    assert pod_of(pod, PodPolicies()) is None


def test_an_owner_that_is_no_controller_makes_nothing_anew() -> None:
    found = pod_of(kube_pod(ownerReferences=[{"kind": "DaemonSet", "name": "d"}]), PodPolicies())

    assert found is not None
    assert found.unmanaged


@pytest.mark.parametrize(
    ("volumes", "local"),
    [
        ([{"name": "a", "emptyDir": {}}], True),
        ([{"name": "shm", "emptyDir": {"medium": "Memory"}}], False),
        ([{"name": "shm", "emptyDir": {"medium": "Memory"}}, {"name": "a", "emptyDir": {"sizeLimit": "1Gi"}}], True),
        ([{"name": "c", "configMap": {"name": "x"}}], False),
    ],
)
def test_room_in_memory_is_no_data(volumes: list[dict[str, Any]], local: bool) -> None:
    found = pod_of(kube_pod(spec={"volumes": volumes}), PodPolicies())

    assert found is not None
    assert found.local_data is local


def test_the_job_is_what_the_first_of_the_labels_says() -> None:
    policies = PodPolicies(job_labels=("a", "b", "c"))

    found = pod_of(kube_pod(labels={"a": "", "c": "third", "b": "second"}), policies)

    assert found is not None
    assert found.job == "ml/second"


def test_the_devices_are_those_of_the_annotation() -> None:
    policies = PodPolicies(device_annotation="x/gpus")

    listed = pod_of(kube_pod(annotations={"x/gpus": " GPU-b,GPU-a,, "}), policies)
    silent = pod_of(kube_pod(annotations={"y/gpus": "GPU-b"}), policies)

    assert listed is not None
    assert silent is not None
    assert (listed.devices, silent.devices) == (("GPU-a", "GPU-b"), None)


@pytest.mark.parametrize(
    ("namespaces", "labels", "fits"),
    [
        ((), {}, True),
        (("ml",), {}, True),
        (("m*", "x"), {}, True),
        (("prod",), {}, False),
        ((), {"app": "*"}, True),
        ((), {"app": "train*", "tier": "gold"}, True),
        ((), {"app": "serve"}, False),
        ((), {"missing": "*"}, False),
    ],
)
def test_a_rule_fits_by_namespace_and_every_label(
    namespaces: tuple[str, ...], labels: dict[str, str], fits: bool
) -> None:
    assert PodRule(Mode.NEVER, namespaces, labels).fits("ml", {"app": "training", "tier": "gold"}) is fits


def test_the_first_rule_that_fits_counts() -> None:
    first, second = PodRule(Mode.NEVER, ("ml",)), PodRule(Mode.EVICT)

    found = pod_of(kube_pod(), PodPolicies(rules=(first, second)))

    assert found is not None
    assert found.rule is first


def test_a_pod_that_a_rule_ignores_is_no_work() -> None:
    assert pod_of(kube_pod(), rule(Mode.IGNORE)) is None


def ruled(mode: Mode, limit_s: float = 0.0) -> PodState:
    return replace(MANAGED, rule=PodRule(mode, limit_s=limit_s))


ALONE = replace(MANAGED, unmanaged=True)
KEEPER = replace(MANAGED, local_data=True)


@pytest.mark.parametrize(
    ("pod", "policies", "move"),
    [
        (MANAGED, PodPolicies(), Move.EVICT),
        (ALONE, PodPolicies(), Move.LEAVE),
        (ALONE, PodPolicies(unmanaged=Policy.EVICT), Move.EVICT),
        (ALONE, PodPolicies(unmanaged=Policy.REFUSE), Move.REFUSE),
        (KEEPER, PodPolicies(), Move.EVICT),
        (KEEPER, PodPolicies(empty_dir=Policy.WAIT), Move.LEAVE),
        (KEEPER, PodPolicies(empty_dir=Policy.REFUSE), Move.REFUSE),
        (replace(ALONE, local_data=True), PodPolicies(empty_dir=Policy.REFUSE), Move.REFUSE),
        (replace(ALONE, rule=PodRule(Mode.EVICT)), PodPolicies(unmanaged=Policy.REFUSE), Move.EVICT),
        (ruled(Mode.NEVER), PodPolicies(), Move.LEAVE),
        (ruled(Mode.WAIT), PodPolicies(), Move.LEAVE),
        (ruled(Mode.WAIT, 61.0), PodPolicies(), Move.LEAVE),
        (ruled(Mode.WAIT, 60.0), PodPolicies(), Move.EVICT),
        (replace(MANAGED, ends_at=900.0), PodPolicies(unmanaged=Policy.REFUSE), Move.LEAVE),
    ],
)
def test_a_requeue_goes_by_the_rules_of_the_site(pod: PodState, policies: PodPolicies, move: Move) -> None:
    assert moves([pod], REQUEUE, policies) == [(pod, move)]


@pytest.mark.parametrize("pod", [MANAGED, ALONE, KEEPER, ruled(Mode.WAIT, 1.0), ruled(Mode.EVICT)])
def test_a_wait_touches_nothing(pod: PodState) -> None:
    assert moves([pod], replace(REQUEUE, jobs="wait", force_after_s=1.0), PodPolicies()) == [(pod, Move.LEAVE)]


@pytest.mark.parametrize(
    ("pod", "move"),
    [
        (MANAGED, Move.DELETE),
        (ALONE, Move.DELETE),
        (ruled(Mode.WAIT), Move.DELETE),
        (ruled(Mode.NEVER), Move.LEAVE),
        (replace(MANAGED, ends_at=900.0), Move.LEAVE),
    ],
)
def test_a_cancel_deletes_all_but_what_must_never_go(pod: PodState, move: Move) -> None:
    policies = PodPolicies(empty_dir=Policy.REFUSE, unmanaged=Policy.REFUSE)

    assert moves([pod], replace(REQUEUE, jobs="cancel"), policies) == [(pod, move)]


@pytest.mark.parametrize(("force_after_s", "move"), [(0.0, Move.LEAVE), (101.0, Move.LEAVE), (100.0, Move.FORCE)])
def test_a_pod_that_does_not_end_is_taken_off_the_api_only_where_the_site_says_when(
    force_after_s: float, move: Move
) -> None:
    ending = replace(MANAGED, ends_at=900.0)

    assert moves([ending], replace(REQUEUE, force_after_s=force_after_s), PodPolicies()) == [(ending, move)]


@given(st.text())
def test_any_text_is_a_time_or_none(text: str) -> None:
    assert isinstance(seconds(text), float)


def test_a_timestamp_of_kubernetes_is_utc() -> None:
    assert seconds("1970-01-01T00:01:00Z") == 60.0


@given(st.dictionaries(st.sampled_from(["metadata", "spec", "status"]), ANY_JSON))
def test_any_json_is_a_pod_or_a_mistake_of_its_form(raw: dict[str, Any]) -> None:
    try:
        pod = msgspec.json.decode(msgspec.json.encode(raw), type=KubePod)
    except msgspec.ValidationError:
        return
    pod_of(pod, PodPolicies(job_labels=("a",), device_annotation="b"))
