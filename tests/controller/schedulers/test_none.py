from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from controller.adapters import Hold, NodeSchedule
from controller.errors import Permanent, Refused, Retryable
from controller.schedulers.none import NoScheduler


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "holds.json"


def write(ledger: Path, **nodes: dict[str, str]) -> None:
    ledger.write_text(json.dumps({"nodes": nodes}))


def put(ledger: Path, content: bytes) -> None:
    ledger.write_bytes(content)


def content_of(ledger: Path) -> bytes:
    return ledger.read_bytes()


async def test_without_a_file_nobody_holds_anything(ledger: Path) -> None:
    assert await NoScheduler(ledger).observe() == {}


async def test_a_hold_is_there_after_a_restart(ledger: Path, hold: Hold) -> None:
    await NoScheduler(ledger).cordon("n1", hold)

    assert await NoScheduler(ledger).observe() == {"n1": NodeSchedule(False, held_by="inc-000007")}


async def test_a_second_cordon_changes_nothing(ledger: Path, hold: Hold) -> None:
    scheduler = NoScheduler(ledger)
    await scheduler.cordon("n1", hold)
    before = content_of(ledger)

    said = await scheduler.cordon("n1", replace(hold, reason="another sentence"))

    assert said == "n1 is held for inc-000007 already."
    assert content_of(ledger) == before


async def test_a_node_given_back_is_still_known(ledger: Path, hold: Hold) -> None:
    await NoScheduler(ledger).cordon("n1", hold)
    await NoScheduler(ledger).uncordon("n1", hold)

    assert await NoScheduler(ledger).observe() == {"n1": NodeSchedule(True)}
    assert await NoScheduler(ledger).uncordon("n1", hold) == "Nobody holds n1."


async def test_a_hold_that_a_person_took_out_of_the_file_is_gone(ledger: Path, hold: Hold) -> None:
    scheduler = NoScheduler(ledger)
    await scheduler.cordon("n1", hold)
    write(ledger)

    assert await scheduler.observe() == {"n1": NodeSchedule(True)}
    with pytest.raises(Refused, match="n1 is not held for inc-000007: nobody holds it"):
        await scheduler.drain("n1", hold, jobs="wait")


async def test_a_person_s_hold_is_not_touched(ledger: Path, hold: Hold) -> None:
    write(ledger, n3={"foreign_reason": "memory test by hand"})
    before = content_of(ledger)
    scheduler = NoScheduler(ledger)

    for act in (scheduler.cordon("n3", hold), scheduler.uncordon("n3", hold), scheduler.drain("n3", hold, jobs="wait")):
        with pytest.raises(Refused, match=r"^n3 is held by somebody else: memory test by hand$"):
            await act

    assert await scheduler.observe() == {"n3": NodeSchedule(False, foreign_reason="memory test by hand")}
    assert content_of(ledger) == before


async def test_a_person_s_hold_over_ours_is_theirs(ledger: Path, hold: Hold) -> None:
    write(ledger, n1={"held_by": "inc-000007", "foreign_reason": "bad DIMM"})

    assert await NoScheduler(ledger).observe() == {"n1": NodeSchedule(False, foreign_reason="bad DIMM")}
    with pytest.raises(Refused, match="bad DIMM"):
        await NoScheduler(ledger).uncordon("n1", hold)


async def test_another_incident_of_ours_is_refused(ledger: Path, hold: Hold) -> None:
    await NoScheduler(ledger).cordon("n1", replace(hold, incident_id="inc-000008"))

    for act in (NoScheduler(ledger).cordon("n1", hold), NoScheduler(ledger).uncordon("n1", hold)):
        with pytest.raises(Refused, match="n1 is held for another incident of fleetmend: inc-000008"):
            await act


async def test_there_are_no_jobs_to_wait_for(ledger: Path, hold: Hold) -> None:
    scheduler = NoScheduler(ledger)
    await scheduler.cordon("n1", hold)

    assert await scheduler.drain("n1", hold, jobs="requeue") == ()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "Input data was truncated"),
        (b"{", "Input data was truncated"),
        (b'{"nodes": {"n1": {"held": "x"}}}', "unknown field `held`"),
        (b'{"nodes": {"n1": {"held_by": 7}}}', "Expected `str`, got `int`"),
        (b"\xff", "is not a ledger of holds"),
    ],
)
async def test_a_broken_file_is_named_and_left_as_it_is(ledger: Path, hold: Hold, content: bytes, problem: str) -> None:
    put(ledger, content)

    with pytest.raises(
        Permanent, match=rf"holds\.json is not a ledger of holds.*{problem}.*It must look like|{problem}"
    ):
        await NoScheduler(ledger).cordon("n1", hold)

    assert content_of(ledger) == content


async def test_a_directory_that_is_gone_is_worth_another_try(tmp_path: Path, hold: Hold) -> None:
    with pytest.raises(Retryable, match=r"holds\.json cannot be written: No such file or directory"):
        await NoScheduler(tmp_path / "gone" / "holds.json").cordon("n1", hold)


CHURN = """
import asyncio, sys
from pathlib import Path
from controller.adapters import Hold
from controller.schedulers.none import NoScheduler

async def churn():
    scheduler, hold = NoScheduler(Path(sys.argv[1])), Hold("inc-000007", "why " * 100_000, "key", 1)
    await scheduler.cordon("n1", hold)
    print("begun", flush=True)
    while True:
        await scheduler.uncordon("n1", hold)
        await scheduler.cordon("n1", hold)

asyncio.run(churn())
"""


def look_until_killed(ledger: Path, *, changes: int) -> None:
    """Let a process cordon and uncordon without end, look until so many changes were seen, and kill it in the middle.

    What a look finds is what a kill at that moment would have left. A look raises when the file is not whole.
    """
    with subprocess.Popen([sys.executable, "-c", CHURN, str(ledger)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"begun\n"
        try:
            holder = ""
            while changes:
                found = json.loads(ledger.read_bytes())["nodes"]["n1"]["held_by"]
                changes -= found != holder
                holder = found
        finally:
            writer.send_signal(signal.SIGKILL)


async def test_a_kill_at_any_moment_leaves_a_whole_file(ledger: Path, hold: Hold) -> None:
    await NoScheduler(ledger).cordon("n2", hold)
    for _ in range(3):
        look_until_killed(ledger, changes=40)

        seen = await NoScheduler(ledger).observe()

        assert seen["n2"].held_by == "inc-000007"
        assert seen["n1"].held_by in {"", "inc-000007"}


async def test_who_takes_over_writes_the_holds_of_the_log_into_a_file_of_its_own(ledger: Path, hold: Hold) -> None:
    write(ledger, n1={"held_by": "inc-000001"}, n2={"foreign_reason": "memory test by hand"})
    log_says = {"n2": NodeSchedule(False, "inc-000002"), "n3": NodeSchedule(False, "inc-000003")}
    scheduler = NoScheduler(ledger)

    await scheduler.adopt({**log_says, "n4": NodeSchedule(False, foreign_reason="reserved")})

    assert await NoScheduler(ledger).observe() == {
        "n1": NodeSchedule(True),
        "n2": NodeSchedule(False, foreign_reason="memory test by hand"),
        "n3": NodeSchedule(False, "inc-000003"),
        "n4": NodeSchedule(False, foreign_reason="reserved"),
    }
    assert await scheduler.uncordon("n3", replace(hold, incident_id="inc-000003")) == "n3 is given back."
