"""Whether other hosts can be reached from here, for a controller that hears nothing of one of them.

A TCP connection that is taken up or refused proves that the host lives: its kernel answered. Nothing is sent over it,
and no privilege is needed. That nothing answers proves little by itself; the controller weighs it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from agent.machine import ActionRefused, Done
from wire.orders import Order
from wire.reaching import NOT_REACHED, REACHED, UNKNOWN, asked

PORTS: Final = (22, 6818, 10250, 9)
"""Tried all at once; one answer is enough. Source: IANA's list of service names for ssh and discard (nobody listens
there, so a host that lives refuses); slurm.conf, SlurmdPort; kubelet, its own port."""

LIMIT_S: Final = 2.0
"""For the name, and again for the connections. Source: our choice; TCP sends its first packet again after one second
(RFC 6298), so that one lost packet is survived."""

SILENT_ERRORS: Final = frozenset({errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.EHOSTDOWN})
"""Nobody answered. Any other error is one of this host (no route, or a firewall of its own) and says nothing of the
other. Source: connect(2), ip(7)."""

MOST_RESOLVED: Final = 4
"""Of the addresses of one name. Source: our choice."""

AWAY: Final = ("192.0.2.1", 9)
"""Where a packet would have to leave the host: kept free for documentation, and nothing is sent there. Source: RFC
5737."""

CONTAINER_MARKS: Final = (".dockerenv", "run/.containerenv")
"""Files in the root of a container. Source: Docker makes the first, Podman and CRI-O the second."""

Target = tuple[int, Any]
"""Address family, and the address as `connect` takes it."""


def own_address(root: Path, environment: Mapping[str, str]) -> str:
    """Return the address from which this host talks to others, its name when it has no way out of itself.

    Returns:
        Empty in a container: its network may be its own, which ends with it while the host lives.
    """
    if "KUBERNETES_SERVICE_HOST" in environment or any((root / mark).exists() for mark in CONTAINER_MARKS):
        return ""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(AWAY)
        return str(probe.getsockname()[0])
    return socket.gethostname()


async def reach(order: Order, *, ports: Sequence[int] = PORTS, limit_s: float = LIMIT_S) -> Done:
    """Return which of the addresses that an order names are reached, as evidence under each of them.

    Raises:
        ActionRefused: it names none, too many, or what is neither a host name nor an IP address.
    """
    try:
        addresses = asked(order.parameters)
    except ValueError as error:
        raise ActionRefused(str(error)) from error
    said = await asyncio.gather(*(_one(address, ports, limit_s) for address in addresses))
    evidence = {address: word for address, (word, _) in zip(addresses, said, strict=True)}
    return Done("; ".join(because for _, because in said), evidence)


async def _one(address: str, ports: Sequence[int], limit_s: float) -> tuple[str, str]:
    """Return the word for one address, and the sentence."""
    try:
        async with asyncio.timeout(limit_s):
            targets = await _targets(address, ports)
    except (OSError, UnicodeError) as error:
        return UNKNOWN, f"{address} could not be looked up: {str(error) or 'no answer in time'}"
    tries = [asyncio.create_task(_try(target, limit_s)) for target in targets]
    try:
        return await _first(address, tries)
    finally:
        for each in tries:
            each.cancel()
        await asyncio.gather(*tries, return_exceptions=True)


async def _targets(address: str, ports: Sequence[int]) -> list[Target]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(address, None, type=socket.SOCK_STREAM)
    return [(family, (to[0], port, *to[2:])) for family, _, _, _, to in found[:MOST_RESOLVED] for port in ports]


async def _first(address: str, tries: Sequence[asyncio.Task[tuple[str, str]]]) -> tuple[str, str]:
    """Return the first answer of the host; without one, what kept it from being asked, else that it is silent."""
    troubled = ""
    for ended in asyncio.as_completed(tries):
        word, because = await ended
        if word == REACHED:
            return word, f"{address} {because}"
        troubled = troubled or (because if word == UNKNOWN else "")
    if troubled:
        return UNKNOWN, f"{address} could not be tried: {troubled}"
    return NOT_REACHED, f"{address} did not answer"


async def _try(target: Target, limit_s: float) -> tuple[str, str]:
    family, address = target
    try:
        with socket.socket(family, socket.SOCK_STREAM) as trying:
            trying.setblocking(False)
            async with asyncio.timeout(limit_s):
                await asyncio.get_running_loop().sock_connect(trying, address)
    except ConnectionRefusedError:
        return REACHED, f"refused on port {address[1]}, so it lives"
    except TimeoutError:
        return NOT_REACHED, ""
    except OSError as error:
        return (NOT_REACHED, "") if error.errno in SILENT_ERRORS else (UNKNOWN, str(error))
    return REACHED, f"answered on port {address[1]}"
