"""When a certificate begins and ends, read without a library of cryptography: one costs an agent 7 MiB."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from wire.metrics import Samples, Values

WARN_SHARE: Final = 0.3
"""Of a life that is left: who renews in time does so at a third of it. Source: our choice."""

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_SEQUENCE: Final = 0x30
_VERSION: Final = 0xA0
_TIMES: Final = {0x17: "%y%m%d%H%M%SZ", 0x18: "%Y%m%d%H%M%SZ"}
"""UTCTime and GeneralizedTime. Source: RFC 5280, 4.1.2.5; two digits of a year above 49 are of the last century."""


@dataclass(frozen=True, slots=True)
class Life:
    """From when to when a certificate is good, in Unix seconds."""

    begins_at: float
    ends_at: float

    def left_s(self, now: float) -> float:
        """Return how long it still is good; negative when it has expired."""
        return self.ends_at - now

    def is_short(self, now: float) -> bool:
        """Return whether so little of it is left that its renewal is late."""
        return self.left_s(now) < WARN_SHARE * (self.ends_at - self.begins_at)


def certificate_values(prefix: str, life: Life | None) -> Values:
    """Return the two metrics of a life, without a sample where there is none."""
    begin: Samples = {(): life.begins_at} if life is not None else {}
    end: Samples = {(): life.ends_at} if life is not None else {}
    return {f"{prefix}_certificate_begin_time_seconds": begin, f"{prefix}_certificate_end_time_seconds": end}


def life_of(pem: str) -> Life:
    """Return the life of the first certificate in a text: in a chain, that of its owner.

    Raises:
        ValueError: it holds none.
    """
    found = _CERTIFICATE.search(pem)
    if found is None:
        raise ValueError("it holds no certificate in PEM")
    try:
        begins_at, ends_at = map(_moment, _children(_validity(ssl.PEM_cert_to_DER_cert(found[0]))))
    except (ValueError, IndexError, KeyError) as error:
        raise ValueError(f"its certificate cannot be read: {error}") from error
    return Life(begins_at, ends_at)


Element = tuple[int, bytes]


def _validity(der: bytes) -> bytes:
    """Return the content of the validity. Source: RFC 5280, 4.1: version, serial, algorithm, issuer, validity."""
    (_, certificate), *_ = _children(der)
    (_, signed), *_ = _children(certificate)
    parts = _children(signed)
    tag, validity = parts[4 if parts[0][0] == _VERSION else 3]
    if tag != _SEQUENCE:
        raise ValueError("its validity is not where it belongs")
    return validity


def _children(content: bytes) -> list[Element]:
    """Return tag and content of each element in DER (X.690, 8.1)."""
    found, place = [], 0
    while place < len(content):
        tag, length, place = content[place], content[place + 1], place + 2
        if length & 0x80:
            size = length & 0x7F
            length, place = int.from_bytes(content[place : place + size]), place + size
        if place + length > len(content):
            raise ValueError("it ends too early")
        found.append((tag, content[place : place + length]))
        place += length
    return found


def _moment(element: Element) -> float:
    tag, content = element
    moment = datetime.strptime(content.decode("ascii"), _TIMES[tag]).replace(tzinfo=UTC)
    is_last_century = tag == 0x17 and moment.year >= 2050
    return moment.replace(year=moment.year - 100 if is_last_century else moment.year).timestamp()
