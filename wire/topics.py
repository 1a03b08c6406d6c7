"""Where each kind of message travels. No other file spells a topic.

`fleetmend/v1/<cell>/node/<node>/<channel>`: the node writes `event`, `status`, `presence` and hears `order` and `ack`.
A broker ACL can therefore hold every node to its own branch with one pattern per direction.
"""

from __future__ import annotations

import re
from enum import StrEnum

import msgspec

ROOT = "fleetmend/v1"
NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
"""What a node or cell may be called: a DNS name's letters, so that it is safe in a topic, a file name and a page."""

RESERVED = frozenset({"controller", "broker"})
"""What no node may be called: a node's name is its user at the broker, where `controller` may read and write all."""


class Channel(StrEnum):
    """The last topic level."""

    EVENT = "event"
    """Node → controller, QoS 1: findings and other edges, until the controller acknowledges them as stored."""
    STATUS = "status"
    """Node → controller, QoS 1, retained: the full level, every 60 s and at start. Not retained, at QoS 0: how far a
    benchmark is."""
    PRESENCE = "presence"
    """Node → controller, QoS 1, retained: online, stopped, or (Last Will) lost."""
    ORDER = "order"
    """Controller → node, heard at QoS 0: signed orders, until the node says how they ended or they expire."""
    ACK = "ack"
    """Controller → node, heard at QoS 0: which events are stored, again for each that comes again."""


class Address(msgspec.Struct, frozen=True):
    """One node's channel in one cell."""

    cell: str
    node: str
    channel: Channel

    @property
    def topic(self) -> str:
        """The MQTT topic."""
        return f"{ROOT}/{self.cell}/node/{self.node}/{self.channel}"


def parse(topic: str) -> Address:
    """Return the address a topic spells.

    Raises:
        ValueError: the topic is none of ours, with what is wrong about it.
    """
    found = _OURS.fullmatch(topic)
    if found is None:
        raise ValueError(_what_is_wrong(topic))
    return Address(found[1], found[2], _CHANNELS[found[3]])


def _what_is_wrong(topic: str) -> str:
    parts = topic.split("/")
    if len(parts) != 6 or "/".join(parts[:2]) != ROOT or parts[3] != "node":
        return f"topic {topic!r} is not {ROOT}/<cell>/node/<node>/<channel>"
    for what, name in (("cell", parts[2]), ("node", parts[4])):
        if not NAME.fullmatch(name):
            return f"topic {topic!r}: {what} {name!r} is not a valid name"
    return f"topic {topic!r}: channel {parts[5]!r} is not one of {', '.join(Channel)}"


_CHANNELS = {str(channel): channel for channel in Channel}
_OURS = re.compile(f"{ROOT}/({NAME.pattern})/node/({NAME.pattern})/({'|'.join(Channel)})")


def template(channel: Channel) -> str:
    """Return the topics of a channel with names for what differs, for people."""
    return f"{ROOT}/{{cell}}/node/{{node}}/{channel}"


def every_node(cell: str, channel: Channel) -> str:
    """Return the filter by which a controller hears one channel of all nodes."""
    return f"{ROOT}/{cell}/node/+/{channel}"
