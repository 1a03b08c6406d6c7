"""Kubernetes' objects with the fields that matter here and no others: a node alone has 20 kB of them.

They are resources to lightkube, which builds their paths and decodes straight into them.
"""

from __future__ import annotations

from typing import Any

import msgspec
from lightkube.core.resource import (
    ApiInfo,
    GlobalResource,
    GlobalSubResource,
    NamespacedResourceG,
    NamespacedSubResource,
    ResourceDef,
)
from lightkube.generic_resource import Generic

from controller.schedulers.kubernetes_words import Condition


class OwnerReference(msgspec.Struct, frozen=True):
    """Who made an object."""

    kind: str = ""
    name: str = ""
    controller: bool = False


class ManagedFields(msgspec.Struct, frozen=True):
    """Who wrote some fields of an object, and when last."""

    manager: str = ""
    time: str = ""
    fields: msgspec.Raw = msgspec.field(name="fieldsV1", default=msgspec.Raw(b""))


class Metadata(msgspec.Struct, frozen=True):
    """What every object has."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    version: str = msgspec.field(name="resourceVersion", default="")
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owners: list[OwnerReference] | None = msgspec.field(name="ownerReferences", default=None)
    ends_at: str | None = msgspec.field(name="deletionTimestamp", default=None)
    managed_fields: list[ManagedFields] | None = msgspec.field(name="managedFields", default=None)


class NodeSpec(msgspec.Struct, frozen=True):
    """What is wanted of a node. Taints are kept as they are: they are written back whole."""

    unschedulable: bool = False
    taints: list[dict[str, str]] | None = None


class NodeStatus(msgspec.Struct, frozen=True):
    """What is seen of a node."""

    conditions: list[Condition] | None = None


class KubeNode(msgspec.Struct, GlobalResource, frozen=True):
    """A node."""

    metadata: Metadata
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()
    _api_info = ApiInfo(ResourceDef("", "v1", "Node"), "nodes", ["get", "list", "patch", "watch"])


class KubeNodeStatus(GlobalSubResource, Generic):  # type: ignore[misc]  # as lightkube's own generic resources
    """The status of a node, which is written apart from the rest."""

    _api_info = ApiInfo(
        ResourceDef("", "v1", "Node"), "nodes", ["patch"], parent=ResourceDef("", "v1", "Node"), action="status"
    )


class EmptyDir(msgspec.Struct, frozen=True):
    """Room of a pod on its node."""

    medium: str = ""


class Volume(msgspec.Struct, frozen=True):
    """A volume of a pod."""

    empty_dir: EmptyDir | None = msgspec.field(name="emptyDir", default=None)


class Resources(msgspec.Struct, frozen=True):
    """What a container asks for. Of devices, limits and requests are the same."""

    limits: dict[str, Any] | None = None


class Container(msgspec.Struct, frozen=True):
    """A container of a pod."""

    resources: Resources = Resources()


class PodClaim(msgspec.Struct, frozen=True):
    """A claim of a pod for devices."""

    name: str = ""


class PodSpec(msgspec.Struct, frozen=True):
    """What is wanted of a pod."""

    node: str = msgspec.field(name="nodeName", default="")
    volumes: list[Volume] | None = None
    containers: list[Container] | None = None
    init_containers: list[Container] | None = msgspec.field(name="initContainers", default=None)
    claims: list[PodClaim] | None = msgspec.field(name="resourceClaims", default=None)


class PodStatus(msgspec.Struct, frozen=True):
    """What is seen of a pod."""

    phase: str = ""


class KubePod(msgspec.Struct, NamespacedResourceG, frozen=True):
    """A pod."""

    metadata: Metadata
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()
    _api_info = ApiInfo(ResourceDef("", "v1", "Pod"), "pods", ["get", "global_list", "global_watch", "list"])


class KubeEvent(NamespacedResourceG, Generic):  # type: ignore[misc]  # as lightkube's own generic resources
    """An event, as `kubectl describe` shows them."""

    _api_info = ApiInfo(ResourceDef("", "v1", "Event"), "events", ["post"])


class Eviction(NamespacedSubResource, Generic):  # type: ignore[misc]  # as lightkube's own generic resources
    """The question whether a pod may go. Its class of one version is made by `eviction_of`."""


def eviction_of(version: str) -> type[Eviction]:
    """Return the resource by which a server of this version of `policy` is asked; its body names the version."""

    class VersionedEviction(Eviction):
        _api_info = ApiInfo(
            ResourceDef("policy", version, "Eviction"),
            "pods",
            ["post"],
            parent=ResourceDef("", "v1", "Pod"),
            action="eviction",
        )

    return VersionedEviction
