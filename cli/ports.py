"""Ports of the loopback on which something of ours is about to listen."""

from __future__ import annotations

import contextlib
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

LOOPBACK: Final = "127.0.0.1"
LOWEST: Final = 10_000
"""Below it live the services that everybody knows. Source: our choice."""

CLIENT_PORTS: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
"""From which the kernel gives clients their own ports. Source: kernel, Documentation/networking/ip-sysctl.rst."""

TRIES: Final = 1000


def free_port() -> int:
    """Return a TCP port that nobody listens on."""
    (port,) = free_ports(1)
    return port


def free_ports(count: int, *, kind: socket.SocketKind = socket.SOCK_STREAM) -> list[int]:
    """Return distinct ports that nobody uses, outside of those that the kernel gives to clients.

    A client that tries again and again while nobody listens may be given the very port that it tries: it is connected
    to itself then, and whoever wants to listen there finds the port taken.

    Raises:
        OSError: none is free.
    """
    found: list[int] = []
    for port in _candidates():
        if port not in found and not why_taken(port, kind=kind):
            found.append(port)
        if len(found) == count:
            return found
    raise OSError(f"no free port of {LOOPBACK} was found")


def why_taken(port: int, *, kind: socket.SocketKind = socket.SOCK_STREAM) -> str:
    """Return why nothing can listen on the port, empty when something can."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            return str(error.strerror)
    return ""


def _candidates() -> Iterator[int]:
    highest = _first_of_clients() - 1
    for _ in range(TRIES):
        yield LOWEST + secrets.randbelow(highest - LOWEST + 1) if highest > LOWEST else _any_port()


def _first_of_clients() -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(CLIENT_PORTS.read_text().split()[0])
    return 0


def _any_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
