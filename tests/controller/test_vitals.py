"""What systemd hears of a controller, over a real datagram socket."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.vitals import Vitals
from tests.support.broker import until
from wire.readiness import Readiness

INTERVAL_S = 0.02


class Systemd:
    """Hears what a unit tells it."""

    def __init__(self, listener: socket.socket, address: str) -> None:
        self.listener, self.address = listener, address
        self.heard: list[str] = []

    def listen(self) -> list[str]:
        with contextlib.suppress(BlockingIOError):
            while True:
                self.heard += self.listener.recv(1000).decode().splitlines()
        return self.heard


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.setblocking(False)
        yield Systemd(listener, str(tmp_path / "notify"))


async def test_the_watchdog_is_fed_for_rounds_and_not_for_time(systemd: Systemd) -> None:
    vitals = Vitals(Readiness(systemd.address, INTERVAL_S))
    feeding = asyncio.create_task(vitals.feed())
    for _ in range(3):
        vitals.came_round()
        await until(lambda: "WATCHDOG=1" in systemd.listen()[vitals.rounds - 1 :])
    # The event loop turns, and the cell no longer thinks.
    await asyncio.sleep(10 * INTERVAL_S)
    assert systemd.listen().count("WATCHDOG=1") == 3
    feeding.cancel()


async def test_without_a_watchdog_nothing_is_fed() -> None:
    await asyncio.wait_for(Vitals(Readiness("", 0.0)).feed(), 1.0)


def test_it_is_ready_once_and_says_each_part_once(systemd: Systemd) -> None:
    vitals = Vitals(Readiness(systemd.address))
    vitals.say("Stands by; the event log cannot be reached.")
    for part in ("Stands by; c2 leads.", "Stands by; c2 leads.", "Leads the cell main, term 2."):
        vitals.ready(part)
    assert systemd.listen() == [
        "STATUS=Stands by; the event log cannot be reached.",
        "READY=1",
        "STATUS=Stands by; c2 leads.",
        "STATUS=Leads the cell main, term 2.",
    ]


def test_a_reload_begins_and_ends(systemd: Systemd) -> None:
    vitals = Vitals(Readiness(systemd.address))
    vitals.reloading()
    vitals.reloaded("Refused:\nREADY=1\nMAINPID=1")
    assert systemd.listen()[::2] == ["RELOADING=1", "READY=1"]
    # What comes from a file cannot say anything to systemd in our name.
    assert systemd.heard[3] == "STATUS=Refused: READY=1 MAINPID=1"
