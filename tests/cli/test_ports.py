"""Ports for what is about to listen: free, and never one that a client may be given."""

from __future__ import annotations

import socket

import pytest

from cli.ports import CLIENT_PORTS, LOOPBACK, LOWEST, free_port, free_ports, why_taken


def test_ports_are_distinct_and_none_is_a_clients() -> None:
    ports = free_ports(50)
    assert len(set(ports)) == 50
    assert all(LOWEST <= port < int(CLIENT_PORTS.read_text().split()[0]) for port in ports)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_taken_port_is_not_free(kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind((LOOPBACK, free_port()))
        if kind is socket.SOCK_STREAM:
            taken.listen()
        port = taken.getsockname()[1]
        assert why_taken(port, kind=kind) == "Address already in use"
    assert why_taken(port, kind=kind) == ""
