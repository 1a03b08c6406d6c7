"""A controller and its broker as processes of their own, for benchmarks that speak to them from outside."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.fleet_traffic import CELL, Wire
from cli.broker import CONTROLLER
from cli.client import Client
from cli.ports import free_port
from tests.support.broker import BrokerOfTests

START_LIMIT_S = 120.0


@dataclass(slots=True)
class BenchCell:
    """One cell: Mosquitto as `fleetmend up` configures it, and `fleetmend-controller` on SQLite in a folder."""

    state: Path
    broker: BrokerOfTests
    port: int
    settings: str = ""
    controller: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where the controller answers."""
        return f"http://127.0.0.1:{self.port}"

    def wire(self, client_id: str = "benchmark") -> Wire:
        """Return a connection that may publish for every node."""
        user, password = self.broker.credentials(CONTROLLER)
        return Wire(self.broker.door, user, password, client_id)

    def start(self) -> float:
        """Start the controller; return after how many seconds it answered."""
        (self.state / "password").touch(mode=0o600)
        (self.state / "password").write_text(self.broker.credentials(CONTROLLER)[1])
        config = self.state / "controller.toml"
        config.write_text(
            f'state = "{self.state}/controller"\ncell = "{CELL}"\n{self.settings}\n'
            f'[broker]\nurl = "{self.broker.url}"\nusername = "{CONTROLLER}"\npassword_file = "{self.state}/password"\n'
            f"[http]\nport = {self.port}\n"
        )
        began = time.monotonic()
        with (self.state / "controller.log").open("ab") as log:
            self.controller = subprocess.Popen(
                [sys.executable, "-m", "controller.main", "--config", str(config)], stdout=log, stderr=log
            )
        while not self.answers():
            assert self.controller.poll() is None, (self.state / "controller.log").read_text()[-2000:]
            assert time.monotonic() - began < START_LIMIT_S, "the controller does not answer"
            time.sleep(0.02)
        return time.monotonic() - began

    def answers(self) -> bool:
        """Return whether the controller answers and hears the broker."""
        with contextlib.suppress(Exception):
            return bool(self.get("status")["broker_connected"])
        return False

    def get(self, *path: str) -> Any:
        """Return what the API says."""
        return Client(self.url).get(*path)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End the controller."""
        if self.controller is not None and self.controller.poll() is None:
            self.controller.send_signal(number)
            self.controller.wait(timeout=60)

    def usage(self) -> tuple[float, float]:
        """Return CPU seconds so far and resident MiB of the controller."""
        assert self.controller is not None
        return usage_of(self.controller.pid)


def usage_of(pid: int) -> tuple[float, float]:
    """Return CPU seconds so far and resident MiB of a process and its children."""
    times, resident = 0.0, 0
    parent = psutil.Process(pid)
    for process in (parent, *parent.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            used = process.cpu_times()
            times += used.user + used.system
            resident += process.memory_info().rss
    return times, resident / 2**20


@contextlib.asynccontextmanager
async def bench_cell(state: Path, settings: str = "") -> AsyncIterator[BenchCell]:
    """Run a cell; the controller is started by the caller."""
    broker = BrokerOfTests(state / "broker")
    broker.credentials(CONTROLLER)
    await broker.start()
    cell = BenchCell(state, broker, free_port(), settings)
    try:
        yield cell
    finally:
        await asyncio.to_thread(cell.stop)
        await broker.stop()


def cores() -> int:
    """Return how many cores this machine lends."""
    return len(os.sched_getaffinity(0))
