"""What keeps the store bounded: compaction in a process of its own, and boots that are forgotten."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path

import pytest

from controller import keys
from controller.cell import Cell
from controller.events import Logged, PresenceChanged
from controller.housekeeping import Housekeeping
from controller.policy.rules import Budget, Rules
from controller.receipts import FORGET_AFTER_S, Receipts
from controller.sections.store import StoreSection
from controller.settings import ControllerSettings
from controller.store.log import EventLog, Receipt
from controller.store.postgresql import PostgresqlLog
from controller.store.signing import key_file
from controller.store.snapshot import restore
from controller.store.sqlite import SqliteLog
from tests.support.broker import until
from tests.support.postgres import Postgres

NOW = 1_790_000_000.0


async def filled(log: EventLog, count: int) -> Cell:
    log.begin_term()
    await log.append([Logged(n, NOW, PresenceChanged(f"n{n}", "online", "so")) for n in range(1, count + 1)], [])
    cell = Cell(log, Rules((), Budget(nodes=1)))
    cell.recall()
    return cell


async def looked_after(log: EventLog, settings: ControllerSettings, count: int) -> Housekeeping:
    cell = await filled(log, count)
    house = Housekeeping(cell, Receipts.recall(log), settings, lambda: NOW)
    looking = asyncio.create_task(house.run(every_s=0.05))
    is_small = count < 1000
    await until(lambda: house.size.snapshot_event_id or house.error or (is_small and house.size.events), limit_s=60)
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
    return house


async def test_a_log_that_grew_is_compacted_beside_the_controller(tmp_path: Path) -> None:
    settings = ControllerSettings(state=tmp_path, store=StoreSection(snapshot_every=1000, keep_days=36500))
    keys.load_or_make(key_file(settings))
    with closing(SqliteLog(tmp_path / "events.sqlite")) as log:
        house = await looked_after(log, settings, 1200)
        assert house.error == ""
        use = house.use()
        assert (use["events"], use["deleted_through"], use["snapshot_event_id"]) == (1200, 0, 1200)
        assert isinstance(use["snapshot_age_s"], float) and use["used_bytes"]
        assert restore(log) == (house.cell.belief, 0)


async def test_compaction_reads_the_password_from_its_file(tmp_path: Path, postgres: Postgres) -> None:
    server = postgres.new_database()
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_text(server.password)
    store = StoreSection(url=server.url, password_file=secret, snapshot_every=1000)
    settings = ControllerSettings(state=tmp_path, store=store)
    keys.load_or_make(key_file(settings))
    with closing(PostgresqlLog(server)) as log:
        house = await looked_after(log, settings, 1200)
        assert (house.error, house.size.snapshot_event_id) == ("", 1200)


async def test_a_small_log_is_left_as_it_is(tmp_path: Path) -> None:
    settings = ControllerSettings(state=tmp_path, store=StoreSection(snapshot_every=1000))
    with closing(SqliteLog(tmp_path / "events.sqlite")) as log:
        house = await looked_after(log, settings, 10)
        assert (house.size.events, house.use()["snapshot_age_s"], log.snapshots()) == (10, None, [])


async def test_a_compaction_that_fails_is_shown_and_the_controller_goes_on(tmp_path: Path) -> None:
    elsewhere = tmp_path / "a file"
    elsewhere.write_text("")
    settings = ControllerSettings(state=elsewhere, store=StoreSection(snapshot_every=1000))
    with closing(SqliteLog(tmp_path / "events.sqlite")) as log:
        house = await looked_after(log, settings, 1200)
        assert house.use()["error"] == "compaction ended with code 74"


@pytest.mark.parametrize(
    ("emptied_under", "age_s", "forgotten"),
    [
        ("boot-2", FORGET_AFTER_S + 1, True),
        ("boot-2", FORGET_AFTER_S - 1, False),
        ("boot-1", FORGET_AFTER_S + 1, False),
        ("", FORGET_AFTER_S + 1, False),
    ],
    ids=["over", "the broker may still hold some", "the same boot", "its node may still hold some"],
)
async def test_i7_a_boot_is_forgotten_only_when_nothing_of_it_can_come_again(
    tmp_path: Path, emptied_under: str, age_s: float, forgotten: bool
) -> None:
    with closing(SqliteLog(tmp_path / "events.sqlite")) as log:
        receipts = Receipts.recall(log)
        await log.append([], [Receipt("n1", "boot-1", 1)])
        receipts.commit(Receipt("n1", "boot-1", 1))
        if emptied_under:
            receipts.emptied["n1"] = emptied_under
        now = log.taken["n1", "boot-1"].heard_at + age_s
        assert receipts.over(now) == ([("n1", "boot-1")] if forgotten else [])
        await log.forget_boots(receipts.over(now))
        assert receipts.first(Receipt("n1", "boot-1", 1)) is forgotten


async def test_the_size_is_known_before_the_first_look_at_intervals(tmp_path: Path) -> None:
    with closing(SqliteLog(tmp_path / "events.sqlite")) as log:
        cell = await filled(log, 7)
        house = Housekeeping(cell, Receipts.recall(log), ControllerSettings(state=tmp_path), lambda: NOW)
        await house.measure()
        assert house.use()["events"] == 7


async def test_what_came_since_the_last_look_is_counted(tmp_path: Path) -> None:
    with closing(SqliteLog(tmp_path / "events.sqlite")) as log:
        house = await looked_after(log, ControllerSettings(state=tmp_path), 3)
        assert house.use()["events"] == 3

        await log.append([Logged(4, NOW, PresenceChanged("n9", "online", "so"))], [])
        await house.cell.catch_up()

        assert house.use()["events"] == 4
