"""The Kubernetes adapter while its API server breaks off, hangs, lies, restarts or forgets."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from controller.adapters import Hold, NodeSchedule
from controller.errors import Permanent, Refused, Retryable
from controller.schedulers import kubernetes
from controller.schedulers.kubernetes import KubernetesScheduler
from controller.sections.kubernetes import KubernetesSection
from tests.support.eventually import eventually
from tests.support.kubernetes import KubernetesCluster
from tests.support.kubernetes_api import pod
from tests.support.kubernetes_proxy import Ask, KubernetesProxy, hangs, says

PODS = "/api/v1/namespaces/default/pods"
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
DEADLINE_S = 1.0

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubernetesCluster]:
    with KubernetesCluster(tmp_path_factory.mktemp("kubernetes"), controllers=False) as running:
        yield running


@pytest.fixture
def node(cluster: KubernetesCluster) -> str:
    name = f"n{next(_numbers)}"
    cluster.add_nodes(name)
    return name


@pytest.fixture
async def proxy(cluster: KubernetesCluster) -> AsyncIterator[KubernetesProxy]:
    async with KubernetesProxy(cluster) as running:
        yield running


@pytest.fixture
async def adapter(proxy: KubernetesProxy) -> AsyncIterator[KubernetesScheduler]:
    section = KubernetesSection(kubeconfig=proxy.kubeconfig, unmanaged="evict")
    scheduler = kubernetes.scheduler_of(section, deadline_s=DEADLINE_S)
    yield scheduler
    await scheduler.close()


def once(method: str, ending: str, ask: Ask) -> Callable[[web.Request], Ask | None]:
    """Return a twist of the first such request alone."""
    left = [ask]

    def twist(request: web.Request) -> Ask | None:
        fits = request.method == method and request.path.endswith(ending)
        return left.pop() if left and fits else None

    return twist


def always(method: str, ending: str, ask: Ask) -> Callable[[web.Request], Ask | None]:
    """Return a twist of every such request."""
    return lambda request: ask if request.method == method and request.path.endswith(ending) else None


async def test_a_cordon_that_was_accepted_and_is_not_so_is_found_out(
    cluster: KubernetesCluster, proxy: KubernetesProxy, adapter: KubernetesScheduler, node: str, hold: Hold
) -> None:
    proxy.twist = always("PATCH", f"/nodes/{node}", proxy.does_nothing)

    with pytest.raises(Retryable, match=f"^Kubernetes accepted the cordon of {node}, which is not so all the same$"):
        await adapter.cordon(node, hold)

    assert not cluster.api.is_cordoned(node)


async def test_an_uncordon_that_was_accepted_and_is_not_so_is_found_out(
    proxy: KubernetesProxy, adapter: KubernetesScheduler, node: str, hold: Hold
) -> None:
    await adapter.cordon(node, hold)
    proxy.twist = always("PATCH", f"/nodes/{node}", proxy.does_nothing)

    with pytest.raises(Retryable, match=f"^Kubernetes accepted the uncordon of {node}, which is not so all the same$"):
        await adapter.uncordon(node, hold)


async def test_an_eviction_that_was_accepted_and_is_not_so_is_found_out(
    cluster: KubernetesCluster, proxy: KubernetesProxy, adapter: KubernetesScheduler, node: str, hold: Hold
) -> None:
    cluster.api.create(PODS, pod(f"{node}-a", node=node))
    await adapter.cordon(node, hold)
    proxy.twist = always("POST", "/eviction", says(201, '{"kind": "Status", "status": "Success"}'))
    assert await adapter.drain(node, hold, jobs="requeue") == (f"default/{node}-a",)

    then = adapter._drainer.clock
    adapter._drainer.clock = lambda: then() + 11.0

    with pytest.raises(Retryable, match=f"accepted that default/{node}-a goes, and it runs on all the same"):
        await adapter.drain(node, hold, jobs="requeue")


async def test_an_answer_that_breaks_off_doubles_no_effect(
    cluster: KubernetesCluster, proxy: KubernetesProxy, adapter: KubernetesScheduler, node: str, hold: Hold
) -> None:
    proxy.twist = once("PATCH", f"/nodes/{node}", proxy.breaks_off)

    with pytest.raises(Retryable, match=f"writing node {node}: the connection failed: "):
        await adapter.cordon(node, hold)

    assert cluster.api.is_cordoned(node)
    assert await adapter.cordon(node, hold) == f"{node} is cordoned in Kubernetes for inc-000007 already."


TROUBLES: dict[str, tuple[Ask, type[Exception], str]] = {
    "silence": (hangs, Retryable, "no answer in time"),
    "a proxy's login page": (
        says(200, "<html>log in</html>", content_type="text/html"),
        Retryable,
        "what answered is not its API",
    ),
    "a gateway": (
        says(502, "<html>bad</html>", content_type="text/html"),
        Retryable,
        r"in trouble itself \(502: <html>",
    ),
    "etcd": (says(500, '{"message": "etcdserver: request timed out"}'), Retryable, "in trouble itself"),
    "overload": (says(429, '{"message": "too many requests"}', **{"Retry-After": "7"}), Retryable, "overloaded"),
    "a bad status": (says(503, "not JSON at all"), Retryable, r"\(503: not JSON at all\)"),
    "no rights": (says(403, '{"message": "nodes is forbidden"}'), Permanent, "kubernetes/rights/rbac.yaml"),
    "nonsense": (says(422, '{"message": "Node is invalid"}'), Permanent, "does not take the request as it is"),
    "a redirect": (says(302, ""), Permanent, "does not take the request as it is"),
}


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_trouble_is_told_for_what_it_is(
    proxy: KubernetesProxy, adapter: KubernetesScheduler, node: str, hold: Hold, trouble: str
) -> None:
    ask, kind, because = TROUBLES[trouble]
    proxy.twist = always("PATCH", f"/nodes/{node}", ask)

    with pytest.raises(kind, match=because) as caught:
        await adapter.cordon(node, hold)

    if trouble == "overload":
        assert isinstance(caught.value, Retryable)
        assert caught.value.after_s == 7.0


async def test_people_who_cannot_be_told_hold_up_no_cordon(
    cluster: KubernetesCluster, proxy: KubernetesProxy, adapter: KubernetesScheduler, node: str, hold: Hold
) -> None:
    twists = always("PATCH", "/status", hangs), always("POST", "/events", says(500, ""))
    proxy.twist = lambda request: twists[0](request) or twists[1](request)

    assert await adapter.cordon(node, hold) == f"{node} is cordoned in Kubernetes for inc-000007."

    assert cluster.api.is_cordoned(node)


async def test_one_node_that_hangs_holds_up_no_other(
    proxy: KubernetesProxy, adapter: KubernetesScheduler, cluster: KubernetesCluster, node: str, hold: Hold
) -> None:
    other = f"{node}-other"
    cluster.add_nodes(other)
    proxy.twist = always("PATCH", f"/nodes/{node}", hangs)
    stuck = asyncio.create_task(adapter.cordon(node, hold))

    await adapter.cordon(other, hold)

    assert not stuck.done()
    with pytest.raises(Retryable):
        await stuck


async def see(adapter: KubernetesScheduler, node: str, holds: Callable[[NodeSchedule], bool]) -> None:
    async with asyncio.timeout(15.0):
        while True:
            view = (await adapter.observe()).get(node)
            if view is not None and holds(view):
                return
            await asyncio.sleep(0.02)


async def test_a_watch_goes_on_where_it_was_cut(
    cluster: KubernetesCluster, proxy: KubernetesProxy, adapter: KubernetesScheduler, node: str
) -> None:
    await see(adapter, node, lambda view: view.schedulable)
    proxy.cut()
    cluster.api.patch(f"/api/v1/nodes/{node}", {"spec": {"unschedulable": True}})

    await see(adapter, node, lambda view: not view.schedulable)

    assert (adapter.cluster.nodes.lists, adapter.cluster.pods.lists) == (1, 1)


async def test_no_letter_in_a_strangers_words_blinds_the_watch(
    cluster: KubernetesCluster, adapter: KubernetesScheduler, node: str
) -> None:
    """The API writes U+0085 as it is, and to Unicode it ends a line."""
    await see(adapter, node, lambda view: view.schedulable)
    cluster.api.create(PODS, pod(f"{node}-odd", node=node, annotations={"note": "a\u0085b\u2028c\rd"}))
    cluster.api.patch(f"/api/v1/nodes/{node}", {"metadata": {"annotations": {"note": "a\u0085b"}}})
    cluster.api.patch(f"/api/v1/nodes/{node}", {"spec": {"unschedulable": True}})

    await see(adapter, node, lambda view: not view.schedulable and view.jobs == (f"default/{node}-odd",))


async def test_an_answer_that_is_nested_without_end_ends_no_watch(
    proxy: KubernetesProxy, adapter: KubernetesScheduler, node: str
) -> None:
    proxy.twist = once("GET", "/api/v1/nodes", says(200, '{"a":' * 100_000))
    with pytest.raises(Retryable, match="cannot be read"):
        await adapter.observe()

    await eventually("it is listed", lambda: adapter.cluster.nodes.lists == 1)
    await see(adapter, node, lambda view: view.schedulable)


async def test_an_api_that_restarts_and_has_forgotten_our_version_is_listed_anew(
    cluster: KubernetesCluster, proxy: KubernetesProxy, adapter: KubernetesScheduler, node: str, hold: Hold
) -> None:
    """410, which comes inside of a stream that began with 200. What went away meanwhile is forgotten, too."""
    gone = f"{node}-gone"
    cluster.add_nodes(gone)
    await see(adapter, gone, lambda view: view.schedulable)
    cluster.kill_apiserver()
    proxy.cut()
    await eventually("the watch has ended", lambda: adapter.cluster.nodes.failure is not None)
    with pytest.raises(Retryable):
        await adapter.cordon(node, hold)
    assert (await adapter.observe())[node].schedulable, "what was seen a moment ago is still told"

    adapter.cluster.nodes._version = "1"
    cluster.start_apiserver()
    cluster.api.delete(f"/api/v1/nodes/{gone}")
    await eventually("it is listed anew", lambda: adapter.cluster.nodes.lists == 2)

    assert gone not in await adapter.observe()
    assert await adapter.cordon(node, hold) == f"{node} is cordoned in Kubernetes for inc-000007."
    cluster.api.patch(f"/api/v1/nodes/{node}", {"spec": {"unschedulable": None}})
    await see(adapter, node, lambda view: view.schedulable and not view.held_by)


async def test_what_is_too_old_is_not_told(proxy: KubernetesProxy, adapter: KubernetesScheduler, node: str) -> None:
    await see(adapter, node, lambda view: view.schedulable)
    proxy.twist = lambda _: hangs
    proxy.cut()
    then = adapter.cluster.nodes.clock
    adapter.cluster.nodes.clock = lambda: then() + 61.0

    with pytest.raises(Retryable, match=r"/api/v1/nodes"):
        await adapter.observe()


async def test_a_stream_that_ends_at_once_is_not_asked_for_in_a_hot_loop(
    proxy: KubernetesProxy, adapter: KubernetesScheduler, node: str
) -> None:
    def empty(request: web.Request) -> Ask | None:
        return says(200, "") if "watch" in request.query else None

    proxy.twist = empty
    assert node in await adapter.observe()
    before = len(proxy.asked)
    await asyncio.sleep(0.5)

    assert len(proxy.asked) - before < 12


async def test_a_webhook_that_hangs_is_not_waited_for_and_is_named(
    cluster: KubernetesCluster, proxy: KubernetesProxy, node: str, hold: Hold
) -> None:
    adapter = kubernetes.scheduler_of(KubernetesSection(kubeconfig=proxy.kubeconfig), deadline_s=15.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        webhook(cluster, f"https://127.0.0.1:{silent.getsockname()[1]}/", node)
        try:
            with pytest.raises(Retryable, match="an admission webhook does not answer"):
                await adapter.cordon(node, hold)
        finally:
            cluster.api.delete(f"{WEBHOOKS}/{node}")
            await adapter.close()
    assert not cluster.api.is_cordoned(node)


def webhook(cluster: KubernetesCluster, url: str, name: str) -> None:
    """Have the API server ask at this address before a node is written."""
    authority = base64.b64encode(cluster.certificate.read_bytes()).decode()
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["nodes"]}
    hook = {
        "name": "guard.example.org",
        "clientConfig": {"url": url, "caBundle": authority},
        "rules": [rule],
        "timeoutSeconds": 1,
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    cluster.api.create(WEBHOOKS, {"metadata": {"name": name}, "webhooks": [hook]})


async def test_a_webhook_that_says_no_is_a_refusal(
    cluster: KubernetesCluster, adapter: KubernetesScheduler, node: str, hold: Hold
) -> None:
    async with denying(cluster) as url:
        await asyncio.to_thread(webhook, cluster, url, node)
        try:
            because = r"an admission webhook says no \(.*denied the request: change freeze\)"
            with pytest.raises(Refused, match=because):
                for _ in range(50):
                    await adapter.cordon(node, hold)
                    await adapter.uncordon(node, hold)
        finally:
            cluster.api.delete(f"{WEBHOOKS}/{node}")


@asynccontextmanager
async def denying(cluster: KubernetesCluster) -> AsyncIterator[str]:
    """Serve a webhook that says no to everything; give its address."""

    async def deny(request: web.Request) -> web.Response:
        review: dict[str, Any] = await request.json()
        answer = {"uid": review["request"]["uid"], "allowed": False, "status": {"message": "change freeze"}}
        return web.Response(
            text=json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": answer}),
            content_type="application/json",
        )

    application = web.Application()
    application.router.add_post("/", deny)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cluster.certificate, cluster.certificate.with_suffix(".key"))
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield f"https://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("kind", ["nodes", "pods"])
async def test_a_mistake_while_a_change_is_taken_in_ends_no_watch(
    cluster: KubernetesCluster, adapter: KubernetesScheduler, node: str, kind: str
) -> None:
    mirror = getattr(adapter.cluster, kind)
    as_it_is, left = mirror.changed, [RuntimeError("a mistake of ours")]

    def changed(before: Any, after: Any) -> None:
        if left:
            raise left.pop()
        as_it_is(before, after)

    mirror.changed = changed
    cluster.api.create(PODS, pod(f"{node}-a", node=node))

    with pytest.raises(Retryable, match="a mistake of ours"):
        await adapter.observe()
    async with asyncio.timeout(10.0):
        while not await told(adapter, node):  # noqa: ASYNC110  # what a watch brings sets no event of ours
            await asyncio.sleep(0.05)


async def told(adapter: KubernetesScheduler, node: str) -> bool:
    """Return whether the adapter tells of a node and the pod on it."""
    try:
        seen: dict[str, NodeSchedule] = dict(await adapter.observe())
    except Retryable:
        return False
    return node in seen and f"default/{node}-a" in seen[node].jobs


SICK, WELL = "GPU-aaaaaaaa-0000-0000-0000-000000000001", "GPU-bbbbbbbb-0000-0000-0000-000000000002"
ALLOCATION = "/apis/resource.k8s.io"


def listed(*items: dict[str, Any]) -> str:
    return json.dumps({"metadata": {"resourceVersion": "1"}, "items": items})


def allocating(cluster: KubernetesCluster, node: str) -> dict[str, Ask]:
    """Return what a server of 1.34 says of two pods with a GPU each; that of 1.20 knows no such objects."""
    devices, claims = [], []
    for index, (name, uuid) in enumerate((("sick", SICK), ("well", WELL))):
        made = cluster.api.create(PODS, pod(f"{node}-{name}", node=node))
        devices.append({"name": f"gpu-{index}", "attributes": {"uuid": {"string": uuid}}})
        results = [{"driver": "gpu.nvidia.com", "pool": node, "device": f"gpu-{index}", "request": "r"}]
        users = [{"resource": "pods", "uid": made["metadata"]["uid"]}]
        status = {"allocation": {"devices": {"results": results}}, "reservedFor": users}
        claims.append({"metadata": {"name": name, "namespace": "default"}, "status": status})
    spec = {"driver": "gpu.nvidia.com", "nodeName": node, "pool": {"name": node}, "devices": devices}
    return {
        ALLOCATION: says(200, '{"versions": [{"version": "v1beta1"}, {"version": "v1"}]}'),
        f"{ALLOCATION}/v1/resourceslices": says(200, listed({"metadata": {"name": node}, "spec": spec})),
        f"{ALLOCATION}/v1/namespaces/default/resourceclaims": says(200, listed(*claims)),
    }


async def test_claims_of_dynamic_resource_allocation_say_who_holds_a_gpu(
    cluster: KubernetesCluster, proxy: KubernetesProxy, adapter: KubernetesScheduler, node: str, hold: Hold
) -> None:
    answers = allocating(cluster, node)
    proxy.twist = lambda request: answers.get(request.path)
    await adapter.cordon(node, hold)

    assert await adapter.drain(node, replace(hold, device=SICK), jobs="wait") == (f"default/{node}-sick",)
    assert set(answers) <= {line.removeprefix("GET ") for line in proxy.asked}

    proxy.asked.clear()
    assert await adapter.drain(node, replace(hold, device=WELL), jobs="wait") == (f"default/{node}-well",)
    assert not [line for line in proxy.asked if ALLOCATION in line], "what a pod was given stays the same"
