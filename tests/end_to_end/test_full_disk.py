"""I7 with a full disk: the controller ends cleanly, acts on nothing that is not in its log, and goes on by itself.

The disk is a small tmpfs, broker and controller are processes, the scheduler counts what is done to it.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from cli.broker import CONTROLLER, Mosquitto
from controller.events import StepIntended
from controller.main import EX_IOERR
from controller.store.sqlite import SqliteLog
from tests.support.broker import running_broker
from tests.support.controllers import ControllerProcess, CountingScheduler, Nodes, nodes_at, until

NAMES = tuple(f"n{number}" for number in range(1, 31))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system, with room for twice what SQLite lets its write-ahead log grow to."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "none", place], check=False, capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a file system cannot be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    async with running_broker(tmp_path / "broker") as running:
        yield running


@pytest.fixture
async def nodes(broker: Mosquitto) -> AsyncIterator[Nodes]:
    async with nodes_at(broker) as speaking:
        yield speaking


def controller_on(disk: Path, broker: Mosquitto, scheduler: CountingScheduler, directory: Path) -> ControllerProcess:
    username, password = broker.credentials(CONTROLLER)
    secret = directory / "broker.password"
    secret.touch(mode=0o600)
    secret.write_text(password)
    return ControllerProcess(
        directory / "controller",
        {
            "state": str(disk / "state"),
            "broker": {"url": broker.url, "username": username, "password_file": str(secret)},
            "scheduler": {"kind": "command", "hook": str(scheduler.hook), "interval_s": 1.0},
            "budget": {"percent": 100.0},
            "breakers": [],
            "domains": [],
        },
    )


def fill(place: Path) -> Path:
    """Write until nothing more fits."""
    ballast = place / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (65_536, 4_096, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * size)
    return ballast


def intended(state: Path) -> set[str]:
    """Return the keys of the cordons that the log has."""
    log = SqliteLog(state / "events.sqlite")
    found = {e.event.key for e in log.read() if isinstance(e.event, StepIntended) and e.event.verb == "cordon"}
    log.close()
    return found


@pytest.mark.broker
@pytest.mark.timeout(120)
async def test_i7_a_full_disk_ends_the_controller_and_loses_nothing(
    disk: Path, broker: Mosquitto, nodes: Nodes, tmp_path: Path
) -> None:
    scheduler = CountingScheduler(tmp_path / "scheduler")
    controller = controller_on(disk, broker, scheduler, tmp_path)
    try:
        controller.start()
        await controller.is_role("leader")
        ballast = fill(disk)
        for name in NAMES:
            nodes.lose_gpu(name)
        assert await controller.ended() == EX_IOERR
        assert controller.said("log.failed") and not controller.said("Traceback")
        before = {key for _, key, _ in scheduler.calls("cordon")}
        assert nodes.outbox != {}

        controller.start()
        await until(lambda: controller.said("store.unreachable"))
        assert {key for _, key, _ in scheduler.calls("cordon")} == before

        ballast.unlink()
        await controller.is_role("leader")
        assert before <= intended(disk / "state")
        await until(lambda: not nodes.outbox)
        await until(lambda: set(scheduler.times_cordoned()) == set(NAMES))
        assert set(scheduler.times_cordoned().values()) == {1}
        assert not controller.said("Traceback")
    finally:
        controller.end()
