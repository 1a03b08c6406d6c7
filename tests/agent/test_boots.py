"""How the boot before ended, by what the outbox holds; what a crash leaves; states of any other kind."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from agent import boots, ledger
from agent.ledger import LEDGER, Ledger
from agent.outbox import Outbox
from checks.readings import LastEnd
from wire.orders import Order, OrderAction

NOW = 1_800_000_000.0


def order(action: OrderAction) -> Order:
    return Order(
        order_id="o1",
        node="n1",
        action=action,
        issued_at=NOW - 700.0,
        expires_at=NOW + 100.0,
        fencing_token=1,
    )


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path / "outbox.sqlite", "any")


def run_before(outbox: Outbox, root: Path, *, stopped_at: float = 0.0, at: float = NOW - 90_000.0) -> None:
    """Let an agent run in the boot before, and end in order if it is said when."""
    boots.keep(outbox, boots.begin(outbox, "before", now=at, up_s=100.0, root=root))
    if stopped_at:
        boots.leave(outbox, now=stopped_at)


def last_end(outbox: Outbox, root: Path, boot_id: str = "now") -> LastEnd | None:
    start = boots.begin(outbox, boot_id, now=NOW, up_s=60.0, root=root)
    boots.keep(outbox, start)
    return start.last_end


def test_the_first_boot_has_none_before(outbox: Outbox, tmp_path: Path) -> None:
    assert last_end(outbox, tmp_path) is None
    assert last_end(outbox, tmp_path) is None
    assert boots.previous_boot_id(outbox) == "now"


@pytest.mark.parametrize(
    ("stopped_at", "how"),
    [(0.0, "unexpected"), (NOW - 900.0, "orderly"), (NOW - 60.0 - 1800.0, "orderly"), (NOW - 1861.0, "unseen")],
)
def test_an_end_in_order_is_noted(outbox: Outbox, tmp_path: Path, stopped_at: float, how: str) -> None:
    run_before(outbox, tmp_path, stopped_at=stopped_at)
    assert last_end(outbox, tmp_path) == LastEnd(how, "before")


def test_a_reboot_that_was_ordered_is_none_unmeant(outbox: Outbox, tmp_path: Path) -> None:
    run_before(outbox, tmp_path)
    begun = ledger.begin(Ledger(), order(OrderAction.REBOOT), boot_id="before", now=NOW - 600.0)
    outbox.save(LEDGER, ledger.dump(begun))
    assert last_end(outbox, tmp_path) == LastEnd("ordered", "before")


@pytest.mark.parametrize(("action", "boot_id"), [(OrderAction.REBOOT, "long ago"), (OrderAction.COLLECT, "before")])
def test_no_other_order_excuses_it(outbox: Outbox, tmp_path: Path, action: OrderAction, boot_id: str) -> None:
    run_before(outbox, tmp_path)
    outbox.save(LEDGER, ledger.dump(ledger.begin(Ledger(), order(action), boot_id=boot_id, now=NOW - 600.0)))
    assert last_end(outbox, tmp_path) == LastEnd("unexpected", "before")


def test_it_is_remembered_when_the_agent_alone_is_started_again(outbox: Outbox, tmp_path: Path) -> None:
    run_before(outbox, tmp_path)
    first = last_end(outbox, tmp_path)
    boots.leave(outbox, now=NOW + 10.0)
    assert first is not None
    assert last_end(outbox, tmp_path) == first
    assert last_end(outbox, tmp_path, "next") == LastEnd("unexpected", "now")


def test_what_a_crash_left_is_found_and_nothing_older(outbox: Outbox, tmp_path: Path) -> None:
    run_before(outbox, tmp_path)
    files = {
        "sys/fs/pstore/dmesg-efi-170000000001001": (NOW - 300.0, "Panic#1 Part1\n<0>Kernel panic - not syncing: x\n"),
        "var/crash/202611271044/vmcore": (NOW - 200.0, "core"),
        "var/crash/202001010000/vmcore": (NOW - 90_001.0, "old"),
    }
    for name, (changed_at, text) in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
        os.utime(path, (changed_at, changed_at))
    end = last_end(outbox, tmp_path)
    assert end is not None
    assert [Path(trace).name for trace in end.traces] == ["vmcore", "dmesg-efi-170000000001001"]
    assert end.last_words.endswith("Kernel panic - not syncing: x\n")


@pytest.mark.parametrize("state", [{"boot_id": 7}, {"boot_id": "before", "last_end": "x"}, {"stopped_at": "never"}])
def test_a_state_that_cannot_be_read_claims_nothing(outbox: Outbox, tmp_path: Path, state: dict[str, Any]) -> None:
    outbox.save(boots.STARTS, state)
    assert last_end(outbox, tmp_path) is None


def test_a_state_of_the_version_before_is_understood(outbox: Outbox, tmp_path: Path) -> None:
    outbox.save(boots.STARTS, {"boot_id": "now"})
    assert last_end(outbox, tmp_path) is None
    outbox.save(boots.STARTS, {"boot_id": "before"})
    assert last_end(outbox, tmp_path) == LastEnd("unseen", "before")


def test_a_ledger_that_cannot_be_read_excuses_nothing(outbox: Outbox, tmp_path: Path) -> None:
    run_before(outbox, tmp_path)
    outbox.save(LEDGER, {"entries": 7})
    assert last_end(outbox, tmp_path) == LastEnd("unexpected", "before")
