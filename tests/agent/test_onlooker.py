"""A look that its limit ends: what came too late, or not often enough, is unknown and never ok."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from agent.desk import Desk
from agent.onlooker import _blind_late, _while_running, look
from agent.settings import Site, Watch
from agent.watched import watched
from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.policy import Policy
from checks.readings import HostReading
from tests.support.agent_node import EPOCH, ManualClock, MemoryJournal
from tests.support.surroundings import write_program


def busy(_readings: Sequence[HostReading]) -> tuple[Finding, ...]:
    """Find the host busy in every reading."""
    return (Finding("host.busy", "host", "", Verdict.FAILED, Action.REBOOT, "busy"),)


def late(*, raise_after: int, readings: int) -> tuple[str, str]:
    """Return verdict and reason when the limit passes after so many readings of a busy host."""
    says = (Outcome("", Verdict.FAILED, Action.REBOOT),)
    check = LevelCheck("host.busy", "busy", HostReading, busy, says, policy=Policy(raise_after=raise_after))
    clock = ManualClock().clock
    desk = Desk((check,), journal=MemoryJournal(), boot_id="boot-1", notify=lambda: None, clock=clock)
    for number in range(readings):
        desk.take(HostReading(float(number)), began=float(number), began_at=EPOCH + number)
    _blind_late(desk, 5.5)
    level = desk.levels(["host.busy"])["host.busy"]
    return level.verdict, level.because


def test_a_source_that_was_never_read_is_named() -> None:
    assert late(raise_after=1, readings=0) == ("unknown", "the source host gave no answer within 5.5 s")


def test_a_fault_that_hysteresis_still_holds_back_does_not_pass_as_ok() -> None:
    said = "the source host did not answer often enough within 5.5 s"
    assert late(raise_after=2, readings=1) == ("unknown", said)


def test_what_was_judged_in_time_stays() -> None:
    assert late(raise_after=2, readings=2) == ("failed", "busy")


async def test_a_runner_that_crashed_is_not_taken_for_a_slow_source() -> None:
    async def crash() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await _while_running(asyncio.create_task(crash()), asyncio.Event().wait())


async def test_a_source_that_hangs_keeps_no_other_from_being_seen_to_fail(tmp_path: Path) -> None:
    write_program(tmp_path, "bad", "echo broken; exit 2")
    write_program(tmp_path, "hangs", "sleep 600")
    watch = Watch(node="n1", site=Site(folder=tmp_path, interval_s=60, fast_interval_s=60))
    seen = await look(watch, watched(watch), ids=["site.bad", "site.hangs"], limit_s=6.0)
    assert {name: level.verdict for name, level in seen.levels.items()} == {
        "site.bad": "failed",
        "site.hangs": "unknown",
    }
