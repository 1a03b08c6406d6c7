"""The few packets that a controller reads and writes by the thousand a second, whole and by themselves.

paho spends some 40 µs of Python on each, most of it on what they never hold. Whatever is not plain (a part of a packet,
properties, a defect) is left to paho. Source of the layouts: MQTT 5.0, 2.1 (header), 3.3 (PUBLISH), 3.4 (PUBACK); those
of MQTT 3.1.1 differ in having no properties.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

import msgspec

PUBLISH: Final = 0x30
RETAIN: Final = 0x01
QOS: Final = 0x06
AT_LEAST_ONCE: Final = 0x02
PUBACK: Final = 0x40
PUBACK_HEAD: Final = 0x4002
"""A PUBACK whose rest is two bytes long: a success says nothing more. Source: MQTT 5.0, 3.4.2.1."""

SIZE_BYTES: Final = 4
"""Source: MQTT 5.0, 1.5.5."""


class Publish(msgspec.Struct, frozen=True, gc=False):
    """One message. `number`: its packet identifier, 0 at QoS 0. `ends_at`: where the next packet begins."""

    topic: bytes
    payload: bytes
    number: int
    retained: bool
    ends_at: int


def publish_at(data: bytes, start: int, *, has_properties: bool) -> Publish | None:
    """Return the message that begins at `start`, if it is plain: whole, at QoS 0 or 1, and without properties."""
    head = data[start]
    qos = head & QOS
    sized = _size_at(data, start + 1) if head & 0xF0 == PUBLISH and qos <= AT_LEAST_ONCE else None
    if sized is None:
        return None
    size, at = sized
    end = at + size
    topic_end = at + 2 + int.from_bytes(data[at : at + 2], "big")
    body = topic_end + (2 if qos else 0) + has_properties
    if end > len(data) or body > end or (has_properties and data[body - 1]):
        return None
    number = int.from_bytes(data[topic_end : topic_end + 2], "big") if qos else 0
    if topic_end == at + 2 or (qos and not number):
        return None
    return Publish(data[at + 2 : topic_end], data[body:end], number, bool(head & RETAIN), end)


def publish_once(topic: str, payload: bytes, *, has_properties: bool) -> bytes:
    """Return the packet that publishes at QoS 0."""
    name = topic.encode()
    body = struct.pack("!H", len(name)) + name + (b"\0" if has_properties else b"") + payload
    return bytes((PUBLISH,)) + _size(len(body)) + body


def acknowledgements(numbers: Sequence[int]) -> bytes:
    """Return one PUBACK after the other for messages of these packet identifiers."""
    words = [word for number in numbers for word in (PUBACK_HEAD, number)]
    return struct.pack(f"!{len(words)}H", *words)


def _size_at(data: bytes, start: int) -> tuple[int, int] | None:
    """Return the length that is written at `start` and where it ends, `None` when it is not whole or none."""
    size = 0
    for place, byte in enumerate(data[start : start + SIZE_BYTES]):
        size |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return size, start + place + 1
    return None


def _size(count: int) -> bytes:
    written = bytearray()
    while count >= 0x80:
        written.append(count & 0x7F | 0x80)
        count >>= 7
    written.append(count)
    return bytes(written)
