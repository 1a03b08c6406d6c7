"""Who the controller is to a real API server, and what it may do there by kubernetes/rights/rbac.yaml."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from ruamel.yaml import YAML

from controller.adapters import Hold
from controller.errors import Permanent, Retryable
from controller.schedulers import kubernetes
from controller.schedulers.kubernetes import KubernetesScheduler
from controller.schedulers.kubernetes_access import Access, config_of
from controller.schedulers.kubernetes_answers import Answered
from controller.schedulers.kubernetes_hold import HEALTHY
from controller.sections.kubernetes import KubernetesSection
from tests.support.checkout import ROOT
from tests.support.kubernetes import KubernetesCluster
from tests.support.kubernetes_api import MERGE_PATCH, KubernetesApi, pod

MANIFEST = ROOT / "kubernetes" / "rights" / "rbac.yaml"
PODS = "/api/v1/namespaces/default/pods"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
WHERE = {
    "Namespace": "/api/v1/namespaces",
    "ServiceAccount": "/api/v1/namespaces/{namespace}/serviceaccounts",
    "ClusterRole": f"{RBAC}/clusterroles",
    "ClusterRoleBinding": f"{RBAC}/clusterrolebindings",
    "Role": f"{RBAC}/namespaces/{{namespace}}/roles",
    "RoleBinding": f"{RBAC}/namespaces/{{namespace}}/rolebindings",
}
RIGHTS = [
    ("nodes", "get"),
    ("nodes", "list"),
    ("nodes", "watch"),
    ("nodes", "patch"),
    ("nodes/status", "patch"),
    ("pods", "list"),
    ("pods", "watch"),
    ("pods", "delete"),
    ("pods/eviction", "create"),
]
OF_DEVICES = [("resourceclaims", "list"), ("resourceslices", "list")]
"""Asked for only where the server has dynamic resource allocation, which that of 1.20 has not."""
ONLY_TELLING = {("nodes/status", "patch")}

_numbers = itertools.count(1)
Documents = list[dict[str, Any]]


def manifest() -> Documents:
    return [dict(document) for document in YAML(typ="safe").load_all(MANIFEST.read_text())]


def rules(documents: Documents) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = next(d for d in documents if d["kind"] == "ClusterRole")["rules"]
    return found


def apply(api: KubernetesApi, documents: Documents) -> None:
    for document in documents:
        path = WHERE[document["kind"]].format(namespace=document["metadata"].get("namespace", ""))
        answer = api.request("POST", path, document)
        if answer.status == 409:
            api.request("PATCH", f"{path}/{document['metadata']['name']}", document, content=MERGE_PATCH).expect()
        else:
            answer.expect()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubernetesCluster]:
    directory = tmp_path_factory.mktemp("kubernetes")
    with KubernetesCluster(directory, controllers=False) as running:
        apply(running.api, manifest())
        yield running


@pytest.fixture(scope="module")
def token(cluster: KubernetesCluster) -> str:
    """A token of the manifest's service account, given out by the API."""
    account = "/api/v1/namespaces/fleetmend/serviceaccounts/fleetmend/token"
    return str(cluster.api.create(account, {"spec": {"expirationSeconds": 3600}})["status"]["token"])


@pytest.fixture(scope="module")
def kubeconfig(cluster: KubernetesCluster, token: str) -> Path:
    return cluster.kubeconfig_of("fleetmend", token)


@pytest.fixture
async def adapter(kubeconfig: Path) -> AsyncIterator[KubernetesScheduler]:
    scheduler = kubernetes.scheduler_of(KubernetesSection(kubeconfig=kubeconfig, unmanaged="evict"), deadline_s=10.0)
    yield scheduler
    await scheduler.close()


@pytest.fixture
def node(cluster: KubernetesCluster) -> str:
    name = f"n{next(_numbers)}"
    cluster.add_nodes(name)
    cluster.api.create(PODS, pod(f"{name}-a", node=name))
    cluster.api.create(PODS, pod(f"{name}-b", node=name))
    return name


async def everything(adapter: KubernetesScheduler, api: KubernetesApi, node: str, hold: Hold) -> None:
    """Do all that the adapter can do, each kind of drain with a pod of its own."""
    await adapter.observe()
    await adapter.cordon(node, hold)
    await adapter.drain(node, hold, jobs="requeue")
    add = pod(f"{node}-c", node=node)
    api.create(PODS, add)
    await until(lambda: len(adapter.cluster.pods_on(node)) == 3)
    await adapter.drain(node, hold, jobs="cancel")
    await adapter.uncordon(node, hold)
    await adapter.told()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10.0):
        while not holds():  # noqa: ASYNC110  # what a watch brings sets no event of ours
            await asyncio.sleep(0.01)


async def test_the_rights_of_the_manifest_suffice(
    cluster: KubernetesCluster, adapter: KubernetesScheduler, node: str, hold: Hold
) -> None:
    await everything(adapter, cluster.api, node, hold)

    assert not cluster.api.is_cordoned(node)
    assert cluster.api.condition(node, HEALTHY)["status"] == "True"
    events = cluster.api.items(f"/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3D{node}")
    assert sorted(event["reason"] for event in events) == ["FleetmendCordoned", "FleetmendUncordoned"]
    assert all("deletionTimestamp" in each["metadata"] for each in cluster.api.pods(node))


def test_the_manifest_gives_these_rights_and_no_others() -> None:
    given = [(what, verb) for rule in rules(manifest()) for what in rule["resources"] for verb in rule["verbs"]]

    assert sorted(given) == sorted([*RIGHTS, *OF_DEVICES])
    events = next(d for d in manifest() if d["kind"] == "Role")["rules"]
    assert events == [{"apiGroups": [""], "resources": ["events"], "verbs": ["create"]}]


@pytest.mark.parametrize(("resource", "verb"), [right for right in RIGHTS if right not in ONLY_TELLING])
async def test_a_missing_right_is_named(
    cluster: KubernetesCluster, adapter: KubernetesScheduler, node: str, hold: Hold, resource: str, verb: str
) -> None:
    with without(cluster.api, resource, verb), pytest.raises(Permanent) as caught:
        await everything(adapter, cluster.api, node, hold)

    said = str(caught.value)
    assert (
        "fleetmend may not do that there; kubernetes/rights/rbac.yaml has all the rights that it needs (403: " in said
    )
    assert f'cannot {verb} resource "{resource}"' in said


@contextlib.contextmanager
def without(api: KubernetesApi, resource: str, verb: str) -> Iterator[None]:
    """Take a right away meanwhile."""
    documents = manifest()
    left = [
        rule | {"verbs": [v for v in rule["verbs"] if (rule["resources"], v) != ([resource], verb)]}
        for rule in rules(documents)
    ]
    role = next(d for d in documents if d["kind"] == "ClusterRole")
    role["rules"] = [rule for rule in left if rule["verbs"]]
    apply(api, [role])
    try:
        yield
    finally:
        apply(api, manifest())


async def test_without_the_rights_to_tell_people_a_cordon_works_all_the_same(
    cluster: KubernetesCluster, adapter: KubernetesScheduler, node: str, hold: Hold
) -> None:
    with without(cluster.api, "nodes/status", "patch"):
        await adapter.cordon(node, hold)
        await adapter.told()

    assert cluster.api.is_cordoned(node)
    assert cluster.api.condition(node, HEALTHY) == {}


async def test_in_the_cluster_a_token_that_was_changed_is_read_anew(
    cluster: KubernetesCluster, token: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = urlsplit(cluster.url)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", str(where.hostname))
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(where.port))
    shutil.copy(cluster.certificate, tmp_path / "ca.crt")
    (tmp_path / "namespace").write_text("fleetmend")
    (tmp_path / "token").write_text("one that has run out")
    access = Access(config_of(None, "", str(tmp_path)), 10.0)
    with pytest.raises(Answered, match="401"):
        await access.get("api", dict)

    (tmp_path / "token").write_text(token)

    assert (await access.get("api", dict))["kind"] == "APIVersions"
    await access.close()


PLUGIN = """#!/bin/sh
[ "$1" = get-token ] && [ "$REGION" = eu ] || { echo "no such region" >&2; exit 3; }
case $KUBERNETES_EXEC_INFO in *'"apiVersion":"VERSION"'*'"interactive":false'*) ;; *) exit 4 ;; esac
echo '{"apiVersion": "VERSION", "kind": "ExecCredential", "status": {"token": "TOKEN"}}'
"""


def kubeconfig_with_plugin(cluster: KubernetesCluster, folder: Path, version: str, token: str, region: str) -> Path:
    plugin = folder / "plugin"
    plugin.write_text(PLUGIN.replace("VERSION", version).replace("TOKEN", token))
    plugin.chmod(0o700)
    config = json.loads(cluster.kubeconfig.read_text())
    environment = [{"name": "REGION", "value": region}]
    call = {"apiVersion": version, "command": str(plugin), "args": ["get-token"], "env": environment}
    config["users"] = [{"name": "test", "user": {"exec": call}}]
    path = folder / "kubeconfig"
    path.write_text(json.dumps(config))
    return path


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
async def test_a_credential_plug_in_is_asked_as_kubectl_asks_it(
    cluster: KubernetesCluster, token: str, tmp_path: Path, version: str
) -> None:
    path = kubeconfig_with_plugin(cluster, tmp_path, f"client.authentication.k8s.io/{version}", token, "eu")
    access = Access(config_of(path, ""), 10.0)

    assert (await access.get("api", dict))["kind"] == "APIVersions"
    await access.close()


async def test_a_credential_plug_in_that_fails_says_why(cluster: KubernetesCluster, token: str, tmp_path: Path) -> None:
    path = kubeconfig_with_plugin(cluster, tmp_path, "client.authentication.k8s.io/v1", token, "moon")
    access = Access(config_of(path, ""), 10.0)

    with pytest.raises(Retryable, match=r"no credentials: Exec .*plugin returned 3: no such region"):
        await access.get("api", dict)
    await access.close()


async def test_a_server_that_cannot_prove_who_it_is_gets_no_token(
    cluster: KubernetesCluster, tmp_path: Path, hold: Hold
) -> None:
    config = json.loads(cluster.kubeconfig.read_text())
    del config["clusters"][0]["cluster"]["certificate-authority"]
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config))
    adapter = kubernetes.scheduler_of(KubernetesSection(kubeconfig=path), deadline_s=10.0)

    with pytest.raises(Permanent, match="the server does not prove who it is: self-signed certificate"):
        await adapter.cordon("n1", hold)
    await adapter.close()
