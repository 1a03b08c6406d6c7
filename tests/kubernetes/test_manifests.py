"""The manifests of kubernetes/ at a real API server, with real controllers and a real scheduler behind it."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from lightkube import codecs

from tests.support.checkout import ROOT
from tests.support.documents.places import Scratch, scratch
from tests.support.documents.running import Walk
from tests.support.kubernetes import KubernetesCluster
from tests.support.kubernetes_api import Json, KubernetesApi, seen
from tests.support.kustomization import APPLY_PATCH, Kustomization, apply, built, change, missing, path_of

pytestmark = pytest.mark.timeout(300)

FOLDER = ROOT / "kubernetes"
PODS = "/api/v1/namespaces/{}/pods"
POLICIES = "/apis/policy/v1beta1/podsecuritypolicies"
SECCOMP = "seccomp.security.alpha.kubernetes.io/allowedProfileNames"
GPU = {"nvidia.com/gpu.present": "true"}
NODES: dict[str, dict[str, str]] = {
    "gpu-well": GPU,
    "gpu-cordoned": GPU,
    "gpu-tainted": {"feature.node.kubernetes.io/pci-10de.present": "true"},
    "gpu-amd": {"feature.node.kubernetes.io/pci-1002.present": "true"},
    "gpu-with-its-own": GPU | {"fleetmend.io/agent": "host"},
    "cpu": {},
    "cpu-named": {"fleetmend.io/agent": "pod"},
}
WATCHED = {"gpu-well", "gpu-cordoned", "gpu-tainted", "gpu-amd", "cpu-named"}
TAINTS = [
    {"key": "nvidia.com/gpu", "effect": "NoSchedule"},
    {"key": "repair", "effect": "NoExecute"},
    {"key": "fleetmend.io/cordoned", "value": "inc-000042", "effect": "NoSchedule"},
]
OF_1_20 = {"policy/v1": "policy/v1beta1"}
"""Groups that this API server has under an older name, with the same fields."""

SITE = """
mkdir -p /srv/site/fleetmend
cp -r kubernetes /srv/site/fleetmend
for part in controller agent; do cp kubernetes/$part/settings.yaml /srv/site/$part-settings.yaml; done
"""
OURS, THEIRS = "registry.example/", "harbor.internal/gpu/"

VOLUMES = {"configMap", "emptyDir", "projected", "secret", "downwardAPI", "persistentVolumeClaim"}
RESTRICTED: Json = {
    "privileged": False,
    "allowPrivilegeEscalation": False,
    "requiredDropCapabilities": ["ALL"],
    "volumes": sorted(VOLUMES),
    "hostNetwork": False,
    "hostIPC": False,
    "hostPID": False,
    "readOnlyRootFilesystem": True,
    "runAsUser": {"rule": "MustRunAsNonRoot"},
    "seLinux": {"rule": "RunAsAny"},
    "supplementalGroups": {"rule": "MustRunAs", "ranges": [{"min": 1, "max": 65535}]},
    "fsGroup": {"rule": "MustRunAs", "ranges": [{"min": 1, "max": 65535}]},
}
"""Source: Kubernetes 1.20, policy/restricted-psp.yaml, which the level `restricted` was made from."""

ANYTHING = {
    "privileged": True,
    "allowPrivilegeEscalation": True,
    "allowedCapabilities": ["*"],
    "volumes": ["*"],
    "hostNetwork": True,
    "hostPID": True,
    "hostPorts": [{"min": 0, "max": 65535}],
    **{name: {"rule": "RunAsAny"} for name in ("runAsUser", "seLinux", "supplementalGroups", "fsGroup")},
}


def for_this_server(document: Json) -> Json:
    return document | {"apiVersion": OF_1_20.get(document["apiVersion"], document["apiVersion"])}


def pod_of(document: Json) -> Json:
    template = copy.deepcopy(document["spec"]["template"])
    template["metadata"] |= {"name": document["metadata"]["name"], "namespace": document["metadata"]["namespace"]}
    for claim in document["spec"].get("volumeClaimTemplates", []):
        name = claim["metadata"]["name"]
        template["spec"]["volumes"].append({"name": name, "persistentVolumeClaim": {"claimName": name}})
    return {"apiVersion": "v1", "kind": "Pod", **template}


CELL = built(FOLDER / "cell")
WORKLOADS = {each["metadata"]["name"]: each for each in CELL.resources if "template" in each.get("spec", {})}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubernetesCluster]:
    flags = ("--enable-admission-plugins=PodSecurityPolicy",)
    where = tmp_path_factory.mktemp("kubernetes")
    with KubernetesCluster(
        where, scheduler=True, apiserver_flags=flags, more_controllers=("resourcequota", "pvc-protection")
    ) as running:
        for name, spec, seccomp in (("restricted", RESTRICTED, "runtime/default"), ("anything", ANYTHING, "*")):
            about = {"name": name, "annotations": {SECCOMP: seccomp}}
            running.api.create(POLICIES, {"metadata": about, "spec": spec})
        for name, labels in NODES.items():
            running.add_nodes(name, labels=labels)
        running.api.patch("/api/v1/nodes/gpu-cordoned", {"spec": {"unschedulable": True}})
        running.api.patch("/api/v1/nodes/gpu-tainted", {"spec": {"taints": TAINTS}})
        yield running


@pytest.fixture(scope="module")
def page() -> Walk:
    return Walk("docs/how-to/kubernetes.md", __file__)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, cluster: KubernetesCluster) -> Iterator[Scratch]:
    """A site's own folder, with a checkout in it and two patches that change nothing."""
    with scratch(tmp_path_factory.mktemp("host")) as host:
        made = host.run(SITE, limit_s=60)
        assert made.returncode == 0, made.stdout
        yield replace(host, environment={"KUBECONFIG": str(cluster.kubeconfig)})


@pytest.fixture(scope="module")
def api(cluster: KubernetesCluster, page: Walk, site: Scratch) -> Iterator[KubernetesApi]:
    """The cluster's, with the whole cell in it, as the page has people put it there."""
    with cluster.running_pods():
        for begins in (
            "# kustomization.yaml",
            "openssl rand",
            "mkdir -m 700 keys",
            "kubectl --namespace fleetmend create",
        ):
            page.next(begins, site)
        yield cluster.api


@pytest.mark.parametrize("document", CELL.resources, ids=lambda each: f"{each['kind']}/{each['metadata']['name']}")
def test_the_server_takes_each_object_and_keeps_every_field(api: KubernetesApi, document: Json) -> None:
    wanted: Json = json.loads(json.dumps(for_this_server(document)).replace(OURS, THEIRS))
    assert list(missing(wanted, api.get(path_of(wanted)))) == []


def test_the_server_would_refuse_a_field_that_it_does_not_know(api: KubernetesApi) -> None:
    wrong = copy.deepcopy(WORKLOADS["fleetmend-agent"])
    wrong["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]["failureThresold"] = 3
    answer = api.request("PATCH", f"{path_of(wrong)}?fieldManager=other&dryRun=All", wrong, content=APPLY_PATCH)
    assert answer.status >= 400
    assert "failureThresold" in str(answer.body)


def test_an_upgrade_puts_other_images_in(api: KubernetesApi, page: Walk, site: Scratch) -> None:
    page.next("kubectl apply -k .", site)
    pods = api.items(PODS.format("fleetmend-agents"))
    agents = {container["image"] for each in pods for container in each["spec"]["containers"]}
    assert agents == {f"{THEIRS}fleetmend-agent:0.2.0"}


def test_the_overlay_changes_what_it_names(api: KubernetesApi) -> None:
    overlay = built(FOLDER / "postgresql")
    assert overlay.resources[: len(CELL.resources)] == CELL.resources
    for document in overlay.resources[len(CELL.resources) :]:
        apply(api, for_this_server(document))
    _follow(api, overlay)
    deployment = api.get(path_of(WORKLOADS["fleetmend-controller"]))
    pod = deployment["spec"]["template"]["spec"]
    assert (deployment["spec"]["replicas"], deployment["spec"]["strategy"]["type"]) == (2, "Recreate")
    volumes = {each.pop("name"): each for each in pod["volumes"]}
    assert volumes["state"] == {"emptyDir": {"sizeLimit": "10Gi"}}
    assert volumes.keys() == {"settings", "broker-tls", "http-tls", "secrets", "keys", "state", "scratch"}
    names = [
        item["path"] for source in volumes["secrets"]["projected"]["sources"] for item in source["secret"]["items"]
    ]
    assert names == ["broker", "store"]
    assert not flaws_of_restricted(pod)
    claims = {
        each["metadata"]["name"]: each for each in api.items("/api/v1/namespaces/fleetmend/persistentvolumeclaims")
    }
    claim = claims.get("fleetmend-controller")
    assert claim is None or "deletionTimestamp" in claim["metadata"]


def _follow(api: KubernetesApi, overlay: Kustomization) -> None:
    for patch in map(for_this_server, overlay.patches):
        change(api, patch)


def test_agents_are_on_every_gpu_node_whatever_is_wrong_with_it_and_nowhere_else(api: KubernetesApi) -> None:
    assert [each["key"] for each in api.node("gpu-tainted")["spec"]["taints"]] == [each["key"] for each in TAINTS]
    placed = seen("an agent on each", lambda: _placed(api) if len(_placed(api)) >= len(WATCHED) else None)
    assert placed == WATCHED
    status = api.get(path_of(WORKLOADS["fleetmend-agent"]))["status"]
    assert status["desiredNumberScheduled"] == len(WATCHED)
    assert status["numberMisscheduled"] == 0


def _placed(api: KubernetesApi) -> set[str]:
    pods = api.items(PODS.format("fleetmend-agents"))
    return {each["spec"]["nodeName"] for each in pods if each["spec"].get("nodeName")}


@pytest.mark.parametrize(
    ("name", "status"), [("fleetmend-controller", 201), ("fleetmend-broker", 201), ("fleetmend-agent", 403)]
)
def test_controller_and_broker_run_where_nothing_is_allowed_that_the_agent_needs(
    cluster: KubernetesCluster, api: KubernetesApi, name: str, status: int
) -> None:
    use = {
        "apiGroups": ["policy"],
        "resources": ["podsecuritypolicies"],
        "resourceNames": ["restricted"],
        "verbs": ["use"],
    }
    may = {"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]}
    somebody = cluster.api_of(api.service_account(f"makes-{name}", [use, may]))
    pod = pod_of(WORKLOADS[name])
    answer = somebody.request("POST", f"{PODS.format(pod['metadata']['namespace'])}?dryRun=All", pod)
    assert answer.status == status, answer.body


def flaws_of_restricted(spec: Json) -> list[str]:
    """Return what of a pod's the Pod Security level `restricted` forbids.

    Source: Kubernetes, Pod Security Standards, v1.32; a server of 1.20 has the levels' forerunner alone.
    """
    flaws = [name for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    flaws += [
        f"volume {each['name']}"
        for each in spec["volumes"]
        if not each.keys() & {"name", *RESTRICTED["volumes"]} - {"name"}
    ]
    pod = spec.get("securityContext", {})
    for container in (*spec.get("initContainers", []), *spec["containers"]):
        own = container.get("securityContext", {})
        capabilities = own.get("capabilities", {})
        right = {
            "privileged": not own.get("privileged"),
            "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
            "capabilities": capabilities.get("drop") == ["ALL"] and not capabilities.get("add"),
            "runAsNonRoot": own.get("runAsNonRoot", pod.get("runAsNonRoot")) is True,
            "runAsUser": own.get("runAsUser", pod.get("runAsUser")) != 0,
            "seccompProfile": own.get("seccompProfile", pod.get("seccompProfile", {})).get("type") == "RuntimeDefault",
            "hostPort": not any("hostPort" in port for port in container.get("ports", [])),
        }
        flaws += [f"{container['name']}: {what}" for what, is_so in right.items() if not is_so]
    return flaws


def test_pods_are_as_the_level_of_their_namespace_asks() -> None:
    levels = {
        each["metadata"]["name"]: each["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
        for each in CELL.resources
        if each["kind"] == "Namespace"
    }
    assert levels == {"fleetmend": "restricted", "fleetmend-agents": "privileged"}
    flaws: dict[str, list[str]] = {
        name: flaws_of_restricted(each["spec"]["template"]["spec"]) for name, each in WORKLOADS.items()
    }
    assert (flaws["fleetmend-controller"], flaws["fleetmend-broker"]) == ([], [])
    assert {"hostPID", "hostNetwork", "agent: privileged", "volume dev"} <= {*flaws["fleetmend-agent"]}


@pytest.mark.parametrize("workload", WORKLOADS.values(), ids=WORKLOADS)
def test_every_container_is_bounded_and_writes_nowhere_but_in_volumes(workload: Json) -> None:
    spec = workload["spec"]["template"]["spec"]
    claims = workload["spec"].get("volumeClaimTemplates", [])
    volumes = {each["name"] for each in spec["volumes"]} | {each["metadata"]["name"] for each in claims}
    for container in (*spec.get("initContainers", []), *spec["containers"]):
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert {"cpu", "memory"} == container["resources"]["requests"].keys()
        assert "memory" in container["resources"]["limits"]
        assert {each["name"] for each in container["volumeMounts"]} <= volumes
    mounted: list[Any] = [each for one in spec["containers"] for each in one["volumeMounts"]]
    assert {each["name"] for each in mounted} == volumes


@pytest.mark.parametrize(
    "document", built(FOLDER / "postgresql").resources, ids=lambda each: f"{each['kind']}/{each['metadata']['name']}"
)
def test_a_new_cluster_knows_every_field(document: Json) -> None:
    """By the models of the API that lightkube brings, which are years newer than the server of these tests."""
    assert list(missing(document, codecs.from_dict(document).to_dict())) == []  # type: ignore[no-untyped-call]


def test_taken_away_nothing_of_it_is_left(api: KubernetesApi, page: Walk, site: Scratch) -> None:
    page.next("kubectl delete -k", site)
    assert page.left == []
    assert not [each["metadata"]["name"] for each in api.items("/api/v1/namespaces") if "fleetmend" in str(each)]
    roles = api.items("/apis/rbac.authorization.k8s.io/v1/clusterroles")
    assert not [each["metadata"]["name"] for each in roles if each["metadata"]["name"].startswith("fleetmend")]
