"""Every message that travels, as a type. Built and parsed here and nowhere else.

All that must survive any broker (version, identity, deadline, correlation, reply topic) is in the envelope, so that an
MQTT 3.1.1 broker loses nothing; MQTT 5 properties only repeat it. Bytes become a message through `decode` alone, which
refuses what is malformed, oversized, of another version, or not addressed as its topic says.
"""

from __future__ import annotations

from typing import Final, get_args

import msgspec

from checks.bench_result import BenchResult
from checks.finding import Finding, FindingKey
from wire.topics import Address

VERSION: Final = 1
MAX_BYTES: Final = 262_144
"""A message larger than this is dropped unread; evidence is bounded well below it."""


class Refused(Exception):
    """A message that is not acted on, with the reason as its text."""


# --- node → controller ---------------------------------------------------------------------------------------------


class FindingRaised(msgspec.Struct, frozen=True, tag="finding.raised"):
    """A fault began, or changed its verdict, action or reason. `observed_at` is Unix time on the node's clock."""

    finding: Finding
    observed_at: float


class FindingCleared(msgspec.Struct, frozen=True, tag="finding.cleared"):
    """A fault is over, and why that is believed."""

    key: FindingKey
    because: str
    observed_at: float


class AgentStarted(msgspec.Struct, frozen=True, tag="agent.started"):
    """The agent came up. `rebooted` says that the boot id differs from the one of its previous start."""

    rebooted: bool
    previous_boot_id: str
    version: str
    observed_at: float


class OrderEnded(msgspec.Struct, frozen=True, tag="order.ended"):
    """What became of an order. `outcome`: `done`, `failed`, `refused`, or `accepted` (a reboot that is under way).

    Attributes:
        started_at: when the node began with it: readings older than this prove nothing about its success.
        evidence: file name → text, bounded to 64 KiB in all.
    """

    order_id: str
    outcome: str
    because: str
    started_at: float
    observed_at: float
    evidence: dict[str, str] = {}


class EvidenceEnded(msgspec.Struct, frozen=True, tag="evidence.ended"):
    """What became of a bundle that an order gave leave to send. `outcome`: `sent` or `failed`.

    Attributes:
        upload: as in the grant, see wire/evidence.py.
        sha256: of the whole bundle, in hexadecimal.
    """

    upload: str
    incident_id: str
    outcome: str
    because: str
    observed_at: float
    size_bytes: int = 0
    sha256: str = ""


class BenchRendezvous(msgspec.Struct, frozen=True, tag="bench.rendezvous"):
    """Rank 0 of a group waits for the others. `unique_id`: NCCL's, in hexadecimal."""

    lease: str
    unique_id: str
    observed_at: float


class BenchEnded(msgspec.Struct, frozen=True, tag="bench.ended"):
    """What one run of a benchmark came back with, before its order ends."""

    lease: str
    result: BenchResult
    started_at: float
    observed_at: float


EventBody = FindingRaised | FindingCleared | AgentStarted | OrderEnded | EvidenceEnded | BenchRendezvous | BenchEnded


class CheckLevel(msgspec.Struct, frozen=True):
    """How one check stands: its worst verdict, and when it last judged a fresh reading (Unix time, 0 = never)."""

    verdict: str
    judged_at: float
    because: str = ""


class NodeFacts(msgspec.Struct, frozen=True):
    """What the node is, as it knows itself.

    Attributes:
        devices: device → kind and serial, for people and for history.
        places: kind (`leaf`, `nvlink_domain`, ...) → names, as far as the node can tell where it stands.
        guids: node GUIDs of its RDMA adapters, 16 hexadecimal digits each, for who knows the fabric.
        address: host name or IP address by which its neighbours reach it, empty when there is none.
    """

    simulated: bool = False
    agent_version: str = ""
    kernel: str = ""
    driver_version: str = ""
    gpu_model: str = ""
    gpu_count: int = 0
    serial: str = ""
    devices: dict[str, str] = {}
    orders_allowed: list[str] = []
    places: dict[str, list[str]] = {}
    guids: list[str] = []
    address: str = ""


class NodeHold(msgspec.Struct, frozen=True):
    """Who keeps new work off a node that has no scheduler, and what works on it now.

    Attributes:
        held_by: our incident, empty when we do not hold it; `reason` and `since` (Unix time) belong to it.
        foreign: why somebody else holds it, empty when nobody does.
        jobs: what is on its GPUs; `jobs_unknown` says why that cannot be told, and then no job proves nothing.
        unknown: why it cannot be told who holds it.
    """

    held_by: str = ""
    reason: str = ""
    since: float = 0.0
    foreign: str = ""
    jobs: list[str] = []
    jobs_unknown: str = ""
    unknown: str = ""


class Status(msgspec.Struct, frozen=True, tag="status"):
    """The whole level of a node: everything raised now, every check, what is still unsent."""

    facts: NodeFacts
    findings: list[Finding]
    checks: dict[str, CheckLevel]
    outbox_depth: int
    agent_started_at: float
    observed_at: float
    raised_at: dict[str, float] = {}
    """`check|device|code` → Unix time since when, for those in `findings`."""
    last_event_seq: int = 0
    """Every event up to this one is reflected in this level: an older level must not undo a newer edge."""
    events_dropped: int = 0
    """Events that the node gave up because its outbox was full; the level is how they are healed."""
    measures: dict[str, float] = {}
    """Numbers that mean something only beside those of other nodes, see checks/measures.py."""
    connected_at: float = 0.0
    """When the connection began on which this is said: the Last Will of an older one is over by it."""
    hold: NodeHold | None = None
    """Absent from a node that takes no orders to hold itself."""
    counters: dict[str, float] = {}
    """Numbers that are drawn over time, see checks/node_counters.py; empty from agents that know of none."""


class BenchProgress(msgspec.Struct, frozen=True, tag="bench.progress"):
    """How far a benchmark is, for whoever watches; nobody keeps it. `share`: of the whole, from 0 to 1."""

    lease: str
    benchmark: str
    share: float
    text: str
    observed_at: float


class Presence(msgspec.Struct, frozen=True, tag="presence"):
    """`online`, `stopped` (asked to), or `lost` (the broker says so, by Last Will)."""

    state: str
    observed_at: float


# --- controller → node ---------------------------------------------------------------------------------------------


class Stored(msgspec.Struct, frozen=True, tag="stored"):
    """Events of this boot that are committed to the controller's log: the node may forget them."""

    boot_id: str
    seqs: list[int]


class SignedOrder(msgspec.Struct, frozen=True, tag="order"):
    """An order as signed bytes. `payload` is the JSON text of a `wire.orders.Order`; see wire/signatures.py."""

    key_id: str
    payload: str
    signature: str
    """Ed25519 over the UTF-8 bytes of `payload`, base64."""


class Unknown(msgspec.Struct, frozen=True, tag="unknown"):
    """What another version says and this one cannot read. It travels as it came, never under this name.

    Attributes:
        kind: what the other version calls it.
        text: the whole body as JSON.
    """

    kind: str
    text: str


Body = EventBody | Status | Presence | BenchProgress | Stored | SignedOrder | Unknown


class Envelope(msgspec.Struct, frozen=True):
    """What surrounds every body.

    Attributes:
        seq: number of an event in its node's boot; (node, boot_id, seq) names it for ever. 0 for all but events.
        sent_at: Unix time on the sender's clock.
        expires_at: Unix time after which nobody may act on it, 0 = never.
        correlation_id: ties an answer to its question; an order's id.
        reply_to: topic on which an answer is awaited, empty when none is.
        recorded_at: Unix time on the node's clock at which an event was safe on its disk, 0 when that is not known: it
            is in memory only, or an earlier run of the agent wrote it.
        attempt: how often an event was sent, this time included, 0 when that is not known.
    """

    version: int
    node: str
    boot_id: str
    seq: int
    sent_at: float
    body: Body
    expires_at: float = 0.0
    correlation_id: str = ""
    reply_to: str = ""
    recorded_at: float = 0.0
    attempt: int = 0


class _Kind(msgspec.Struct, frozen=True):
    type: str


class _Surroundings(msgspec.Struct, frozen=True):
    body: _Kind


KINDS: Final = frozenset(kind.__struct_config__.tag for kind in get_args(Body))
MAX_KIND: Final = 64
"""Letters of a kind that are told to people; one that is longer is cut."""

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Envelope)
_version_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_event_decoder = msgspec.json.Decoder(EventBody)
_any_decoder = msgspec.json.Decoder(_Kind)
_kind_decoder = msgspec.json.Decoder(_Surroundings)


def encode(envelope: Envelope) -> bytes:
    """Return the message as JSON."""
    if isinstance(envelope.body, Unknown):
        as_it_came = msgspec.Raw(envelope.body.text.encode())
        return _encoder.encode(msgspec.structs.replace(envelope, body=as_it_came))
    return _encoder.encode(envelope)


def decode(payload: bytes, address: Address) -> Envelope:
    """Return the message that `payload` holds.

    Raises:
        Refused: too large, not JSON, another version, of a kind that this version does not know, a field missing or of
            the wrong type, or another node's name than the topic's.
    """
    if len(payload) > MAX_BYTES:
        raise Refused(f"oversized: {len(payload)} bytes, at most {MAX_BYTES}")
    try:
        envelope = _decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        _check_version(payload)
        _check_kind(payload)
        raise Refused(f"malformed: {error}") from error
    if envelope.version != VERSION:
        _check_version(payload)
    if envelope.node != address.node:
        raise Refused(f"forged: says it is from {envelope.node!r} on the topic of {address.node!r}")
    return envelope


def event_of(written: bytes) -> EventBody | Unknown:
    """Return an event that was written down, for its reader to understand where a newer version wrote it.

    Raises:
        msgspec.DecodeError: it is no body of an event.
    """
    try:
        event: EventBody = _event_decoder.decode(written)
    except msgspec.ValidationError:
        kind = _any_decoder.decode(written).type
        return Unknown(kind[:MAX_KIND], bytes(written).decode())
    return event


def _check_version(payload: bytes) -> None:
    """Return if it is a message of our version, or none at all.

    Raises:
        Refused: it is of another version, which may have any shape.
    """
    try:
        version = bytes(_version_decoder.decode(payload).get("version", b"none"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    if version != str(VERSION).encode():
        raise Refused(f"version: {version[:20]!r}, this side speaks {VERSION}")


def _check_kind(payload: bytes) -> None:
    """Return if it is of a kind that we know, or no message at all.

    Raises:
        Refused: a newer version says it.
    """
    try:
        kind = _kind_decoder.decode(payload).body.type
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    if kind not in KINDS:
        raise Refused(f"newer: this version does not know the kind {kind[:MAX_KIND]!r}: update it")
