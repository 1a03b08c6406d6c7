"""Outside programs, run for real: however one ends, nothing of it stays open with us."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from controller.errors import Permanent, Retryable
from controller.schedulers.commands import Limits, run
from tests.support.eventually import eventually

LIMITS = Limits(deadline_s=0.2, output_bytes=1_000)


def open_files() -> set[str]:
    """Return what each of our descriptors stands for."""
    here = Path("/proc/self/fd")
    found = set()
    for descriptor in here.iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.add(f"{descriptor.name} {descriptor.readlink()}")
    return found


@pytest.mark.parametrize(
    ("script", "kind", "because"),
    [
        ("sleep 60", Retryable, r"sh -c sleep 60 was not done after 0.2 s and was killed"),
        ("exec sleep 60 >&- 2>&-", Retryable, "was not done after 0.2 s"),
        ("sleep 60 & exit 0", Retryable, "was not done after 0.2 s"),
        ("yes", Permanent, "sh -c yes printed more than 1000 bytes; it was killed"),
    ],
    ids=["hangs", "hangs with its output closed", "leaves a child with its output", "prints for ever"],
)
async def test_a_program_that_must_be_killed_leaves_nothing_open(
    script: str, kind: type[Exception], because: str
) -> None:
    before = open_files()

    with pytest.raises(kind, match=because):
        await run(("sh", "-c", script), LIMITS)

    assert open_files() == before


async def test_a_program_ends_with_the_call_that_is_cancelled(tmp_path: Path) -> None:
    before = open_files()
    calling = asyncio.create_task(run(("sh", "-c", f"echo $$ >{tmp_path}/id; sleep 60"), Limits(60.0, 1_000)))
    told = tmp_path / "id"
    await eventually("it runs", lambda: told.exists() and told.read_text().endswith("\n"))

    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling

    assert open_files() == before
    with pytest.raises(ProcessLookupError):
        os.kill(int(told.read_text()), 0)


def wait_for(path: Path) -> None:
    """Wait until a program wrote a line, and let asyncio hear nothing of that program meanwhile."""
    end = time.monotonic() + 10.0
    while not (path.exists() and path.read_text().endswith("\n")):
        assert time.monotonic() < end
        time.sleep(0.01)


def alive(group: int) -> list[str]:
    """Return what runs of a process group."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
    return found


async def test_a_call_that_is_cancelled_while_its_program_starts_leaves_nothing(tmp_path: Path) -> None:
    before, told = open_files(), tmp_path / "id"
    calling = asyncio.create_task(run(("sh", "-c", f"sleep 60 & echo $$ >{told}; wait"), Limits(60.0, 1_000)))
    for _ in range(2):
        await asyncio.sleep(0)
    wait_for(told)
    calling.cancel()
    began = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert time.monotonic() - began < 30.0
    assert open_files() == before
    await eventually("all of its group are gone", lambda: not alive(int(told.read_text())))


async def test_a_grandchild_that_fled_our_group_keeps_no_pipe_of_ours_open(tmp_path: Path) -> None:
    before = open_files()
    began = time.monotonic()

    with pytest.raises(Retryable, match="was not done after"):
        await run(("setsid", "sh", "-c", f"setsid sleep 60 & echo $! >{tmp_path}/id"), LIMITS)

    assert time.monotonic() - began < 2.0
    assert open_files() == before
    os.kill(int((tmp_path / "id").read_text()), signal.SIGKILL)


async def test_the_last_words_and_the_code_of_a_program_are_kept() -> None:
    ended = await run(("sh", "-c", "echo out; echo first >&2; echo last >&2; exit 3"), Limits(10.0, 1_000))

    assert (ended.code, ended.output, ended.last_words) == (3, b"out\n", "last")


async def test_many_at_once_leave_nothing_open() -> None:
    before = open_files()

    ended = await asyncio.gather(*(run(("sh", "-c", f"echo {n}"), Limits(30.0, 1_000)) for n in range(40)))

    assert [one.output for one in ended] == [b"%d\n" % number for number in range(40)]
    assert open_files() == before
