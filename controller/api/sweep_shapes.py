"""Bodies of the API about sweeps."""

from __future__ import annotations

from typing import Annotated

import msgspec

from controller.api.shapes import MAX_BECAUSE

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=253)]


class SweepWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which nodes are swept: those named, or those of a scope (`fleet`, `leaf=leaf-3`, `rack=r12`).

    Attributes:
        options: handed to the benchmark.
    """

    nodes: Annotated[list[_Name], msgspec.Meta(max_length=100_000)] = []
    scope: Annotated[str, msgspec.Meta(max_length=253)] = ""
    because: Annotated[str, msgspec.Meta(max_length=MAX_BECAUSE)] = ""
    options: Annotated[
        dict[
            Annotated[str, msgspec.Meta(min_length=1, max_length=64)],
            Annotated[str, msgspec.Meta(max_length=256)],
        ],
        msgspec.Meta(max_length=16),
    ] = {}


class SweepStarted(msgspec.Struct, frozen=True):
    """What became of the wish for a sweep."""

    event_id: int
    at: str
    text: str
    sweep_id: str


class SweepFault(msgspec.Struct, frozen=True):
    """One thing that is slow. `kind`: node, link or switch; `incident_id` is null for a node, which has a finding."""

    kind: str
    parts: list[str]
    nodes: list[str]
    rails: list[str]
    because: str
    inputs: dict[str, str]
    unless: str
    incident_id: str | None


class SweepRow(msgspec.Struct, frozen=True):
    """One sweep. `state`: running, or how it ended: done, too_many, stopped, timed_out.

    `tests`: groups asked so far; `running`: those that are asked now and have not ended.
    """

    id: str
    state: str
    by: str
    because: str
    began_at: str
    ended_at: str | None
    nodes: int
    round: int
    tests: int
    running: int
    faults: list[SweepFault]
    text: str


class SweepGroup(msgspec.Struct, frozen=True):
    """One group of the round that goes on.

    Attributes:
        state: `waiting` for its lease, `meeting` until rank 0 has spoken, `running`, or how it ended.
    """

    number: int
    nodes: list[str]
    purpose: str
    because: str
    state: str
    run_id: str | None


class SweepDetail(msgspec.Struct, frozen=True):
    """Everything about one sweep: of each node one thing is said once it is over.

    `left`: node → why it takes part no more. `incident_id`: by which a person is asked, null when none is.
    """

    sweep: SweepRow
    groups: list[SweepGroup]
    left: dict[str, str]
    cleared: list[str]
    untested: dict[str, str]
    doubts: dict[str, str]
    incident_id: str | None
