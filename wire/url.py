"""What a broker's URL says: where it is, and what it does otherwise than an MQTT 5 broker of the standard does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, urlsplit

import aiomqtt
import msgspec

from wire.connection import Received

VERSIONS: Final = {"3": aiomqtt.ProtocolVersion.V311, "5": aiomqtt.ProtocolVersion.V5}
PORT: Final = 1883
TLS_PORT: Final = 8883
"""Source: IANA's list of service names, mqtt and secure-mqtt."""

DOT: Final = "~"
"""Stands for a dot in the topics of a broker that takes none. No name of ours holds it (`wire.topics.NAME`)."""


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """One broker, or one node of a clustered one.

    Attributes:
        version: the MQTT that it speaks.
        plain_dots: it takes a dot in a topic for what it is. NATS 2.9 refuses topics with dots, and RabbitMQ 3.10 takes
            them for level separators.
    """

    host: str
    port: int
    tls: bool
    version: aiomqtt.ProtocolVersion
    plain_dots: bool = True

    @classmethod
    def parse(cls, url: str) -> BrokerAddress:
        """Return what `url` says.

        Raises:
            ValueError: with what is wrong about it and what is right.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ValueError(f"broker url {url!r}: its port is not a number from 1 to 65535") from error
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
            raise ValueError(f"broker url {url!r} is not mqtt://host:port or mqtts://host:port")
        if parts.password is not None:
            raise ValueError(f"broker {parts.hostname}: no password in the address: name a file in password_file")
        version, dots = _asked(url, parts.query)
        tls = parts.scheme == "mqtts"
        return cls(parts.hostname, port or (TLS_PORT if tls else PORT), tls, VERSIONS[version], dots == "plain")

    def spell(self, topic: str) -> str:
        """Return a topic, or a topic filter, as this broker takes it."""
        return topic if self.plain_dots else topic.replace(".", DOT)

    def read(self, received: Received) -> Received:
        """Return a message of this broker with its topic as we spell it."""
        if self.plain_dots:
            return received
        return msgspec.structs.replace(received, topic=received.topic.replace(DOT, "."))

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def addresses_of(urls: str | tuple[str, ...]) -> tuple[BrokerAddress, ...]:
    """Return what one URL says, or each of several: the nodes of one clustered broker.

    Raises:
        ValueError: with all that is wrong about any of them.
    """
    given = (urls,) if isinstance(urls, str) else urls
    if not given:
        raise ValueError("no broker url: give at least one, like mqtt://host:port")
    found, wrong = [], []
    for url in given:
        try:
            found.append(BrokerAddress.parse(url))
        except ValueError as error:
            wrong.append(str(error))
    if wrong:
        raise ValueError("; ".join(wrong))
    if twice := sorted({str(each) for each in found if found.count(each) > 1}):
        raise ValueError(f"broker {', '.join(twice)} is given more than once")
    return tuple(found)


def _asked(url: str, query: str) -> tuple[str, str]:
    """Return the MQTT version and how dots are written."""
    asked = {key: values[-1] for key, values in parse_qs(query, keep_blank_values=True).items()}
    version = _one_of(url, asked, "v", {"5": "MQTT 5", "3": "MQTT 3.1.1"})
    dots = _one_of(url, asked, "dots", {"plain": "as they are", "tilde": "written as ~"})
    if asked:
        raise ValueError(f"broker url {url!r}: {next(iter(asked))} is neither v nor dots")
    return version, dots


def _one_of(url: str, asked: dict[str, str], key: str, values: Mapping[str, str]) -> str:
    """Take the key's value out of what is asked; the first of the allowed ones when it is left out."""
    value = asked.pop(key, next(iter(values)))
    if value not in values:
        right = " nor ".join(f"{name} ({meaning})" for name, meaning in values.items())
        raise ValueError(f"broker url {url!r}: {key}={value} is neither {right}")
    return value
