"""The look at the scheduler, when the scheduler says what nobody expects."""

from __future__ import annotations

import asyncio
from pathlib import Path

from controller.adapters import NodeSchedule
from controller.cell import Cell
from controller.policy.rules import Budget, Rules
from controller.schedulers.command import CommandScheduler
from controller.schedulers.none import NoScheduler
from controller.store.sqlite import SqliteLog
from controller.watch import ScheduleWatch


class Broken(NoScheduler):
    """An adapter with a defect."""

    async def observe(self) -> dict[str, NodeSchedule]:
        raise ZeroDivisionError("oops")


async def test_an_adapter_that_breaks_is_no_end_of_the_controller(tmp_path: Path) -> None:
    cell = Cell(SqliteLog(tmp_path / "events.sqlite"), Rules((), Budget(nodes=1)))
    watch = ScheduleWatch(cell, Broken(tmp_path / "ledger"), lambda: 1.0)
    await watch.look()
    assert watch.error == "the adapter crashed: ZeroDivisionError: oops"


async def test_a_hook_that_prints_nesting_without_end_is_no_end_of_the_controller(tmp_path: Path) -> None:
    hook = tmp_path / "hook"
    hook.write_text("#!/bin/sh\nprintf '{\"nodes\":{\"n1\":'\nyes '{\"a\":' | head -n 100000 | tr -d '\\n'\n")
    hook.chmod(0o755)
    cell = Cell(SqliteLog(tmp_path / "events.sqlite"), Rules((), Budget(nodes=1)))
    watch = ScheduleWatch(cell, CommandScheduler(hook), lambda: 1.0)
    async with asyncio.timeout(10.0):
        await watch.look()
    assert watch.error.startswith(f"{hook} observe: standard output: ")
