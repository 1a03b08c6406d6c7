"""Plain requests to a Kubernetes API server, as an administrator's: what a test sets up and looks at."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
Json = dict[str, Any]

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"

UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
"""The taint that the controller manager puts on a node whose `spec.unschedulable` is set."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said to one request."""

    status: int
    body: Json

    def expect(self, *statuses: int) -> Json:
        """Return the body; fail the test when the status is none of these (none given: any of success)."""
        right = self.status in statuses if statuses else self.status < 300
        assert right, f"{self.status}: {self.body.get('message', self.body)}"
        return self.body


@dataclass(frozen=True, slots=True)
class KubernetesApi:
    """One user at one server."""

    host: str
    port: int
    certificate: Path
    token: str

    def request(self, method: str, path: str, body: object = None, *, content: str = "application/json") -> Answer:
        """Ask once, over a connection of its own.

        Raises:
            OSError: nobody answers.
        """
        with closing(self._connection()) as connection:
            self._send(connection, method, path, body, content)
            response = connection.getresponse()
            return Answer(response.status, json.loads(response.read()))

    def get(self, path: str) -> Json:
        """Return an object, or a list of them."""
        return self.request("GET", path).expect()

    def items(self, path: str) -> list[Json]:
        """Return the items of a list."""
        found: list[Json] = self.get(path)["items"]
        return found

    def create(self, path: str, body: Json) -> Json:
        """Create an object, and return it as it is now."""
        return self.request("POST", path, body).expect()

    def patch(self, path: str, body: object, *, content: str = MERGE_PATCH) -> Json:
        """Change an object, and return it as it is now."""
        return self.request("PATCH", path, body, content=content).expect()

    def delete(self, path: str, *, grace_s: int | None = None) -> None:
        """Delete an object, or a whole list; one that is gone already is no error."""
        options = {} if grace_s is None else {"gracePeriodSeconds": grace_s}
        self.request("DELETE", path, options).expect(200, 202, 404)

    @contextmanager
    def watch(self, path: str, *, timeout_s: float = 60.0) -> Iterator[Iterator[Json]]:
        """Give the events of a watch as they come: `{"type": ..., "object": ...}`."""
        with closing(self._connection(timeout_s)) as connection:
            self._send(connection, "GET", f"{path}{'&' if '?' in path else '?'}watch=1", None, "")
            line = connection.sock
            response = connection.getresponse()
            assert response.status == 200, response.read()
            try:
                yield (json.loads(text) for text in response if text.strip())
            finally:
                # Another thread may be reading, and holds the lock that closing waits for.
                with suppress(OSError):
                    line.shutdown(socket.SHUT_RDWR)

    def _connection(self, timeout_s: float = 30.0) -> http.client.HTTPSConnection:
        context = ssl.create_default_context(cafile=str(self.certificate))
        return http.client.HTTPSConnection(self.host, self.port, timeout=timeout_s, context=context)

    def _send(
        self, connection: http.client.HTTPSConnection, method: str, path: str, body: object, content: str
    ) -> None:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": content or "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)

    def node(self, name: str) -> Json:
        """Return a node."""
        return self.get(f"/api/v1/nodes/{name}")

    def condition(self, node: str, kind: str) -> Json:
        """Return a condition of a node, empty when it has none of that type."""
        conditions = self.node(node)["status"].get("conditions", [])
        return next((each for each in conditions if each["type"] == kind), {})

    def taints(self, node: str) -> dict[str, str]:
        """Return the taints of a node, key → effect."""
        return {taint["key"]: taint["effect"] for taint in self.node(node)["spec"].get("taints", [])}

    def is_cordoned(self, node: str) -> bool:
        """Return whether nothing new is placed on a node."""
        return bool(self.node(node)["spec"].get("unschedulable"))

    def pods(self, node: str, *, namespace: str = "default") -> list[Json]:
        """Return the pods that are bound to a node."""
        return self.items(f"/api/v1/namespaces/{namespace}/pods?fieldSelector=spec.nodeName%3D{node}")

    def add_node(self, name: str, *, labels: Mapping[str, str] | None = None, gpus: int = 8) -> Json:
        """Register a node that has no kubelet behind it: it is ready, and stays what it was last said to be."""
        capacity = {"cpu": "64", "memory": "512Gi", "pods": "110", "nvidia.com/gpu": str(gpus)}
        return self.create(
            "/api/v1/nodes",
            {
                "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **(labels or {})}},
                "status": {"capacity": capacity, "allocatable": capacity, "conditions": [_ready()]},
            },
        )

    def set_condition(self, node: str, kind: str, status: str, *, reason: str = "Test", message: str = "") -> None:
        """Say something of a node as a problem detector does."""
        condition = {**_ready(), "type": kind, "status": status, "reason": reason, "message": message}
        self.patch(f"/api/v1/nodes/{node}/status", {"status": {"conditions": [condition]}}, content=STRATEGIC_PATCH)

    def say_ready(self, namespace: str, pod: str) -> None:
        """Say that a pod runs and is ready, as a kubelet does; one that is gone meanwhile is no error."""
        status = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/status"
        self.request("PATCH", path, status, content=STRATEGIC_PATCH).expect(200, 404)

    def apply(self, *objects: Json) -> None:
        """Create what a manifest holds."""
        for each in objects:
            namespace = each["metadata"].get("namespace")
            group = each["apiVersion"] if "/" in each["apiVersion"] else ""
            where = f"/apis/{group}" if group else "/api/v1"
            kind = each["kind"].lower() + "s"
            self.create(f"{where}/namespaces/{namespace}/{kind}" if namespace else f"{where}/{kind}", each)

    def token_of(self, account: str, *, namespace: str = "default") -> str:
        """Return a token of a service account, valid for an hour."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        return str(self.create(path, {"spec": {"expirationSeconds": 3600}})["status"]["token"])

    def service_account(self, name: str, rules: Sequence[Json], *, namespace: str = "default") -> str:
        """Make a service account with these rules in the whole cluster, and return a token of it."""
        where, role = f"/api/v1/namespaces/{namespace}/serviceaccounts", "/apis/rbac.authorization.k8s.io/v1"
        self.create(where, {"metadata": {"name": name}})
        self.create(f"{role}/clusterroles", {"metadata": {"name": name}, "rules": list(rules)})
        self.create(
            f"{role}/clusterrolebindings",
            {
                "metadata": {"name": name},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
                "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
            },
        )
        return self.token_of(name, namespace=namespace)


def pod(name: str, *, node: str = "", **metadata: Any) -> Json:
    """Return a pod that does nothing; with `node` it is bound to it at once."""
    spec: Json = {"containers": [{"name": "main", "image": "pause"}], "terminationGracePeriodSeconds": 30}
    return {"metadata": {"name": name, **metadata}, "spec": spec | ({"nodeName": node} if node else {})}


def deployment(name: str, replicas: int, **spec: Any) -> Json:
    """Return a Deployment whose pods do nothing; `spec` is added to the pods' own."""
    labels = {"app": name}
    pods = {"containers": [{"name": "main", "image": "pause"}], "terminationGracePeriodSeconds": 1, **spec}
    return {
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pods},
        },
    }


def disruption_budget(name: str, *, available: int) -> Json:
    """Return a budget that keeps so many pods of the Deployment of that name available."""
    return {
        "metadata": {"name": name},
        "spec": {"minAvailable": available, "selector": {"matchLabels": {"app": name}}},
    }


def _ready() -> Json:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {
        "type": "Ready",
        "status": "True",
        "reason": "KubeletReady",
        "message": "kubelet is posting ready status",
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
    }


def seen(what: str, look: Callable[[], T | None], *, limit_s: float = 30.0) -> T:
    """Look until something true is seen and return it; fail with `what` when it takes too long."""
    end = time.monotonic() + limit_s
    while not (found := look()):
        assert time.monotonic() < end, f"not within {limit_s:.0f} s: {what}"
        time.sleep(0.05)
    return found
