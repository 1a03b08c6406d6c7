"""What every test starts from."""

from __future__ import annotations

import gc
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import structlog
from hypothesis import HealthCheck, settings

settings.register_profile(
    "fleetmend",
    deadline=None,
    derandomize=os.environ.get("CI") == "true",
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
settings.load_profile("fleetmend")
"""In CI the same examples every time: a new failure is the change's own, not the dice's."""

PLAIN = [
    *structlog.get_config()["processors"][:-1],
    structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
]
"""Errors are logged with their traceback alone: a table of all that stood in each frame takes longer than the test."""

LONG = (
    "end_to_end/",
    "documents/test_runs",
    "systemd/",
    "controller/test_interrupted",
    "controller/benching/",
    "controller/schedulers/test_slurm",
    "cli/",
    "agent/simulation/",
    "agent/bench/",
)
"""Where files take longest, most of all first: no worker is to be left with one of them at the end."""

MEMORY = Path("/dev/shm")
ROOM_BYTES = 4 << 30
IN_MEMORY = ("controller/", "agent/simulation/", "agent/test_", "wire/")
"""Tests that wait for nothing but the disk when they are not in memory, and prove nothing about it."""

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell gives this to what it runs in the background, and every program that a test starts would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def memory() -> Iterator[Path | None]:
    """A folder in memory, where there is room for one."""
    if not MEMORY.is_dir() or not os.access(MEMORY, os.W_OK) or shutil.disk_usage(MEMORY).free < ROOM_BYTES:
        yield None
        return
    with TemporaryDirectory(prefix="fleetmend-tests-", dir=MEMORY, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path: Path, memory: Path | None) -> Iterator[Path]:
    """A folder of the test's own: in memory for those that commit to a database or make whole machines of files."""
    if memory is None or not request.node.nodeid.removeprefix("tests/").startswith(IN_MEMORY):
        yield tmp_path
        return
    with TemporaryDirectory(prefix="test-", dir=memory, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(autouse=True)
def _logging_as_it_comes() -> Iterator[None]:
    """A test that sets logging up as a process does must not leave its closed streams to the next one."""
    structlog.configure(processors=PLAIN)
    yield
    structlog.reset_defaults()


def pytest_collection_finish() -> None:
    """Have the garbage collector leave alone what lives to the end: all tests, and what they import."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest; workers are given files in this order."""
    items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    path = item.nodeid.removeprefix("tests/")
    return next((place for place, start in enumerate(LONG) if path.startswith(start)), len(LONG))
