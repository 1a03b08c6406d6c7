"""The way to one Kubernetes API: where it is, who we are, and the few questions that are asked there.

lightkube brings kubeconfig, TLS, tokens that are read anew, credential plug-ins and the paths of objects. Its watch
hides when a stream ended or stood still, so that one is asked for here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import msgspec
import yaml
from lightkube import AsyncClient
from lightkube.config import client_adapter
from lightkube.config.kubeconfig import SERVICE_ACCOUNT, KubeConfig, SingleConfig
from lightkube.config.models import NameValue, User
from lightkube.core.exceptions import ConfigError
from lightkube.types import PatchType

from controller.errors import Permanent
from controller.schedulers.kubernetes_answers import transported
from controller.schedulers.kubernetes_objects import (
    Eviction,
    KubeEvent,
    KubeNode,
    KubeNodeStatus,
    KubePod,
    eviction_of,
)
from controller.schedulers.kubernetes_transport import KubernetesTransport
from controller.schedulers.kubernetes_turns import Turns, Urgency

T = TypeVar("T")

PLUGIN_V1 = "client.authentication.k8s.io/v1"
PLUGIN_V1BETA1 = "client.authentication.k8s.io/v1beta1"
"""The two say the same to and fro, but lightkube knows the older alone. Source: k8s.io/client-go, exec credential."""

PAGE = 500
"""Objects of one answer to a list. Source: what client-go's reflector asks for."""

OFFERS_FOR_S = 600.0
"""How long it is believed which version of `policy` the server speaks: upgrades are seldom."""


MOST_LINE_BYTES = 32 << 20
"""Of one change in a watch. Source: our choice, far above the 1.5 MiB that etcd takes of an object."""

CONNECTIONS = 512
"""So many at most. Source: our choice: while all of them hang, 8 are begun each second, for as long as a deadline."""

KEPT_S = 300.0
"""An idle connection is kept so long: a cordon by one that stands is 10 ms faster. Source: our choice."""


class NotUsable(Exception):
    """The settings lead to no cluster. The text says what is wrong."""


def config_of(kubeconfig: Path | None, context: str, account: str = SERVICE_ACCOUNT) -> SingleConfig:
    """Return where the API is and who we are there.

    Args:
        kubeconfig: `None` takes the service account of our own pod, whose token is read anew when it is refused.
        account: folder of that service account.
        context: of the kubeconfig, empty for its current one.

    Raises:
        NotUsable: there is no such thing.
    """
    if kubeconfig is None:
        return _of_our_pod(account)
    try:
        read = KubeConfig.from_file(kubeconfig)
        if context and context not in read.contexts:
            raise NotUsable(f"{kubeconfig} has no context {context!r}; there are: {', '.join(sorted(read.contexts))}")
        config = read.get(context or None)
    except ConfigError as error:
        where = "" if str(kubeconfig) in str(error) else f"{kubeconfig}: "
        raise NotUsable(f"{where}{error}") from error
    except KeyError as error:
        raise NotUsable(f"{kubeconfig} has no {error}") from error
    except (OSError, yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise NotUsable(f"{kubeconfig} is no kubeconfig: {' '.join(str(error).split())}") from error
    if config is None or config.user is None:
        raise NotUsable(f"context {context or 'by default'} of {kubeconfig} names no user")
    return config._replace(user=_understood(config.user))


def _of_our_pod(account: str) -> SingleConfig:
    try:
        config = KubeConfig.from_service_account(account).get()
    except (ConfigError, KeyError, OSError) as error:
        why = "kubeconfig is not given, and this is no pod of a cluster with a service account"
        raise NotUsable(f"{why}: {error}") from error
    assert config is not None
    return config


def _understood(user: User) -> User:
    """Return a user whose plug-in lightkube understands; the environment tells it what is asked, as kubectl's does."""
    plugin = user.exec
    if plugin is None:
        return user
    question = {"apiVersion": plugin.apiVersion, "kind": "ExecCredential", "spec": {"interactive": False}}
    told = NameValue("KUBERNETES_EXEC_INFO", msgspec.json.encode(question).decode())
    version = PLUGIN_V1BETA1 if plugin.apiVersion == PLUGIN_V1 else plugin.apiVersion
    asked = msgspec.structs.replace(plugin, apiVersion=version, env=[*(plugin.env or ()), told])
    return msgspec.structs.replace(user, exec=asked)


@dataclass(slots=True)
class Access:
    """One API.

    Attributes:
        deadline_s: limit for each single question.
    """

    config: SingleConfig
    deadline_s: float
    _client: AsyncClient = field(init=False)
    _raw: httpx2.AsyncClient = field(init=False)
    _turns: Turns = field(default_factory=Turns)
    _eviction: type[Eviction] | None = None
    _eviction_known_until: float = 0.0

    def __post_init__(self) -> None:
        timeout = httpx2.Timeout(self.deadline_s)
        limits = httpx2.Limits(max_connections=CONNECTIONS, keepalive_expiry=KEPT_S)
        config = self.config
        try:
            assert config.user is not None
            verify = client_adapter.verify_cluster(config.cluster, config.user, config.abs_file)
            transport = KubernetesTransport(verify=verify, limits=limits)
            parameters = client_adapter.ConnectionParams(timeout=timeout, transport=transport)  # type: ignore[arg-type]  # its name is of the synchronous one
            self._client = AsyncClient(config=config, timeout=timeout, transport=transport, field_manager="fleetmend")
            self._raw = client_adapter.AsyncClient(config, parameters)
        except (OSError, ConfigError, ValueError) as error:
            raise NotUsable(f"context {config.context_name}: {error}") from error

    async def close(self) -> None:
        """End every connection."""
        await self._client.close()
        await self._raw.aclose()

    @asynccontextmanager
    async def asking(self, doing: str, urgency: Urgency = Urgency.LOOK) -> AsyncIterator[None]:
        """Bound one question in time, and tell what went wrong in the engine's words.

        Args:
            urgency: who goes first of those that wait.

        Raises:
            Answered: the API said something else than yes.
            Retryable, Permanent: it said nothing.
        """
        with transported(doing):
            async with asyncio.timeout(self.deadline_s), self._turns.turn(urgency):
                yield

    async def node(self, name: str) -> KubeNode:
        """Return one node as it is now."""
        async with self.asking(f"reading node {name}"):
            return await self._client.get(KubeNode, name)

    async def patch_node(self, name: str, patch: Mapping[str, Any]) -> KubeNode:
        """Write a node by a merge patch and return what became of it."""
        async with self.asking(f"writing node {name}", Urgency.EFFECT):
            return await self._client.patch(KubeNode, name, dict(patch), patch_type=PatchType.MERGE)

    async def patch_node_status(self, name: str, patch: Mapping[str, Any]) -> None:
        """Write a node's status by a strategic merge patch, which leaves other conditions."""
        async with self.asking(f"writing the condition of node {name}", Urgency.NOTE):
            await self._client.patch(KubeNodeStatus, name, dict(patch), patch_type=PatchType.STRATEGIC)

    async def create_event(self, event: Mapping[str, Any]) -> None:
        """Write an event."""
        async with self.asking("writing an event", Urgency.NOTE):
            await self._client.create(KubeEvent(**event))

    async def evict(self, namespace: str, name: str, options: Mapping[str, Any]) -> None:
        """Ask for a pod's eviction."""
        eviction = await self._eviction_kind()
        body: dict[str, Any] = {"metadata": {"name": name, "namespace": namespace}, "deleteOptions": dict(options)}
        async with self.asking(f"evicting {namespace}/{name}"):
            await self._client.create(eviction(**body), name, namespace=namespace)

    async def delete_pod(self, namespace: str, name: str, options: Mapping[str, Any]) -> None:
        """Delete a pod, if it is the one that the preconditions among the options name."""
        body = msgspec.json.encode({"apiVersion": "v1", "kind": "DeleteOptions", **options})
        path = f"api/v1/namespaces/{namespace}/pods/{name}"
        async with self.asking(f"deleting {namespace}/{name}"):
            answer = await self._raw.request("DELETE", path, content=body, headers={"Content-Type": "application/json"})
            answer.raise_for_status()

    async def pods_on(self, node: str) -> list[KubePod]:
        """Return the pods of one node as they are now."""
        async with self.asking(f"listing the pods of {node}"):
            listed = self._client.list(KubePod, namespace="*", fields={"spec.nodeName": node}, chunk_size=PAGE)
            return [pod async for pod in listed]

    async def get(self, path: str, kind: type[T]) -> T:
        """Return what is at a path."""
        async with self.asking(f"reading /{path}"):
            return msgspec.json.decode(await self._got(path), type=kind)

    async def items(self, path: str, params: Mapping[str, str], kind: type[T]) -> list[T]:
        """Return all of a list, page by page."""
        found: list[T] = []
        more = dict(params) | {"limit": str(PAGE)}
        while True:
            body = await self.page(path, more)
            with transported(f"listing /{path}"):
                page = msgspec.json.decode(body, type=Page)
                found.extend(msgspec.json.decode(raw, type=kind) for raw in page.items)
            if not page.metadata.more:
                return found
            more["continue"] = page.metadata.more

    async def page(self, path: str, params: Mapping[str, str]) -> bytes:
        """Return one page of a list."""
        async with self.asking(f"listing /{path}"):
            return await self._got(path, params)

    async def _got(self, path: str, params: Mapping[str, str] | None = None) -> bytes:
        answer = await self._raw.get(path, params=dict(params or {}))
        answer.raise_for_status()
        return answer.content

    @asynccontextmanager
    async def stream(self, path: str, params: Mapping[str, str], quiet_s: float) -> AsyncIterator[AsyncIterator[bytes]]:
        """Give the lines of an answer that goes on and on.

        Args:
            quiet_s: so long nothing may come.
        """
        timeout = httpx2.Timeout(self.deadline_s, read=quiet_s)
        with transported(f"watching /{path}"):
            async with self._raw.stream("GET", path, params=dict(params), timeout=timeout) as answer:
                if answer.is_error:
                    await answer.aread()
                answer.raise_for_status()
                yield _lines(answer.aiter_bytes())

    async def _eviction_kind(self) -> type[Eviction]:
        """Return the eviction that this server speaks, by its own word: policy/v1 is not known to every one."""
        now = asyncio.get_running_loop().time()
        if self._eviction is None or now >= self._eviction_known_until:
            offered = await self.get("api/v1", _Offers)
            found = next((entry for entry in offered.resources if entry.name == "pods/eviction"), None)
            if found is None:
                raise Permanent("Kubernetes: this server has no eviction (pods/eviction is not in /api/v1)")
            self._eviction, self._eviction_known_until = eviction_of(found.version or "v1"), now + OFFERS_FOR_S
        return self._eviction


async def _lines(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield what ends with a line feed. httpx also ends a line at U+0085, which may stand in any annotation.

    Raises:
        ValueError: a line has no end.
    """
    line = bytearray()
    async for piece in pieces:
        line += piece
        *whole, rest = line.split(b"\n") if b"\n" in piece else (line,)
        for each in whole:
            yield bytes(each)
        line = rest
        if len(line) > MOST_LINE_BYTES:
            raise ValueError(f"a line of its watch is longer than {MOST_LINE_BYTES >> 20} MiB")


class PageMetadata(msgspec.Struct):
    """Where a page of a list ends, and at what time it was so."""

    version: str = msgspec.field(name="resourceVersion", default="")
    more: str = msgspec.field(name="continue", default="")


class Page(msgspec.Struct):
    """One page of a list."""

    items: list[msgspec.Raw]
    metadata: PageMetadata


class _Offer(msgspec.Struct):
    name: str
    version: str = ""


class _Offers(msgspec.Struct):
    resources: list[_Offer]
