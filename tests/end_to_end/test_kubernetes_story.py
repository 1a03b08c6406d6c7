"""The whole loop on a real Kubernetes API, a real Mosquitto and real processes.

A Deployment runs on two nodes with real kubelets (over a fake container runtime); a drill writes a kernel-log record on
n2; n2 is cordoned with our taint; its pods go to n1 when their disruption budget lets them; n2 is rebooted, verified,
watched and given back, and takes pods again. The controller has no more rights than the manifest that comes along.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.support.broker import require_mosquitto
from tests.support.documents.places import Scratch, scratch
from tests.support.documents.running import Walk
from tests.support.embedded import EmbeddedCell, until
from tests.support.kubernetes import KubernetesCluster
from tests.support.kubernetes_api import UNSCHEDULABLE, Json, deployment, disruption_budget

pytestmark = pytest.mark.timeout(300)

TAINT = "fleetmend.io/cordoned"
HEALTHY = "fleetmend.io/Healthy"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
BUDGETS = "/apis/policy/v1beta1/namespaces/default/poddisruptionbudgets"
PAGE = "docs/how-to/kubernetes.md"
SETTINGS = """
[kubernetes]
kubeconfig = "{kubeconfig}"
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubernetesCluster]:
    with KubernetesCluster(tmp_path_factory.mktemp("kubernetes"), scheduler=True) as running:
        for node in ("n1", "n2"):
            running.start_kubelet(node, labels="topology.kubernetes.io/rack=r7")
        yield running


@pytest.fixture(scope="module")
def page() -> Walk:
    """What people type to try it, in the order of the page."""
    return Walk(PAGE, __file__)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, cluster: KubernetesCluster) -> Iterator[Scratch]:
    """Where they type it: an administrator of the cluster."""
    with scratch(tmp_path_factory.mktemp("host")) as given:
        yield replace(given, environment={"KUBECONFIG": str(cluster.kubeconfig)})


@pytest.fixture(scope="module")
def cell(
    tmp_path_factory: pytest.TempPathFactory, cluster: KubernetesCluster, page: Walk, host: Scratch
) -> Iterator[EmbeddedCell]:
    require_mosquitto()
    page.next("kubectl apply -f", host)
    token = cluster.api.token_of("fleetmend", namespace="fleetmend")
    state = tmp_path_factory.mktemp("cell")
    *up, simulated, _, scheduler, option, file = page.text("fleetmend up").split()
    assert up == ["fleetmend", "up", "--simulate"]
    settings = state / file
    settings.write_text(SETTINGS.format(kubeconfig=cluster.kubeconfig_of("fleetmend", token)))
    more = (option, str(settings), "--speed", "3600")
    with EmbeddedCell(state, int(simulated), scheduler, more) as embedded:
        cluster.until_in_service("n1", "n2")
        yield embedded


def test_a_broken_node_is_drained_mended_and_returned_and_its_pods_go_on_elsewhere(
    cell: EmbeddedCell, cluster: KubernetesCluster, page: Walk, host: Scratch
) -> None:
    api = cluster.api
    api.create(DEPLOYMENTS, deployment("training", 4))
    api.create(BUDGETS, disruption_budget("training", available=4))
    until("pods run on both nodes", lambda: running(cluster, "n1") + running(cluster, "n2") == 4)
    on_n2 = running(cluster, "n2")
    assert on_n2 > 0
    until("the budget counts them", lambda: api.get(f"{BUDGETS}/training")["status"].get("currentHealthy") == 4)

    page.next("fleetmend drill", replace(host, environment={**host.environment, "FLEETMEND_URL": cell.url}))
    assert page.left == []
    until("n2 is cordoned", lambda: api.is_cordoned("n2"))
    until("n2 is tainted", lambda: api.taints("n2") == {TAINT: "NoSchedule", UNSCHEDULABLE: "NoSchedule"})
    until("people see why", lambda: api.condition("n2", HEALTHY).get("status") == "False")
    (incident,) = cell.incidents("n2")
    annotations = api.node("n2")["metadata"]["annotations"]
    assert annotations["fleetmend.io/incident"] == incident["id"]
    assert "fallen off the bus" in annotations["fleetmend.io/reason"]

    until("the incident says what holds the drain", lambda: "held back by a disruption budget" in words(cell, incident))
    assert running(cluster, "n2") == on_n2
    api.patch(f"{BUDGETS}/training", {"spec": {"minAvailable": 3}})
    ended = cell.incident_ended("n2", limit_s=120.0)
    assert (ended["outcome"], ended["fault_class"]) == ("returned", "gpu_lost")
    for step in ("cordon", "drain", "collect", "reboot", "verify", "probation", "uncordon"):
        assert f"{step.capitalize()} done" in words(cell, incident)
    assert (running(cluster, "n1"), running(cluster, "n2")) == (4, 0)

    until("n2 is in service again", lambda: not api.is_cordoned("n2") and not api.taints("n2"))
    until("people see that", lambda: api.condition("n2", HEALTHY).get("status") == "True")
    assert not [key for key in api.node("n2")["metadata"].get("annotations", {}) if key.startswith("fleetmend.io/")]
    until("both are told as events", lambda: told(cluster, "n2") == ["FleetmendCordoned", "FleetmendUncordoned"])
    api.patch(f"{DEPLOYMENTS}/training", {"spec": {"replicas": 6}})
    until("pods are placed on n2 again", lambda: running(cluster, "n2") > 0)


def test_what_others_say_is_seen_and_acts_by_no_itself_and_labels_are_places(
    cell: EmbeddedCell, cluster: KubernetesCluster, host: Scratch
) -> None:
    before = len(cell.incidents("n1"))
    cluster.api.set_condition("n1", "KernelDeadlock", "True", reason="DockerHung", message="task docker:7 blocked")
    found = until("the finding stands", lambda: others(cell, "n1"))
    assert [(each["code"], each["verdict"]) for each in found] == [("KernelDeadlock", "failed")]
    assert "node-problem-detector says KernelDeadlock=True: DockerHung" in found[0]["because"]
    detectors = Walk("docs/how-to/listen-to-other-detectors.md", __file__)
    detectors.next("fleetmend node", replace(host, environment={**host.environment, "FLEETMEND_URL": cell.url}))
    assert detectors.left == []
    assert (len(cell.incidents("n1")), cluster.api.is_cordoned("n1")) == (before, False)
    cluster.api.set_condition("n1", "KernelDeadlock", "False", reason="KernelHasNoDeadlock")
    until("the finding is gone", lambda: not others(cell, "n1"))
    until("the label is a place", lambda: cell.get("/nodes/n1")["places"].get("rack") == ["r7"])


def running(cluster: KubernetesCluster, node: str) -> int:
    """Return how many pods run on a node, and are not about to end."""
    pods = cluster.api.pods(node)
    return sum(p["status"]["phase"] == "Running" and "deletionTimestamp" not in p["metadata"] for p in pods)


def words(cell: EmbeddedCell, incident: Json) -> str:
    """Return what an incident's timeline says so far."""
    timeline = cell.get(f"/incidents/{incident['id']}")["timeline"]
    return "\n".join(f"{entry['text']}\n{entry['because']}" for entry in timeline)


def told(cluster: KubernetesCluster, node: str) -> list[str]:
    """Return the reasons of fleetmend's events about a node, oldest first."""
    found = cluster.api.items("/api/v1/namespaces/default/events?fieldSelector=involvedObject.kind%3DNode")
    ours = [each for each in found if each["involvedObject"]["name"] == node and "leetmend" in each["reason"]]
    return [event["reason"] for event in sorted(ours, key=lambda each: int(each["metadata"]["resourceVersion"]))]


def others(cell: EmbeddedCell, node: str) -> list[Json]:
    """Return what others find wrong with a node."""
    return [each for each in cell.get(f"/nodes/{node}")["findings"] if each["check"] == "k8s.condition"]
