"""Which pods of a node hold one GPU: what a repair of that GPU alone has to wait for.

The kubelet knows, and tells nobody but its own node. So it is taken from who writes it into the API: dynamic resource
allocation (claims and what is known of their devices), and annotations of device plug-ins. A pod of which neither knows
may hold any GPU: then the whole node is drained, and the reason is told. Nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from controller.schedulers.kubernetes_access import Access
from controller.schedulers.kubernetes_answers import GONE, Answered
from controller.schedulers.kubernetes_objects import Metadata
from controller.schedulers.kubernetes_pods import PodState

GROUP = "apis/resource.k8s.io"
VERSIONS = ("v1", "v1beta2", "v1beta1")
"""Of dynamic resource allocation, newest first. Source: Kubernetes 1.34, 1.33, 1.32."""

WHOLE = "GPU-"
"""How the UUID of a whole GPU begins. Source: NVML, nvmlDeviceGetUUID."""

NAMING = frozenset({"uuid", "parentUUID"})
"""Attributes by which a device says which GPU it is or is a part of. Source: NVIDIA's driver for dynamic resource
allocation."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Which pods a drain is about.

    Attributes:
        pods: those that hold the device, or all of the node.
        because: why it is all of them, empty when it is not.
    """

    pods: Sequence[PodState]
    because: str = ""


@dataclass(frozen=True, slots=True)
class Allocated:
    """What dynamic resource allocation says.

    Attributes:
        by_pod: uid of a pod → UUIDs of its GPUs, `None` where a device has none.
        known: every UUID of the node.
    """

    by_pod: Mapping[str, frozenset[str] | None] = field(default_factory=dict)
    known: frozenset[str] = frozenset()


def reach(pods: Sequence[PodState], device: str, allocated: Allocated) -> Reach:
    """Return the pods that hold a device, or all of them with the reason why nobody can say."""
    claimed = any(pod.claims or pod.uid in allocated.by_pod for pod in pods)
    if device not in allocated.known and (claimed or not device.startswith(WHOLE)):
        return Reach(pods, f"the API does not know the device {device!r}")
    doubts = [doubt for pod in pods if (doubt := _doubt(pod, allocated))]
    if doubts:
        return Reach(pods, doubts[0])
    return Reach([pod for pod in pods if device in _held(pod, allocated)])


def _held(pod: PodState, allocated: Allocated) -> frozenset[str]:
    return frozenset(pod.devices or ()) | (allocated.by_pod.get(pod.uid) or frozenset())


def _doubt(pod: PodState, allocated: Allocated) -> str:
    """Return why nobody can say which GPUs a pod holds, empty when somebody can."""
    if pod.asks and pod.devices is None:
        return f"nothing says which GPUs {pod.title} holds"
    if any(not uuid.startswith(WHOLE) for uuid in pod.devices or ()):
        return f"{pod.title} holds a part of a GPU, and nothing says of which"
    if pod.claims and pod.uid not in allocated.by_pod:
        return f"no claim says which GPUs {pod.title} holds"
    if pod.uid in allocated.by_pod and allocated.by_pod[pod.uid] is None:
        return f"{pod.title} holds a device that has no UUID"
    return ""


@dataclass(slots=True)
class Devices:
    """Asks the API who holds what, once for each pod: what a pod was given stays the same as long as it lives."""

    access: Access
    _allocated: dict[str, tuple[frozenset[str], Allocated]] = field(default_factory=dict)

    async def reach(self, node: str, pods: Sequence[PodState], device: str) -> Reach:
        """Return which pods a drain of one device is about.

        Raises:
            Answered, Retryable, Permanent: the API cannot be asked.
        """
        uids = frozenset(pod.uid for pod in pods)
        asked, allocated = self._allocated.get(node, (frozenset(), Allocated()))
        if not uids <= asked or node not in self._allocated:
            allocated = await self._ask(node, pods)
            self._allocated = {node: (uids, allocated), **dict(list(self._allocated.items())[:KEPT_NODES])}
        return reach(pods, device, allocated)

    async def _ask(self, node: str, pods: Sequence[PodState]) -> Allocated:
        version = await self._version()
        if not version:
            return Allocated()
        path = f"{GROUP}/{version}"
        slices = await self.access.items(f"{path}/resourceslices", {"fieldSelector": f"spec.nodeName={node}"}, Slice)
        claims = [
            claim
            for namespace in sorted({pod.namespace for pod in pods})
            for claim in await self.access.items(f"{path}/namespaces/{namespace}/resourceclaims", {}, Claim)
        ]
        return allocated_of(slices, claims)

    async def _version(self) -> str:
        try:
            offered = await self.access.get(GROUP, _Group)
        except Answered as error:
            if error.answer.code == GONE:
                return ""
            raise
        served = {entry.version for entry in offered.versions}
        return next((version for version in VERSIONS if version in served), "")


KEPT_NODES = 256
"""So many nodes are remembered. Source: our choice, above what is drained at one time."""


class _Version(msgspec.Struct):
    version: str


class _Group(msgspec.Struct):
    versions: list[_Version]


class Attribute(msgspec.Struct):
    """One attribute of a device, of which texts matter."""

    string: str | None = None


Attributes = dict[str, Attribute]


class Basic(msgspec.Struct):
    """The attributes of a device before v1beta2."""

    attributes: Attributes | None = None


class Device(msgspec.Struct):
    """A device of a node."""

    name: str
    attributes: Attributes | None = None
    basic: Basic | None = None

    def uuids(self) -> frozenset[str]:
        """Return the GPUs that it is or is a part of."""
        given = self.attributes or (self.basic.attributes if self.basic is not None else None) or {}
        named = (one.string for name, one in given.items() if name.rpartition("/")[2] in NAMING)
        return frozenset(uuid for uuid in named if uuid)


class Pool(msgspec.Struct):
    """Devices that go by one name."""

    name: str


class SliceSpec(msgspec.Struct):
    """What a slice says."""

    driver: str
    pool: Pool
    devices: list[Device] | None = None


class Slice(msgspec.Struct):
    """Some devices of a node."""

    spec: SliceSpec


class Result(msgspec.Struct, frozen=True):
    """A device that was allocated."""

    driver: str
    pool: str
    device: str


class Results(msgspec.Struct):
    """The devices that were allocated."""

    results: list[Result] | None = None


class Allocation(msgspec.Struct):
    """What a claim was given."""

    devices: Results | None = None


class Consumer(msgspec.Struct):
    """Who may use what a claim was given: a pod."""

    uid: str


class ClaimStatus(msgspec.Struct):
    """What became of a claim."""

    allocation: Allocation | None = None
    users: list[Consumer] | None = msgspec.field(name="reservedFor", default=None)


class Claim(msgspec.Struct):
    """A claim for devices."""

    metadata: Metadata
    status: ClaimStatus = msgspec.field(default_factory=ClaimStatus)


def allocated_of(slices: Iterable[Slice], claims: Iterable[Claim]) -> Allocated:
    """Return which pods hold which GPUs of a node. What other drivers gave (network adapters) says nothing of GPUs."""
    uuids: dict[Result, frozenset[str]] = {}
    for part in slices:
        for device in part.spec.devices or ():
            uuids[Result(part.spec.driver, part.spec.pool.name, device.name)] = device.uuids()
    drivers = {result.driver for result, named in uuids.items() if named}
    by_pod: dict[str, frozenset[str] | None] = {}
    for claim in claims:
        devices = claim.status.allocation.devices if claim.status.allocation is not None else None
        given = (devices.results if devices is not None else None) or []
        for user in claim.status.users or ():
            by_pod[user.uid] = _joined(by_pod.get(user.uid, frozenset()), given, uuids, drivers)
    return Allocated(by_pod, frozenset().union(*uuids.values()))


def _joined(
    before: frozenset[str] | None,
    given: Iterable[Result],
    uuids: Mapping[Result, frozenset[str]],
    drivers: set[str],
) -> frozenset[str] | None:
    """Return the GPUs so far and these; `None` once one is not known, or knows only the part of a GPU that it is."""
    found = before
    for result in given:
        named = uuids.get(result, frozenset())
        if result in uuids and result.driver not in drivers:
            continue
        whole = any(uuid.startswith(WHOLE) for uuid in named)
        found = found | named if found is not None and whole else None
    return found
