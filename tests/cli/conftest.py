"""A running cell in a thread of its own, so that commands can be run against it as users run them."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.support.forked import FLEETMEND, run_forked
from tests.support.open_cell import OpenCell, open_cell

T = TypeVar("T")
Result = subprocess.CompletedProcess[str]


@dataclass(slots=True)
class ServedCell:
    """A cell that lives on another thread's event loop."""

    cell: OpenCell
    loop: asyncio.AbstractEventLoop

    @property
    def url(self) -> str:
        """Where it answers."""
        return self.cell.url

    def begin(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Begin something on the cell's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something on the cell's loop and return its result."""
        return self.begin(work).result(timeout=20)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[ServedCell]:
    """A cell with n1 to n10, all well, of which two may be out."""
    ready: Future[ServedCell] = Future()
    stop = asyncio.Event()

    async def serve() -> None:
        async with open_cell(tmp_path) as cell:
            await cell.add_nodes(*(f"n{number}" for number in range(1, 11)))
            ready.set_result(ServedCell(cell, asyncio.get_running_loop()))
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    found = ready.result(timeout=20)
    try:
        yield found
    finally:
        found.loop.call_soon_threadsafe(stop.set)
        thread.join()


def environment(**variables: str) -> dict[str, str]:
    """Return the process environment without any controller's address, plus these variables."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FLEETMEND_", "_FLEETMEND"))}
    return {**kept, "USER": "alice", "LOGNAME": "alice", "PYTHONWARNINGS": "error", **variables}


def run_cli(*arguments: str, stdin: str = "", **variables: str) -> Result:
    """Run `fleetmend` as a user does, in a process of its own."""
    return run_forked(FLEETMEND, *arguments, stdin=stdin, environment=environment(**variables))


def run_limited(*arguments: str, file_limit_bytes: int) -> Result:
    """Run `fleetmend` where no file that it writes gets longer, as on a disk that is full."""
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(),
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit_bytes, file_limit_bytes)),
    )


Run = Callable[..., Result]


@pytest.fixture
def run(served: ServedCell) -> Run:
    """`fleetmend` with the served cell as its controller."""

    def run_here(*arguments: str, stdin: str = "") -> Result:
        return run_cli(*arguments, stdin=stdin, FLEETMEND_URL=served.url)

    return run_here
