"""Belief as bytes, so that a cold start folds only what came after.

A snapshot is written in pieces: first all of belief but its nodes and incidents, then nodes and incidents by hundreds.
Each piece is MessagePack, compressed. What belief holds twice (an open incident is one of the incidents) is one object
again after reading.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator
from dataclasses import fields
from itertools import islice
from typing import Any, get_type_hints

import msgspec
import structlog

from controller.policy import folding
from controller.policy.belief import Belief
from controller.policy.incident import Incident
from controller.policy.node_belief import NodeBelief
from controller.store.log import EventLog, Snapshot, StoreError

log = structlog.get_logger()

SNAPSHOT_VERSION = 2
"""Raised when a snapshot of before would read as another belief; `belief_of` must then read the older one too."""

_WITHOUT_CORDONS = 1
"""Its incidents do not say whether their cordon was confirmed."""

BELIEF_SHAPE = "1d9ccae8e1450384"
"""A digest of what belief is made of, so that a test can ask whoever changes it about older snapshots."""

PIECE = 500
LEVEL = 1

_APART = ("nodes", "incidents")
"""What has pieces of its own."""
_encoder = msgspec.msgpack.Encoder()
_head_decoder = msgspec.msgpack.Decoder(dict[str, msgspec.Raw])
_node_decoder = msgspec.msgpack.Decoder(list[NodeBelief])
_incident_decoder = msgspec.msgpack.Decoder(list[Incident])
_field_decoders = {
    field.name: msgspec.msgpack.Decoder(get_type_hints(Belief)[field.name])
    for field in fields(Belief)
    if field.name not in _APART
}


def pieces(belief: Belief) -> Iterator[bytes]:
    """Yield the pieces of a snapshot."""
    head = {field.name: getattr(belief, field.name) for field in fields(belief) if field.name not in _APART}
    yield _pack({"": head})
    for name in _APART:
        values = iter(getattr(belief, name).values())
        while piece := list(islice(values, PIECE)):
            yield _pack({name: piece})


def _pack(content: object) -> bytes:
    return zlib.compress(_encoder.encode(content), LEVEL)


def belief_of(parts: Iterator[bytes]) -> Belief:
    """Return the belief that the pieces of a snapshot hold.

    Raises:
        ValueError: they are no snapshot of this version.
    """
    belief = Belief()
    head: dict[str, Any] = {}
    for part in parts:
        for name, raw in _head_decoder.decode(zlib.decompress(part)).items():
            if name == "nodes":
                belief.nodes.update((node.name, node) for node in _node_decoder.decode(raw))
            elif name == "incidents":
                belief.incidents.update((incident.id, incident) for incident in _incident_decoder.decode(raw))
            else:
                head = {key: _field_decoders[key].decode(value) for key, value in _head_decoder.decode(raw).items()}
    for name, value in head.items():
        setattr(belief, name, _linked(value, belief))
    return belief


def _linked(value: Any, belief: Belief) -> Any:
    """Return the value with every incident and node in it replaced by the one that belief holds."""
    match value:
        case Incident():
            return belief.incidents[value.id]
        case NodeBelief():
            return belief.nodes[value.name]
        case dict():
            return {key: _linked(each, belief) for key, each in value.items()}
        case list():
            return [_linked(each, belief) for each in value]
        case _:
            return value


def restore(event_log: EventLog) -> tuple[Belief, int]:
    """Return what the log says: its newest snapshot and what came after; and how many entries that were.

    Raises:
        StoreError: the log is not whole any more, and no snapshot of it can be read by this version.
    """
    with event_log.frozen():
        belief = _newest(event_log)
        count = 0
        for entry in event_log.read(after=belief.last_event_id):
            folding.apply(belief, entry)
            count += 1
    return belief, count


def oldest(event_log: EventLog) -> Belief:
    """Return what is believed where the entries that are still there begin: nothing, for a log that is whole.

    Raises:
        StoreError: entries were deleted, and no snapshot that holds them can be read by this version.
    """
    deleted = event_log.deleted_through()
    if not deleted:
        return Belief()
    for snapshot in reversed(event_log.snapshots()):
        if snapshot.event_id >= deleted:
            with contextlib.suppress(ValueError, KeyError, zlib.error, msgspec.MsgspecError):
                return _read(event_log, snapshot)
    raise StoreError(f"{event_log.name}: entries up to {deleted} were deleted, and no snapshot tells what they said")


def _newest(event_log: EventLog) -> Belief:
    unread = ""
    for snapshot in event_log.snapshots():
        try:
            return _read(event_log, snapshot)
        except (ValueError, KeyError, zlib.error, msgspec.MsgspecError, RecursionError) as error:
            unread = unread or f"the one of event {snapshot.event_id}: {error}"
            log.warning("snapshot.unreadable", event_id=snapshot.event_id, because=str(error))
    deleted = event_log.deleted_through()
    if deleted:
        raise StoreError(
            f"{event_log.name}: entries up to {deleted} were deleted because a snapshot held them, and this version "
            f"can read no snapshot ({unread or 'there is none'}): start the version that wrote it, or restore a backup"
        )
    return Belief()


def _read(event_log: EventLog, snapshot: Snapshot) -> Belief:
    if snapshot.version not in {SNAPSHOT_VERSION, _WITHOUT_CORDONS}:
        raise ValueError(f"it has version {snapshot.version}, this version of fleetmend knows {SNAPSHOT_VERSION}")
    parts = list(event_log.snapshot_parts(snapshot))
    if len(parts) != snapshot.parts:
        raise ValueError(f"{len(parts)} of its {snapshot.parts} pieces are there")
    belief = belief_of(iter(parts))
    if belief.last_event_id != snapshot.event_id:
        raise ValueError(f"it says event {belief.last_event_id}")
    if snapshot.version == _WITHOUT_CORDONS:
        _know_cordons(belief)
    return belief


def _know_cordons(belief: Belief) -> None:
    """A hold that was confirmed must not be taken for one that may be undone."""
    for incident in belief.open_incidents.values():
        node = belief.nodes.get(incident.node)
        incident.cordoned = incident.holding and node is not None and node.held_since > 0.0
