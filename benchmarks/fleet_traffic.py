"""A fleet's messages without a fleet: one connection publishes what thousands of agents would, and hears the answers.

It speaks MQTT 3.1.1 by itself, over a plain socket with packets made beforehand, because a client library costs more
for each message than the controller that is measured. Source of the packets: MQTT 3.1.1, chapters 2 and 3.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import msgspec

from checks.finding import Action, Finding, Verdict
from wire import messages, topics
from wire.messages import Body, Envelope, FindingRaised, NodeFacts, Presence, Status, Stored
from wire.topics import Address, Channel

CELL = "main"
WINDOW = 2_000
"""So many publishes wait for their PUBACK at once; Mosquitto is configured for 1,000 in flight to a client, so that the
backlog is its own."""

_CONNACK, _PUBLISH, _PUBACK, _SUBACK = 2, 3, 4, 9


def node_name(number: int) -> str:
    """Return the name of a node of the fleet, `g00042`."""
    return f"g{number:05d}"


def envelope(node: str, body: Body, *, seq: int = 0, sent_at: float | None = None) -> bytes:
    """Return one message as an agent would encode it."""
    at = time.time() if sent_at is None else sent_at
    return messages.encode(Envelope(messages.VERSION, node, "boot-1", seq, at, body))


def fault(code: str, device: str, *, verdict: Verdict = Verdict.FAILED) -> Finding:
    """Return an Xid finding as the agent judges it."""
    because = f"The driver reported Xid {code} on GPU {device}."
    return Finding("gpu.xid", device, code, verdict, Action.REBOOT, because, pci="0000:3b:00", serial="1650324018533")


def raised(node: str, seq: int, finding: Finding) -> tuple[str, bytes]:
    """Return the topic and payload of a raised finding."""
    body = FindingRaised(finding, time.time())
    return Address(CELL, node, Channel.EVENT).topic, envelope(node, body, seq=seq)


def level(node: str, findings: list[Finding] | None = None) -> tuple[str, bytes]:
    """Return the topic and payload of a node's level."""
    facts = NodeFacts(agent_version="1", kernel="6.1", driver_version="550.54.15", gpu_model="H100", gpu_count=8)
    body = Status(facts, findings or [], {}, 0, time.time(), time.time())
    return Address(CELL, node, Channel.STATUS).topic, envelope(node, body)


def online(node: str) -> tuple[str, bytes]:
    """Return the topic and payload of a node that comes online."""
    return Address(CELL, node, Channel.PRESENCE).topic, envelope(node, Presence("online", time.time()))


def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("!H", len(raw)) + raw


def _packet(kind: int, flags: int, body: bytes) -> bytes:
    length, header = len(body), bytearray([kind << 4 | flags])
    while True:
        length, rest = divmod(length, 128)
        header.append(rest | (0x80 if length else 0))
        if not length:
            return bytes(header) + body


@dataclass(slots=True)
class Wire:
    """One connection.

    Attributes:
        source: the address that it speaks from.
        stored: called with each acknowledgement of the controller, (node, sequences).
    """

    port: int
    user: str
    password: str
    client_id: str = "benchmark"
    source: str = "127.0.0.1"
    stored: Callable[[str, list[int]], None] = lambda _node, _seqs: None
    answered: int = 0
    _socket: socket.socket = field(init=False)
    _rest: bytearray = field(default_factory=bytearray)
    _mid: int = 0
    _waiting: int = 0

    def __enter__(self) -> Wire:
        self._socket = socket.create_connection(("127.0.0.1", self.port), timeout=30, source_address=(self.source, 0))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        credentials = _string(self.user) + _string(self.password)
        head = _string("MQTT") + bytes([4, 0xC2]) + struct.pack("!H", 600) + _string(self.client_id)
        self._socket.sendall(_packet(1, 0, head + credentials))
        self._until(lambda kind: kind == _CONNACK)
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def hear_acknowledgements(self) -> None:
        """Subscribe to what the controller acknowledges."""
        topic = topics.every_node(CELL, Channel.ACK)
        self._socket.sendall(_packet(8, 2, b"\x00\x01" + _string(topic) + b"\x00"))
        self._until(lambda kind: kind == _SUBACK)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish at QoS 1, waiting when too many are not answered yet."""
        self._mid = self._mid % 65_535 + 1
        body = _string(topic) + struct.pack("!H", self._mid) + payload
        self._waiting += 1
        self._socket.sendall(_packet(_PUBLISH, 0b0010 | retain, body))
        if self._waiting >= WINDOW:
            self._until(lambda _: self._waiting < WINDOW)
        elif self._waiting % 64 == 0:
            self.listen(0.0)

    def flush(self) -> None:
        """Wait until the broker has everything."""
        self._until(lambda _: self._waiting == 0)

    def listen(self, limit_s: float) -> None:
        """Take in what came, waiting for at most so long when nothing has."""
        self._socket.settimeout(limit_s or 1e-6)
        try:
            self._rest += self._socket.recv(1 << 18)
        except (TimeoutError, BlockingIOError):
            return
        finally:
            self._socket.settimeout(30)
        for kind, body in self._packets():
            self._take(kind, body)

    def _until(self, condition: Callable[[int], bool]) -> None:
        if condition(0):
            return
        while True:
            chunk = self._socket.recv(1 << 18)
            if not chunk:
                raise ConnectionError("the broker closed the connection")
            self._rest += chunk
            kinds = [self._take(kind, body) for kind, body in self._packets()]
            if any(condition(kind) for kind in kinds):
                return

    def _take(self, kind: int, body: bytes) -> int:
        if kind == _PUBACK:
            self._waiting -= 1
            self.answered += 1
        elif kind == _PUBLISH:
            length = struct.unpack_from("!H", body)[0]
            said = msgspec.json.decode(body[2 + length :], type=Envelope).body
            if isinstance(said, Stored):
                self.stored(body[2 : 2 + length].decode().split("/")[4], said.seqs)
        return kind

    def _packets(self) -> Iterator[tuple[int, bytes]]:
        position = 0
        while True:
            found = _length_at(self._rest, position + 1)
            if found is None or found[1] + found[0] > len(self._rest):
                break
            length, start = found
            yield self._rest[position] >> 4, bytes(self._rest[start : start + length])
            position = start + length
        del self._rest[:position]


def _length_at(buffer: bytearray, position: int) -> tuple[int, int] | None:
    """Return the remaining length and where the body begins, `None` when it is not whole yet."""
    length = shift = 0
    while position < len(buffer):
        byte = buffer[position]
        length |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return length, position
    return None
