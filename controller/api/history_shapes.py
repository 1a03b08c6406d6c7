"""What the log tells of a node over time: its parts and who sat in their places before, and its numbers."""

from __future__ import annotations

import msgspec


class RungShown(msgspec.Struct, frozen=True):
    """One repair that was tried. `verified`: fresh readings passed after it."""

    verb: str
    outcome: str
    at: str
    verified: bool


class PastIncident(msgspec.Struct, frozen=True):
    """One incident of a part, on this node or on another one in which it sat then.

    `ended_at`: when it was closed, or handed over to people last.
    """

    incident_id: str
    node: str
    device: str
    fault_class: str
    opened_at: str
    ended_at: str
    outcome: str
    because: str
    rungs: list[RungShown]


class Occupant(msgspec.Struct, frozen=True):
    """A part that sat in a place before.

    `first_seen`: the first word of it there that the log has; `until`: when the node named another one there.
    """

    serial: str
    device: str
    first_seen: str
    until: str
    past: list[PastIncident]


class PartShown(msgspec.Struct, frozen=True):
    """One part of a node as the node names it.

    Attributes:
        kind: `gpu`, `rdma`, or `other` for what has no serial number of its own.
        slot: where it sits: index and PCI address of a GPU, name of an RDMA device.
        serial: serial number of a GPU, GUID of an adapter; empty where the node names none.
        says: what the node says of it, whole.
        first_seen: since when the log has it in this place, null when the log does not tell.
        verdict: the worst of what stands on it, `ok` when nothing does, `unknown` while the node is not heard.
        findings: how many findings stand on it.
        condemned_by: the incident for which it was taken out for good, empty when it was not.
        past: its incidents, newest first; `before`: who sat in its place, newest first.
    """

    kind: str
    device: str
    slot: str
    serial: str
    model: str
    firmware: str
    says: str
    first_seen: str | None
    verdict: str
    findings: int
    condemned_by: str
    past: list[PastIncident]
    before: list[Occupant]


class NumberAt(msgspec.Struct, frozen=True):
    """One value, when it was told, and what was said of it then (a verdict or an outcome)."""

    at: str
    value: float
    verdict: str


class CounterShown(msgspec.Struct, frozen=True):
    """A number that findings of one kind carried as evidence: told whenever such a finding was raised or changed."""

    check: str
    device: str
    code: str
    name: str
    points: list[NumberAt]


class BenchmarkAt(msgspec.Struct, frozen=True):
    """What one run of a benchmark came to in one metric, and what it was held against; null where it was not."""

    at: str
    value: float
    outcome: str
    device: str
    fail: float | None
    median: float | None


class BenchmarkSeries(msgspec.Struct, frozen=True):
    """One metric of a benchmark over its runs: the worst of the devices, at one size of message."""

    benchmark: str
    metric: str
    summary: str
    unit: str
    size_bytes: int
    points: list[BenchmarkAt]


class Span(msgspec.Struct, frozen=True):
    """A time for which a check gave one verdict; `until` is null while it goes on."""

    since: str
    until: str | None
    verdict: str
    because: str


class CheckLane(msgspec.Struct, frozen=True):
    """How one check stood over time."""

    check: str
    spans: list[Span]


class NodeHistory(msgspec.Struct, frozen=True):
    """What the log tells of a node over time.

    Attributes:
        since: the oldest entry that was looked at, null when the log has none; what the log deleted was older.
        whole: false when the log has more than was looked at.
        checks: those that were not always ok.
    """

    since: str | None
    whole: bool
    parts: list[PartShown]
    checks: list[CheckLane]
    counters: list[CounterShown]
    benchmarks: list[BenchmarkSeries]
