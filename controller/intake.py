"""What comes from nodes: validated, de-duplicated, committed, and only then acknowledged.

Anything malformed, forged, oversized, of another version or seen before is counted, logged once per source and minute,
and dropped; nothing else happens. An event of a kind that only newer versions know is kept as it came. Edges become
events as they are; a level becomes the events that heal what belief has wrong.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import msgspec
import structlog

from checks.finding import Action, Finding, Verdict
from controller import bench_events, events
from controller.allowance import Allowance
from controller.cell import Cell
from controller.clock_steps import ClockSteps
from controller.lag import Hearing
from controller.latest import Latest
from controller.meaning import as_known, event_of, missed_edges, plausible
from controller.policy.node_belief import NodeBelief
from controller.policy.presence import FLOODING
from controller.receipts import MOST_BOOTS, Receipts
from controller.store.log import Receipt
from controller.tracing.moments import Arrival
from wire import messages, newer, topics
from wire.transport import MutableTransport, Received

log = structlog.get_logger()

LOG_EVERY_S = 60.0
MAX_SEQ = 2**53
"""What every reader of JSON keeps exactly."""

MAX_BOOT_ID = 128
"""Source: our choice; a Linux boot id has 36 letters, and a log must be able to store and index whatever comes."""

MOST_FAULTS = 10_000
"""Of different ones of a node in its life: so many checks, devices and codes there are not. Source: our choice."""


@dataclass(slots=True)
class Intake:
    """Feeds a cell from MQTT.

    Attributes:
        rejected: reason → how many messages were dropped for it.
        unread: events of newer agents that were kept unread.
        last_seen: node → Unix time of its last valid message that was not a retained one.
        hearing: how old the levels are that come.
        monotonic: seconds that nobody sets, `None` where `clock` is such itself.
    """

    cell: Cell
    transport: MutableTransport
    receipts: Receipts
    cell_name: str
    silent_after_s: float
    clock: Callable[[], float]
    on_online: Callable[[str], None] = lambda _: None
    on_order_ended: Callable[[events.OrderEnded], None] = lambda _: None
    on_evidence_ended: Callable[[events.EvidenceEnded], None] = lambda _: None
    on_level: Callable[[str, messages.Status], None] = lambda _node, _level: None
    on_bench_ended: Callable[[bench_events.BenchEnded], None] = lambda _: None
    on_rendezvous: Callable[[str, messages.BenchRendezvous], None] = lambda _node, _said: None
    on_progress: Callable[[str, messages.BenchProgress], None] = lambda _node, _said: None
    on_arrival: Callable[[events.Logged, Arrival], None] = lambda _entry, _arrival: None
    rejected: Counter[str] = field(default_factory=Counter)
    unread: int = 0
    last_seen: dict[str, float] = field(default_factory=dict)
    monotonic: Callable[[], float] | None = None
    hearing: Hearing = field(init=False)
    latest: Latest = field(default_factory=Latest)
    allowance: Allowance = field(default_factory=Allowance)
    _newest_at: float = 0.0
    _steps: ClockSteps = field(init=False)
    """Tells when somebody set the clock."""
    _listening: tuple[bool, float] = field(init=False)
    """Whether the broker is connected, and since when that is so."""
    _muted: set[str] = field(default_factory=set)
    _logged_at: dict[str, float] = field(default_factory=dict)
    _stored: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    _stored_any: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.hearing = Hearing(self.clock())
        self._listening = (self.transport.connected, self.clock())
        self._steps = ClockSteps(self.clock, self.monotonic)

    async def take(self, received: Received) -> None:
        """Take one message in; it is acknowledged to the broker once what it says is committed, or once dropped."""
        try:
            address = topics.parse(received.topic)
            if because := self.allowance.why_not(address.node, len(received.payload), self.clock()):
                self._mute(address.node)
                raise messages.Refused(because)
            received = self._counted(address.node, received)
            envelope = newer.read(received.payload, address)
            self._check(address, envelope)
        except ValueError as error:
            self._drop(received, "misaddressed", str(error))
            return
        except messages.Refused as refusal:
            self._drop(received, str(refusal).split(":", maxsplit=1)[0], str(refusal))
            return
        if not received.retained:
            self._hear(envelope)
        self._dispatch(received, envelope)

    def _mute(self, node: str) -> None:
        """Hear nothing more of a node until the next look: what it says faster than it can be dropped would keep the
        others' words waiting in the broker."""
        self._muted.update(topics.Address(self.cell_name, node, channel).topic for channel in _SPOKEN_ON)
        self.transport.mute(self._muted)

    def _counted(self, node: str, received: Received) -> Received:
        """Return the message as one that waits until it is acknowledged."""

        def acknowledge() -> None:
            self.allowance.done(node)
            received.acknowledge()

        return Received(received.topic, received.payload, received.retained, acknowledge)

    def _charged(self, node: str, received: Received, events_more: int) -> Received:
        self.allowance.charge(node, events_more)

        def acknowledge() -> None:
            self.allowance.done(node, events=events_more)
            received.acknowledge()

        return Received(received.topic, received.payload, received.retained, acknowledge)

    def _hear(self, envelope: messages.Envelope) -> None:
        now = self.last_seen[envelope.node] = self.clock()
        if isinstance(envelope.body, messages.Status):
            self.hearing.heard(envelope.sent_at, now)
            self.on_level(envelope.node, envelope.body)

    def lag_s(self, now: float) -> float:
        """Return how far the cell is behind its nodes, Unix seconds on the controller's clock in."""
        expected = any(node.presence == "online" for node in self.cell.belief.nodes.values())
        return max(self.cell.lag_s(now), self.hearing.lag_s(now, expected=expected))

    def _check(self, address: topics.Address, envelope: messages.Envelope) -> None:
        if address.cell != self.cell_name:
            raise messages.Refused(f"misplaced: for cell {address.cell!r}, this is {self.cell_name!r}")
        if isinstance(envelope.body, messages.Unknown) and address.channel is not topics.Channel.EVENT:
            raise messages.Refused(f"newer: the kind {envelope.body.kind!r} is not known to this controller's version")
        if not isinstance(envelope.body, _SPOKEN_ON[address.channel]):
            raise messages.Refused(f"misplaced: {type(envelope.body).__name__} on channel {address.channel}")
        if address.channel is topics.Channel.EVENT and not 1 <= envelope.seq <= MAX_SEQ:
            raise messages.Refused(f"malformed: event with seq {envelope.seq}")
        if len(envelope.boot_id) > MAX_BOOT_ID or not envelope.boot_id.isprintable():
            raise messages.Refused(f"malformed: boot id {envelope.boot_id[:MAX_BOOT_ID]!r}")
        if 0.0 < envelope.expires_at <= self.clock():
            raise messages.Refused("expired")
        self._check_room(envelope)

    def _check_room(self, envelope: messages.Envelope) -> None:
        """Refuse what would have a node remembered for ever more things."""
        if not self.receipts.has_room(envelope.node, envelope.boot_id):
            self.allowance.exceeded(envelope.node, self.clock())
            raise messages.Refused(f"boundless: more than {MOST_BOOTS} boots of one node")
        known = self.cell.belief.nodes.get(envelope.node)
        if known is None:
            return
        match envelope.body:
            case messages.FindingRaised(finding=finding):
                new = {finding.key}.difference(known.edges)
            case messages.Status(findings=findings):
                new = {finding.key for finding in findings}.difference(known.edges)
            case _:
                new = set()
        if new and len(known.edges) + len(new) > MOST_FAULTS:
            self.allowance.exceeded(envelope.node, self.clock())
            raise messages.Refused(f"boundless: more than {MOST_FAULTS} different faults of one node")

    def _drop(self, received: Received, kind: str, why: str) -> None:
        self.rejected[kind] += 1
        source = received.topic[:200]
        now = self.clock()
        if now - self._logged_at.get(source, 0.0) >= LOG_EVERY_S:
            if len(self._logged_at) > 10_000:
                self._logged_at.clear()
            self._logged_at[source] = now
            log.warning("message.rejected", topic=source, because=why[:500], rejected=self.rejected[kind])
        received.acknowledge()

    def _dispatch(self, received: Received, envelope: messages.Envelope) -> None:
        if self.latest.is_late(envelope):
            self.rejected["late"] += 1
            received.acknowledge()
            return
        match envelope.body:
            case messages.Status() as status:
                if status.outbox_depth == 0 and not received.retained:
                    self.receipts.emptied[envelope.node] = envelope.boot_id
                self._submit(
                    envelope.node, received, list(self._heal(envelope, as_known(status), retained=received.retained))
                )
            case messages.Presence() as presence:
                self._submit(envelope.node, received, list(self._presence(envelope.node, presence)))
            case messages.BenchProgress() as progress:
                self.on_progress(envelope.node, progress)
                received.acknowledge()
            case body:
                self._take_event(received, envelope, body)

    def _take_event(self, received: Received, envelope: messages.Envelope, body: messages.Body) -> None:
        receipt = Receipt(envelope.node, envelope.boot_id, envelope.seq)
        if not self.receipts.first(receipt):
            self.rejected["repeated"] += 1
            if self.receipts.committed(receipt):
                self._say_stored(receipt)
            received.acknowledge()
            return
        if isinstance(body, messages.BenchRendezvous):
            passed_on = partial(self._pass_on, received, receipt, envelope.node, body)
            self.cell.hand_in(list(self._heard(envelope.node)), [receipt], passed_on, node=envelope.node)
            return
        self.unread += isinstance(body, messages.Unknown)
        event = self._of_its_own(event_of(envelope, body, self._newest()))
        committed = partial(self._committed, received, receipt, _arrival(received, envelope, self.clock()))
        self.cell.hand_in([*self._heard(envelope.node), event], [receipt], committed, node=envelope.node)

    def _pass_on(
        self, received: Received, receipt: Receipt, node: str, said: messages.BenchRendezvous, _: list[events.Logged]
    ) -> None:
        """A unique id is of use for seconds and to one group alone: it is handed on, and no log keeps it."""
        self.receipts.commit(receipt)
        received.acknowledge()
        self._say_stored(receipt)
        self.on_rendezvous(node, said)

    def _of_its_own(self, event: events.Event) -> events.Event:
        """No node puts words into the timeline of another one's incident."""
        if not isinstance(event, events.EvidenceEnded):
            return event
        incident = self.cell.belief.incidents.get(event.incident_id)
        is_own = incident is not None and incident.node == event.node
        return event if is_own else msgspec.structs.replace(event, incident_id="")

    def _committed(self, received: Received, receipt: Receipt, arrival: Arrival, logged: list[events.Logged]) -> None:
        event = logged[-1].event
        self.on_arrival(logged[-1], arrival)
        self.receipts.commit(receipt)
        received.acknowledge()
        self._say_stored(receipt)
        if isinstance(event, events.OrderEnded):
            self.on_order_ended(event)
        elif isinstance(event, events.EvidenceEnded):
            self.on_evidence_ended(event)
        elif isinstance(event, bench_events.BenchEnded):
            self.on_bench_ended(event)

    def _submit(self, node: str, received: Received, found: list[events.Event]) -> None:
        if not found:
            received.acknowledge()
            return
        if more := len(found) - 1:
            received = self._charged(node, received, more)
        self.cell.hand_in(found, [], lambda _: received.acknowledge(), node=node)

    def _heard(self, node: str) -> Iterator[events.Event]:
        known = self.cell.belief.nodes.get(node)
        if known is None or known.presence == "silent":
            yield events.PresenceChanged(node, "online", "a message came")

    def _presence(self, node: str, presence: messages.Presence) -> Iterator[events.Event]:
        known = self.cell.belief.nodes.get(node)
        state = presence.state if presence.state in _PRESENCES else "unknown"
        if known is not None and known.presence == state:
            return
        newer_word = f"the agent calls itself {presence.state[:40]!r}, which this controller does not know"
        yield events.PresenceChanged(node, state, _PRESENCES.get(state, newer_word))
        if state == "online":
            self.on_online(node)

    def _heal(self, envelope: messages.Envelope, status: messages.Status, *, retained: bool) -> Iterator[events.Event]:
        known = self.cell.belief.nodes.get(envelope.node) or NodeBelief(envelope.node)
        status = msgspec.structs.replace(status, observed_at=plausible(status.observed_at, self._newest()))
        if (known.boot_id, known.facts) != (envelope.boot_id, status.facts):
            yield events.NodeSeen(envelope.node, envelope.boot_id, status.facts)
        is_later = not retained and envelope.sent_at > known.presence_since
        if known.presence in {"silent", "unknown"} or (
            known.presence == "lost" and (is_later or self.latest.is_back(envelope.node, status))
        ):
            yield events.PresenceChanged(envelope.node, "online", "a status came")
        yield from missed_edges(known, envelope, status)
        if {name: level.verdict for name, level in status.checks.items()} != {
            name: level.verdict for name, level in known.checks.items()
        }:
            yield events.CheckLevelsChanged(envelope.node, status.checks)

    def _newest(self) -> float:
        """Return the latest time that our clock has shown: it may have been set back since, and then what nodes say now
        must not look older than what they said before."""
        if not self._newest_at:
            nodes = self.cell.belief.nodes.values()
            self._newest_at = max((at for node in nodes for at in node.edges.values()), default=0.0)
        self._newest_at = max(self._newest_at, self.clock())
        return self._newest_at

    def _follow_clock(self) -> None:
        """Move all that was heard along with a clock that was set: nobody fell silent by that, and nobody who does may
        be taken for heard until the clock is there again."""
        step_s = self._steps.look()
        if not step_s:
            return
        log.warning("clock.stepped", step_s=round(step_s, 1))
        self.last_seen = {node: at + step_s for node, at in self.last_seen.items()}
        self._listening = (self._listening[0], self._listening[1] + step_s)
        self.hearing.move(step_s)

    async def note_floods(self) -> None:
        """Note nodes that say more than they may, and those that do so no more."""
        now, nodes = self.clock(), self.cell.belief.nodes
        if self._muted:
            self._muted.clear()
            self.transport.mute(())
        flooding = self.allowance.flooding(now)
        told = [
            events.FindingRaised(name, _boot_of(nodes.get(name)), _flood(name), now, origin="controller")
            for name in flooding
            if name not in nodes or FLOODING not in nodes[name].findings
        ]
        over = [
            events.FindingCleared(name, FLOODING, f"{name} keeps to its allowance again.", now, origin="controller")
            for name, node in nodes.items()
            if FLOODING in node.findings and name not in flooding
        ]
        if told or over:
            await self.cell.submit([*told, *over])

    def _say_stored(self, receipt: Receipt) -> None:
        self._stored.setdefault((receipt.node, receipt.boot_id), []).append(receipt.seq)
        self._stored_any.set()

    async def acknowledge_stored(self) -> None:
        """Tell nodes what is stored, batch by batch, until cancelled. What is not heard is told when it is resent."""
        while True:
            await self._stored_any.wait()
            self._stored_any.clear()
            batches, self._stored = self._stored, {}
            for (node, boot_id), seqs in batches.items():
                self._tell_stored(node, boot_id, seqs)

    def _tell_stored(self, node: str, boot_id: str, seqs: list[int]) -> None:
        body = messages.Stored(boot_id, seqs)
        envelope = messages.Envelope(messages.VERSION, node, boot_id, 0, self.clock(), body)
        topic = topics.Address(self.cell_name, node, topics.Channel.ACK).topic
        self.transport.tell(topic, messages.encode(envelope))

    async def watch_silence(self, *, every_s: float = 1.0) -> None:
        """Note nodes that said nothing for too long, until cancelled."""
        while True:
            await asyncio.sleep(every_s)
            await self.note_silence()
            await self.note_floods()

    async def note_silence(self) -> None:
        """Note nodes that said nothing for too long, counted anew whenever the broker is lost or found.

        A broker that is away for so long leaves every node unknown: then the policy freezes, and people are told once.
        """
        self._follow_clock()
        now = self.clock()
        if self.transport.connected != self._listening[0]:
            self._listening = (self.transport.connected, now)
        connected, since = self._listening
        silent = [
            node.name
            for node in self.cell.belief.nodes.values()
            if node.presence == "online" and max(self.last_seen.get(node.name, 0.0), since) < now - self.silent_after_s
        ]
        if silent:
            what = "nothing heard" if connected else "no broker is connected, and nothing heard,"
            because = f"{what} for {self.silent_after_s:.0f} s"
            await self.cell.submit([events.PresenceChanged(name, "silent", because) for name in silent])


_SPOKEN_ON: dict[topics.Channel, tuple[type, ...]] = {
    topics.Channel.EVENT: (
        messages.FindingRaised,
        messages.FindingCleared,
        messages.AgentStarted,
        messages.OrderEnded,
        messages.EvidenceEnded,
        messages.BenchEnded,
        messages.BenchRendezvous,
        messages.Unknown,
    ),
    topics.Channel.STATUS: (messages.Status, messages.BenchProgress),
    topics.Channel.PRESENCE: (messages.Presence,),
    topics.Channel.ORDER: (),
    topics.Channel.ACK: (),
}


def _boot_of(known: NodeBelief | None) -> str:
    return known.boot_id if known is not None else ""


def _flood(node: str) -> Finding:
    because = (
        f"{node} says far more than an agent does: what is above its allowance is dropped, and the other nodes are "
        "heard as before."
    )
    return Finding(FLOODING.check, FLOODING.device, FLOODING.code, Verdict.DEGRADED, Action.NONE, because)


_PRESENCES: Final = {
    "online": "the agent connected",
    "lost": "the broker lost its connection",
    "stopped": "the agent was stopped",
}


def _arrival(received: Received, envelope: messages.Envelope, now: float) -> Arrival:
    name = f"{envelope.node}/{envelope.boot_id}/{envelope.seq}"
    return Arrival(received.topic, name, envelope.recorded_at, envelope.sent_at, now, envelope.attempt)
