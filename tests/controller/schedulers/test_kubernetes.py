"""The Kubernetes adapter on a real API server with its controller manager."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from cli.ports import free_ports
from controller.adapters import Hold, NodeSchedule
from controller.errors import Permanent, Refused, Retryable
from controller.schedulers import kubernetes
from controller.schedulers.kubernetes import KubernetesScheduler
from controller.schedulers.kubernetes_hold import HEALTHY
from controller.sections.kubernetes import KubernetesSection, PodRuleSection
from tests.support.eventually import eventually
from tests.support.kubernetes import KubernetesCluster, plain_taints
from tests.support.kubernetes_api import KubernetesApi, deployment, disruption_budget, pod, seen

TAINT = "fleetmend.io/cordoned"
PODS = "/api/v1/namespaces/default/pods"

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubernetesCluster]:
    with KubernetesCluster(tmp_path_factory.mktemp("kubernetes")) as running:
        yield running


@pytest.fixture
def api(cluster: KubernetesCluster) -> KubernetesApi:
    return cluster.api


@pytest.fixture
def node(cluster: KubernetesCluster) -> str:
    """A node that no other test has touched."""
    name = f"n{next(_numbers)}"
    cluster.add_nodes(name)
    return name


Adapters = Callable[..., KubernetesScheduler]


@pytest.fixture
async def adapter_of(cluster: KubernetesCluster) -> AsyncIterator[Adapters]:
    """Adapters with settings of their own."""
    made: list[KubernetesScheduler] = []

    def make(**settings: Any) -> KubernetesScheduler:
        section = KubernetesSection(**{"kubeconfig": cluster.kubeconfig, **settings})
        made.append(kubernetes.scheduler_of(section, deadline_s=10.0))
        return made[-1]

    yield make
    for scheduler in made:
        await scheduler.close()


@pytest.fixture
async def adapter(adapter_of: Adapters) -> KubernetesScheduler:
    return adapter_of()


def add_pod(api: KubernetesApi, node: str, name: str, *, managed: bool = True, **metadata: Any) -> str:
    """Put a pod on a node, as if something made it; return how the adapter calls it."""
    owners = {"ownerReferences": [owner(api)]} if managed else {}
    api.create(PODS, pod(f"{node}-{name}", node=node, **owners, **metadata))
    api.patch(f"{PODS}/{node}-{name}/status", {"status": {"phase": "Running"}})
    return f"default/{node}-{name}"


def owner(api: KubernetesApi) -> dict[str, Any]:
    """Return a reference to an owner that exists: pods of one that does not are deleted as garbage."""
    path, about = "/api/v1/namespaces/default/configmaps", {"metadata": {"name": "owner"}}
    api.request("POST", path, about).expect(201, 409)
    uid = api.get(f"{path}/owner")["metadata"]["uid"]
    return {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid, "controller": True}


def cordon_by_hand(api: KubernetesApi, node: str, *, off: bool = False) -> None:
    api.patch(f"/api/v1/nodes/{node}?fieldManager=kubectl-cordon", {"spec": {"unschedulable": None if off else True}})


def another(hold: Hold) -> Hold:
    return replace(hold, incident_id="inc-000008")


async def see(adapter: KubernetesScheduler, node: str, holds: Callable[[NodeSchedule], bool]) -> NodeSchedule:
    """Return what the adapter says of a node once it is so."""
    async with asyncio.timeout(10.0):
        while True:
            view = (await adapter.observe()).get(node)
            if view is not None and holds(view):
                return view
            await asyncio.sleep(0.02)


async def test_a_cordon_marks_the_node_for_the_scheduler_and_for_people(
    adapter: KubernetesScheduler, api: KubernetesApi, node: str, hold: Hold
) -> None:
    said = await adapter.cordon(node, hold)

    assert said == f"{node} is cordoned in Kubernetes for inc-000007."
    about, spec = api.node(node)["metadata"], api.node(node)["spec"]
    assert spec["unschedulable"] is True
    assert [t for t in spec["taints"] if t["key"] == TAINT] == [
        {"key": TAINT, "value": "inc-000007", "effect": "NoSchedule"}
    ]
    notes = {key: value for key, value in about["annotations"].items() if key.startswith("fleetmend.io/")}
    assert notes.pop("fleetmend.io/cordoned-at").endswith("Z")
    assert notes.pop("fleetmend.io/cordoned-by").startswith("fleetmend on ")
    assert notes == {
        "fleetmend.io/incident": "inc-000007",
        "fleetmend.io/reason": hold.reason,
        "fleetmend.io/key": hold.key,
        "fleetmend.io/fencing-token": "1",
    }
    await adapter.told()
    condition = api.condition(node, HEALTHY)
    assert (condition["status"], condition["message"]) == ("False", f"inc-000007: {hold.reason}")
    assert api.condition(node, "Ready")["status"] == "True"
    assert [e["reason"] for e in events_of(api, node) if e["source"]["component"] == "fleetmend"] == [
        "FleetmendCordoned"
    ]


def events_of(api: KubernetesApi, node: str) -> list[dict[str, Any]]:
    return api.items(f"/api/v1/events?fieldSelector=involvedObject.kind%3DNode%2CinvolvedObject.name%3D{node}")


async def test_a_second_cordon_changes_nothing(
    adapter: KubernetesScheduler, api: KubernetesApi, node: str, hold: Hold
) -> None:
    await adapter.cordon(node, hold)
    before = api.node(node)["metadata"]["annotations"]

    said = await adapter.cordon(node, replace(hold, reason="another sentence"))

    assert said == f"{node} is cordoned in Kubernetes for inc-000007 already."
    assert api.node(node)["metadata"]["annotations"] == before


async def test_taints_of_others_outlive_our_hold(
    adapter: KubernetesScheduler, api: KubernetesApi, node: str, hold: Hold
) -> None:
    theirs = {"key": "team", "value": "ml", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"}
    api.patch(f"/api/v1/nodes/{node}", {"spec": {"taints": [theirs]}})

    await adapter.cordon(node, hold)
    assert plain_taints(api, node) == {"team": "NoExecute", TAINT: "NoSchedule"}

    await adapter.uncordon(node, hold)
    seen("the controller manager takes its own taint off", lambda: api.node(node)["spec"]["taints"] == [theirs])


async def test_an_uncordon_leaves_no_trace_but_the_condition(
    adapter: KubernetesScheduler, api: KubernetesApi, node: str, hold: Hold
) -> None:
    await adapter.cordon(node, hold)

    said = await adapter.uncordon(node, hold)

    assert said == f"{node} is given back to Kubernetes."
    assert not api.is_cordoned(node)
    assert TAINT not in api.taints(node)
    assert not [key for key in api.node(node)["metadata"].get("annotations", {}) if key.startswith("fleetmend.io/")]
    await adapter.told()
    assert api.condition(node, HEALTHY)["status"] == "True"
    assert await adapter.uncordon(node, hold) == f"{node} is schedulable in Kubernetes: nobody holds it."


async def test_people_are_told_in_order_however_quickly_a_node_comes_and_goes(
    adapter: KubernetesScheduler, api: KubernetesApi, node: str, hold: Hold
) -> None:
    for _ in range(10):
        await adapter.cordon(node, hold)
        await adapter.uncordon(node, hold)

    await adapter.told()
    assert api.condition(node, HEALTHY)["status"] == "True"


@pytest.mark.parametrize("effect", ["cordon", "drain", "uncordon"])
async def test_a_node_cordoned_by_hand_is_not_touched(
    adapter: KubernetesScheduler, api: KubernetesApi, node: str, hold: Hold, effect: str
) -> None:
    add_pod(api, node, "a")
    cordon_by_hand(api, node)
    before = api.node(node)["spec"]["unschedulable"], plain_taints(api, node)

    with pytest.raises(Refused, match=f"^{node} is held in Kubernetes by somebody else: cordoned by kubectl-cordon at"):
        await act(adapter, effect, node, hold)

    assert (api.node(node)["spec"]["unschedulable"], plain_taints(api, node)) == before
    assert len(api.pods(node)) == 1


@pytest.mark.parametrize("effect", ["cordon", "drain", "uncordon"])
async def test_a_node_held_for_another_incident_is_not_touched(
    adapter: KubernetesScheduler, node: str, hold: Hold, effect: str
) -> None:
    await adapter.cordon(node, hold)

    because = f"^{node} is held in Kubernetes for another incident of fleetmend: inc-000007$"
    with pytest.raises(Refused, match=because):
        await act(adapter, effect, node, another(hold))


async def act(adapter: KubernetesScheduler, effect: str, node: str, hold: Hold) -> object:
    acts: dict[str, Callable[[], Awaitable[object]]] = {
        "cordon": lambda: adapter.cordon(node, hold),
        "drain": lambda: adapter.drain(node, hold, jobs="cancel"),
        "uncordon": lambda: adapter.uncordon(node, hold),
    }
    return await acts[effect]()


@pytest.mark.parametrize("effect", ["drain", "uncordon"])
async def test_a_controller_of_an_earlier_term_undoes_nothing(
    adapter: KubernetesScheduler, api: KubernetesApi, node: str, hold: Hold, effect: str
) -> None:
    """I8."""
    await adapter.cordon(node, replace(hold, fencing_token=7))

    with pytest.raises(Refused, match=r"by a later controller \(term 7, this is 6\)"):
        await act(adapter, effect, node, replace(hold, fencing_token=6))

    assert api.is_cordoned(node)


async def test_a_node_that_does_not_exist_is_hopeless(adapter: KubernetesScheduler, hold: Hold) -> None:
    with pytest.raises(
        Permanent, match=r'cordon of nowhere: there is no such thing \(404: nodes "nowhere" not found\)'
    ):
        await adapter.cordon("nowhere", hold)


async def test_a_cordon_waits_for_nobody_who_writes_the_node_meanwhile(
    adapter: KubernetesScheduler, api: KubernetesApi, node: str, hold: Hold
) -> None:
    """The watch has not told yet what was written: the precondition finds it out."""
    await see(adapter, node, lambda view: view.schedulable)
    stale = adapter.cluster.known(node)
    theirs = {"key": "team", "value": "ml", "effect": "NoSchedule"}
    api.patch(f"/api/v1/nodes/{node}", {"spec": {"taints": [theirs]}})
    assert stale is not None
    adapter.cluster._by_name[node] = stale

    await adapter.cordon(node, hold)

    assert plain_taints(api, node) == {"team": "NoSchedule", TAINT: "NoSchedule"}


async def test_observe_tells_holds_jobs_and_kubelets(
    adapter: KubernetesScheduler, api: KubernetesApi, node: str, hold: Hold
) -> None:
    assert await see(adapter, node, lambda _: True) == NodeSchedule(True, responding=True)

    job = add_pod(api, node, "a")
    assert (await see(adapter, node, lambda view: bool(view.jobs))).jobs == (job,)

    await adapter.cordon(node, hold)
    assert (await adapter.observe())[node] == NodeSchedule(False, "inc-000007", jobs=(job,), responding=True)

    api.set_condition(node, "Ready", "Unknown")
    assert (await see(adapter, node, lambda view: view.responding is False)).held_by == "inc-000007"
    api.set_condition(node, "Ready", "False")
    await see(adapter, node, lambda view: view.responding is True)

    api.delete(f"/api/v1/nodes/{node}")
    await eventually("the node is forgotten", lambda: adapter.cluster.known(node) is None)
    assert node not in await adapter.observe()


async def test_observe_tells_who_else_cordoned_a_node(
    adapter: KubernetesScheduler, api: KubernetesApi, node: str
) -> None:
    cordon_by_hand(api, node)

    view = await see(adapter, node, lambda view: not view.schedulable)

    assert view.held_by == ""
    assert view.foreign_reason.startswith("cordoned by kubectl-cordon at 20")


async def test_an_uncordon_by_hand_is_seen_and_completed(
    adapter: KubernetesScheduler, api: KubernetesApi, node: str, hold: Hold
) -> None:
    """I5. `kubectl uncordon` leaves our taint, which would keep pods off the node for ever."""
    await adapter.cordon(node, hold)
    cordon_by_hand(api, node, off=True)

    view = await see(adapter, node, lambda view: view.schedulable)

    assert (view.held_by, view.foreign_reason) == ("", "")
    await adapter.told()
    assert TAINT not in api.taints(node)
    assert "fleetmend.io/incident" not in api.node(node)["metadata"].get("annotations", {})
    await adapter.told()
    assert api.condition(node, HEALTHY)["status"] == "True"


async def test_a_hold_whose_annotation_was_taken_off_is_somebody_elses(
    adapter: KubernetesScheduler, api: KubernetesApi, node: str, hold: Hold
) -> None:
    await adapter.cordon(node, hold)
    api.patch(f"/api/v1/nodes/{node}", {"metadata": {"annotations": {"fleetmend.io/incident": None}}})

    view = await see(adapter, node, lambda view: not view.held_by)

    assert (view.schedulable, view.foreign_reason.startswith("cordoned by fleetmend at 20")) == (False, True)
    with pytest.raises(Refused):
        await adapter.uncordon(node, hold)


async def test_nodes_go_by_the_value_of_a_label(
    cluster: KubernetesCluster, adapter_of: Adapters, api: KubernetesApi, hold: Hold
) -> None:
    adapter = adapter_of(node_label="site/name")
    number = next(_numbers)
    cluster.add_nodes(f"ip-10-0-0-{number}", labels={"site/name": f"gpu-{number}"})
    cluster.add_nodes(f"unlabelled-{number}")

    said = await adapter.cordon(f"gpu-{number}", hold)

    assert said == f"gpu-{number} is cordoned in Kubernetes for inc-000007."
    assert api.is_cordoned(f"ip-10-0-0-{number}")
    assert set(await adapter.observe()) == {f"gpu-{number}"}
    with pytest.raises(Permanent, match=f"no node whose label site/name is 'unlabelled-{number}'"):
        await adapter.cordon(f"unlabelled-{number}", hold)


async def drained(adapter: KubernetesScheduler, node: str, hold: Hold, jobs: str = "requeue") -> None:
    """Ask as the engine does until no pod is left."""
    async with asyncio.timeout(15.0):
        left = await adapter.drain(node, hold, jobs=jobs)
        while left:
            await asyncio.sleep(0.05)
            left = await adapter.drain(node, hold, jobs=jobs)


async def test_a_drain_by_wait_evicts_nobody(
    adapter: KubernetesScheduler, api: KubernetesApi, node: str, hold: Hold
) -> None:
    jobs = (add_pod(api, node, "a"), add_pod(api, node, "b"))
    await adapter.cordon(node, hold)

    assert await adapter.drain(node, hold, jobs="wait") == jobs

    assert not [p for p in api.pods(node) if "deletionTimestamp" in p["metadata"]]


@pytest.mark.parametrize("jobs", ["requeue", "cancel"])
async def test_a_drain_ends_when_every_pod_has_gone(
    cluster: KubernetesCluster, adapter: KubernetesScheduler, api: KubernetesApi, node: str, hold: Hold, jobs: str
) -> None:
    for name in "abc":
        add_pod(api, node, name)
    await adapter.cordon(node, hold)

    with cluster.finishing_pods():
        await drained(adapter, node, hold, jobs)

    assert api.pods(node) == []


async def test_a_pod_that_is_ending_is_waited_for_and_not_evicted_again(
    adapter: KubernetesScheduler, api: KubernetesApi, node: str, hold: Hold
) -> None:
    job = add_pod(api, node, "a")
    await adapter.cordon(node, hold)
    await adapter.drain(node, hold, jobs="requeue")
    ends_at = seen("it is ending", lambda: api.pods(node)[0]["metadata"].get("deletionTimestamp"))

    for _ in range(3):
        assert await adapter.drain(node, hold, jobs="requeue") == (job,)

    assert api.pods(node)[0]["metadata"]["deletionTimestamp"] == ends_at


async def test_a_pod_that_does_not_end_is_taken_off_the_api_where_the_site_says_when(
    adapter_of: Adapters, api: KubernetesApi, node: str, hold: Hold
) -> None:
    """Nobody plays the kubelet: the pod would be ending for ever."""
    adapter = adapter_of(force_after_s=600.0)
    job = add_pod(api, node, "a")
    await adapter.cordon(node, hold)
    assert await adapter.drain(node, hold, jobs="requeue") == (job,)
    await eventually("it is ending", lambda: all(each.ends_at for each in adapter.cluster.pods_on(node)))
    assert await adapter.drain(node, hold, jobs="requeue") == (job,)
    assert adapter.waits_for(node).because == f"Waits: {job} (ending)."

    now = adapter.clock
    adapter.clock = lambda: now() + 631.0
    await drained(adapter, node, hold)

    assert api.pods(node) == []


async def test_daemons_static_and_ended_pods_are_no_work(
    adapter: KubernetesScheduler, api: KubernetesApi, node: str, hold: Hold
) -> None:
    add_daemon(api, node)
    add_pod(api, node, "static", managed=False, annotations={"kubernetes.io/config.mirror": "x"})
    add_pod(api, node, "ended")
    api.patch(f"{PODS}/{node}-ended/status", {"status": {"phase": "Succeeded"}})
    await adapter.cordon(node, hold)

    assert await adapter.drain(node, hold, jobs="requeue") == ()
    assert (await adapter.observe())[node].jobs == ()
    assert len(api.pods(node)) == 3


def add_daemon(api: KubernetesApi, node: str) -> None:
    """Have a DaemonSet make a pod for the node, and place it there as the scheduler would."""
    daemons = deployment(f"daemon-{node}", 1, nodeSelector={"kubernetes.io/hostname": node})
    del daemons["spec"]["replicas"]
    api.create("/apis/apps/v1/namespaces/default/daemonsets", daemons)
    path = f"{PODS}?labelSelector=app%3Ddaemon-{node}"
    made = seen("the DaemonSet's pod", lambda: [each["metadata"]["name"] for each in api.items(path)])[0]
    target = {"kind": "Node", "name": node}
    api.create(f"{PODS}/{made}/binding", {"metadata": {"name": made}, "target": target})


async def test_pods_are_held_back_by_their_disruption_budget_and_asked_again(
    cluster: KubernetesCluster, adapter: KubernetesScheduler, api: KubernetesApi, node: str, hold: Hold
) -> None:
    labels = {"app": f"web-{node}"}
    budget = disruption_budget(f"web-{node}", available=1)
    path = "/apis/policy/v1beta1/namespaces/default/poddisruptionbudgets"
    api.create(path, budget)
    job = add_pod(api, node, "a", labels=labels)
    await adapter.cordon(node, hold)

    assert await adapter.drain(node, hold, jobs="requeue") == (job,)
    assert await adapter.drain(node, hold, jobs="requeue") == (job,)
    assert "deletionTimestamp" not in api.pods(node)[0]["metadata"]
    assert adapter.waits_for(node).because == f"Waits: {job} (held back by a disruption budget)."

    api.delete(f"{path}/web-{node}")
    adapter._drainer._held_back.clear()
    with cluster.finishing_pods():
        await drained(adapter, node, hold)


async def test_a_pod_under_two_disruption_budgets_is_hopeless_and_keeps_no_other_from_going(
    cluster: KubernetesCluster, adapter: KubernetesScheduler, api: KubernetesApi, node: str, hold: Hold
) -> None:
    labels = {"app": f"twice-{node}"}
    for name in ("one", "two"):
        budget = disruption_budget(labels["app"], available=0)
        budget["metadata"]["name"] = f"{name}-{node}"
        api.create("/apis/policy/v1beta1/namespaces/default/poddisruptionbudgets", budget)
    add_pod(api, node, "stuck", labels=labels)
    add_pod(api, node, "free")
    await adapter.cordon(node, hold)

    because = rf"the eviction of default/{node}-stuck: the pod is under several disruption budgets"
    with cluster.finishing_pods(), pytest.raises(Permanent, match=because):
        await drained(adapter, node, hold)

    assert [p["metadata"]["name"] for p in api.pods(node)] == [f"{node}-stuck"]


async def test_a_pod_that_nothing_makes_anew_is_left_to_end_unless_settings_say_otherwise(
    cluster: KubernetesCluster, adapter_of: Adapters, api: KubernetesApi, node: str, hold: Hold
) -> None:
    job, adapter = add_pod(api, node, "alone", managed=False), adapter_of()
    await adapter.cordon(node, hold)
    assert await adapter.drain(node, hold, jobs="requeue") == (job,)
    assert "deletionTimestamp" not in api.pods(node)[0]["metadata"]

    strict = adapter_of(unmanaged="refuse")
    with pytest.raises(
        Refused, match=rf"{job} must not be evicted by the site's settings \(nothing would make it anew\)"
    ):
        await strict.drain(node, hold, jobs="requeue")

    ruled = adapter_of(pods=[PodRuleSection(namespaces=("def*",), mode="evict")])
    with cluster.finishing_pods():
        await drained(ruled, node, hold)


async def test_a_rule_waits_for_the_end_of_pods_no_longer_than_its_limit(
    cluster: KubernetesCluster, adapter_of: Adapters, api: KubernetesApi, node: str, hold: Hold
) -> None:
    rule = PodRuleSection(labels={"kind": "training"}, mode="wait", limit_s=3600)
    adapter = adapter_of(pods=[rule])
    job = add_pod(api, node, "a", labels={"kind": "training"})
    await adapter.cordon(node, hold)
    assert await adapter.drain(node, hold, jobs="requeue") == (job,)
    assert "deletionTimestamp" not in api.pods(node)[0]["metadata"]

    now = adapter.clock
    adapter.clock = lambda: now() + 3601
    with cluster.finishing_pods():
        await drained(adapter, node, hold)


async def test_pods_that_no_scheduler_has_placed_are_nobodys_jobs(
    adapter: KubernetesScheduler, api: KubernetesApi, node: str
) -> None:
    api.create("/apis/apps/v1/namespaces/default/deployments", deployment(f"d-{node}", 1))
    seen("a pod was made", lambda: [p for p in api.items(PODS) if p["metadata"]["name"].startswith(f"d-{node}")])

    assert not [job for view in (await adapter.observe()).values() for job in view.jobs if f"d-{node}" in job]


async def test_pods_of_one_job_on_many_nodes_are_one_job(
    cluster: KubernetesCluster, adapter: KubernetesScheduler, api: KubernetesApi, node: str
) -> None:
    other = f"{node}-other"
    cluster.add_nodes(other)
    for each in (node, other):
        add_pod(api, each, "a", labels={"training.kubeflow.org/job-name": f"llm-{node}"})

    views = await adapter.observe()

    assert views[node].jobs == views[other].jobs == (f"default/llm-{node}",)


SICK, WELL = "GPU-aaaaaaaa-0000-0000-0000-000000000001", "GPU-bbbbbbbb-0000-0000-0000-000000000002"


def add_gpu_pod(api: KubernetesApi, node: str, name: str, gpus: str = "") -> str:
    """Put a pod with a GPU on a node, of which a device plug-in may have written which."""
    notes = {"annotations": {"hami.io/vgpu-devices-allocated": f"{gpus},NVIDIA,81559,100:;"}} if gpus else {}
    body = pod(f"{node}-{name}", node=node, ownerReferences=[owner(api)], **notes)
    body["spec"]["containers"][0]["resources"] = {"limits": {"nvidia.com/gpu": "1"}}
    api.create(PODS, body)
    return f"default/{node}-{name}"


async def test_a_drain_of_one_gpu_leaves_the_pods_of_others(
    cluster: KubernetesCluster, adapter_of: Adapters, api: KubernetesApi, node: str, hold: Hold
) -> None:
    adapter = adapter_of(device_annotation="hami.io/vgpu-devices-allocated")
    sick = replace(hold, device=SICK)
    holder = add_gpu_pod(api, node, "sick", SICK)
    add_gpu_pod(api, node, "well", WELL)
    add_pod(api, node, "plain")
    await adapter.cordon(node, hold)

    assert await adapter.drain(node, sick, jobs="wait") == (holder,)
    with cluster.finishing_pods():
        await drained(adapter, node, sick)

    assert {each["metadata"]["name"] for each in api.pods(node)} == {f"{node}-well", f"{node}-plain"}
    assert adapter.reach(sick) == f"No pod is left on the node that may hold {SICK}."


async def test_a_drain_of_one_gpu_is_one_of_the_node_where_nobody_knows_who_holds_it(
    cluster: KubernetesCluster, adapter: KubernetesScheduler, api: KubernetesApi, node: str, hold: Hold
) -> None:
    sick = replace(hold, device=SICK)
    silent, _ = add_gpu_pod(api, node, "silent"), add_pod(api, node, "plain")
    await adapter.cordon(node, hold)

    with cluster.finishing_pods():
        await drained(adapter, node, sick)

    assert api.pods(node) == []
    assert adapter.reach(sick) == f"The whole node was drained, because nothing says which GPUs {silent} holds."


async def test_a_bad_word_for_jobs_is_hopeless(adapter: KubernetesScheduler, node: str, hold: Hold) -> None:
    with pytest.raises(Permanent, match="jobs is 'all', it must be one of wait, requeue, cancel"):
        await adapter.drain(node, hold, jobs="all")


async def test_a_burst_of_nodes_is_cordoned_side_by_side(
    cluster: KubernetesCluster, adapter: KubernetesScheduler, hold: Hold
) -> None:
    names = [f"burst-{number}" for number in range(40)]
    cluster.add_nodes(*names)
    await adapter.observe()

    await asyncio.gather(*(adapter.cordon(name, replace(hold, incident_id=f"inc-{name}")) for name in names))

    views = await adapter.observe()
    assert [views[name].held_by for name in names] == [f"inc-{name}" for name in names]


async def test_wrong_credentials_are_told(
    cluster: KubernetesCluster, adapter_of: Adapters, node: str, hold: Hold
) -> None:
    adapter = adapter_of(kubeconfig=cluster.kubeconfig_of("wrong", "not-a-token"))

    with pytest.raises(Permanent, match="it does not know who fleetmend is"):
        await adapter.cordon(node, hold)
    with pytest.raises(Permanent, match="it does not know who fleetmend is"):
        await adapter.observe()


async def test_an_api_that_is_not_there_is_tried_again(
    cluster: KubernetesCluster, adapter_of: Adapters, node: str, hold: Hold
) -> None:
    path = cluster.directory / "nowhere.kubeconfig"
    path.write_text(cluster.kubeconfig.read_text().replace(cluster.url, f"https://127.0.0.1:{free_ports(1)[0]}"))
    adapter = adapter_of(kubeconfig=path)

    with pytest.raises(Retryable, match="the connection failed"):
        await adapter.cordon(node, hold)
    with pytest.raises(Retryable, match="the connection failed"):
        await adapter.observe()
