"""The packets read and written past paho are the same that paho would read and write."""

from __future__ import annotations

import struct

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from paho.mqtt import _packet
from paho.mqtt.enums import MQTTProtocolVersion

from wire.packets import acknowledgements, publish_at, publish_once

V5, V311 = MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311
topics = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=200)
payloads = st.binary(max_size=300) | st.just(bytes(20_000))


def length(count: int) -> bytes:
    """Return a remaining length as the standard's own algorithm writes it (MQTT 5.0, 1.5.5)."""
    written = b""
    while True:
        count, rest = divmod(count, 128)
        written += bytes([rest | (128 if count else 0)])
        if not count:
            return written


def publish(topic: str, payload: bytes, number: int, *, qos: int, head: int, properties: bytes) -> bytes:
    name = topic.encode()
    body = struct.pack("!H", len(name)) + name + (struct.pack("!H", number) if qos else b"") + properties + payload
    return bytes([0x30 | qos << 1 | head]) + length(len(body)) + body


@given(
    topic=topics,
    payload=payloads,
    number=st.integers(1, 65_535),
    qos=st.sampled_from([0, 1]),
    retained=st.booleans(),
    is_v5=st.booleans(),
    before=st.binary(max_size=5),
    after=st.binary(max_size=5),
)
def test_a_plain_message_is_read_whole(
    topic: str,
    payload: bytes,
    number: int,
    qos: int,
    retained: bool,
    is_v5: bool,
    before: bytes,
    after: bytes,
) -> None:
    packet = publish(topic, payload, number, qos=qos, head=retained, properties=b"\0" if is_v5 else b"")
    found = publish_at(before + packet + after, len(before), has_properties=is_v5)
    assert found is not None
    assert (found.topic.decode(), found.payload, found.retained) == (topic, payload, retained)
    assert (found.number, found.ends_at) == (number if qos else 0, len(before) + len(packet))


@settings(max_examples=1_000)
@given(data=st.binary(min_size=1, max_size=40) | st.binary(max_size=40).map(lambda rest: b"\x32" + rest))
@example(data=b"\x32\xff\xff\xff\xff\x01")
@example(data=b"\x32\x05\0\x01a\0\x01")
@pytest.mark.parametrize("version", [V5, V311])
def test_whatever_is_read_is_what_paho_reads(version: MQTTProtocolVersion, data: bytes) -> None:
    found = publish_at(data, 0, has_properties=version is V5)
    if found is None:
        return
    size_bytes = next(place for place in range(1, 5) if data[place] < 0x80)
    theirs = _packet.decode_publish(data[0], data[1 + size_bytes : found.ends_at], version)
    assert (found.topic, found.payload) == (theirs.topic, theirs.payload)
    assert (found.number, found.retained) == (theirs.mid, theirs.retain)


@pytest.mark.parametrize(
    "data",
    [
        b"\x34\x06\0\x01a\0\x01\0",
        b"\x36\x06\0\x01a\0\x01\0",
        b"\x40\x02\0\x01",
        b"\x32\x06\0\x01a\0\x01",
        b"\x32\x06\0\0\0\x01\0x",
        b"\x32\x06\0\x01a\0\0\0",
        b"\x32\x08\0\x01a\0\x01\x02\x01\0",
        b"\x32",
        b"\x32\x80",
        b"\x32\x80\x80\x80\x80\x01",
    ],
    ids=["QoS 2", "QoS 3", "PUBACK", "a part", "no topic", "no number", "properties", "size", "part of it", "too long"],
)
def test_what_is_not_plain_is_left_to_paho(data: bytes) -> None:
    assert publish_at(data, 0, has_properties=True) is None


@given(topic=topics, payload=payloads, is_v5=st.booleans())
def test_what_is_said_once_is_read_as_it_was_meant(topic: str, payload: bytes, is_v5: bool) -> None:
    packet = publish_once(topic, payload, has_properties=is_v5)
    assert packet == publish(topic, payload, 0, qos=0, head=0, properties=b"\0" if is_v5 else b"")


@given(numbers=st.lists(st.integers(1, 65_535), max_size=50))
def test_each_message_is_acknowledged_by_a_packet_of_its_own(numbers: list[int]) -> None:
    data = acknowledgements(numbers)
    packets = [data[at : at + 4] for at in range(0, len(data), 4)]
    assert [packet[:2] for packet in packets] == [b"\x40\x02"] * len(numbers)
    for version in (V5, V311):
        assert [_packet.decode_puback(0x40, packet[2:], version).mid for packet in packets] == numbers
