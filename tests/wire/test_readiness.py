"""What systemd is told, over a real datagram socket."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from wire.readiness import READY, WATCHDOG, Readiness, from_environment


def test_systemd_hears_every_assignment(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        Readiness(str(tmp_path / "notify")).tell(READY, "STATUS=watching")
        assert systemd.recv(100) == b"READY=1\nSTATUS=watching"


def test_an_abstract_socket_is_reached() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0fleetmend-test-readiness")
        Readiness("@fleetmend-test-readiness").tell(WATCHDOG)
        assert systemd.recv(100) == b"WATCHDOG=1"


def test_nobody_listening_is_no_failure(tmp_path: Path) -> None:
    Readiness("").tell(READY)
    Readiness(str(tmp_path / "gone")).tell(READY)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Readiness("")),
        ({"NOTIFY_SOCKET": "/run/n"}, Readiness("/run/n")),
        ({"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "30000000"}, Readiness("/run/n", 15.0)),
        ({"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, Readiness("/run/n", 15.0)),
        ({"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, Readiness("/run/n")),
        ({"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "soon"}, Readiness("/run/n")),
    ],
)
def test_the_environment_says_where_and_how_often(environment: dict[str, str], expected: Readiness) -> None:
    assert expected == from_environment(environment, process_id=7)
