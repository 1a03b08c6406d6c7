"""Whether a host can be reached from a node: what the order `reach` asks, and how its answer is read.

An address comes from what a node says of itself and is given to another one, so both sides hold it against the same
strict form before anything is looked up or connected to.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final

ADDRESSES: Final = "addresses"
"""The order's parameter: addresses, separated by commas."""

MOST_ADDRESSES: Final = 4
"""Source: our choice; the silent node, and the two others that are asked about it, with room for one."""

REACHED: Final = "reached"
NOT_REACHED: Final = "not_reached"
UNKNOWN: Final = "unknown"
"""The evidence under an address. `unknown`: it could not be tried, e.g. because the name has no address."""

MAX_NAME: Final = 253
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII | re.IGNORECASE)
"""Source: RFC 1123, section 2.1; RFC 1035, section 2.3.4, for the lengths."""

_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+", re.ASCII | re.IGNORECASE)
"""A last label that the resolver takes for a number: `127.1` and `0x7f000001` are addresses in disguise."""


def why_no_address(text: str) -> str:
    """Return why this is neither the name of a host nor the IP address of one, empty when it is."""
    try:
        number = ip_address(text)
    except ValueError:
        is_name = len(text) <= MAX_NAME and _NAME.fullmatch(text) and not _NUMBER.fullmatch(text.rsplit(".", 1)[-1])
        return "" if is_name else f"{text[:60]!r} is neither a host name nor an IP address"
    strange = number.is_multicast or number.is_unspecified or number == ip_address("255.255.255.255") or "%" in text
    return f"{text!r} is not the address of one host" if strange else ""


def is_of_this_host(address: str) -> bool:
    """Return whether an address means, on every host, that host itself: who reaches it has proved nothing."""
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return address.lower().split(".")[0] == "localhost"


def asked(parameters: Mapping[str, str]) -> tuple[str, ...]:
    """Return the addresses that an order asks about.

    Raises:
        ValueError: there is none, there are too many, or one of them is none.
    """
    addresses = tuple(parameters.get(ADDRESSES, "").split(","))
    if len(addresses) > MOST_ADDRESSES:
        raise ValueError(f"{len(addresses)} addresses, at most {MOST_ADDRESSES}")
    if wrong := [why for why in map(why_no_address, addresses) if why]:
        raise ValueError("; ".join(wrong))
    return addresses
