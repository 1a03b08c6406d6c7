"""I8: who leads, for how long, and that nothing is done without."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from checks.finding import Action, Finding, Verdict
from controller.cell import Cell
from controller.engine.effects import Effects
from controller.engine.orders import OrderDesk
from controller.events import Event, FindingRaised, NodeSeen, PresenceChanged, StepEnded
from controller.leadership import Alone, LeadershipLost
from controller.policy.playbook import Verb
from controller.policy.rules import Budget, Rules
from controller.store.log import EventLog, Fenced, StoreError
from controller.store.postgresql import PostgresqlLog
from controller.store.postgresql_connection import Server
from controller.store.postgresql_leadership import LEASE_S, SESSION_LIMIT_S, PostgresqlLeadership
from controller.store.sqlite import SqliteLog
from tests.support.broker import until
from tests.support.interrupted import Fuse, Receiver, Scheduler, Wire, World
from tests.support.noticing import desk_of
from tests.support.policy import playbook, xid
from tests.support.postgres import Postgres
from wire.messages import NodeFacts
from wire.orders import Order, OrderAction

FINDING = Finding("gpu.xid", "GPU-0", "79", Verdict.FAILED, Action.REBOOT, "so")


@dataclass(slots=True)
class Clock:
    """Moves only when told to."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass(slots=True)
class Rivals:
    """Makes controllers of one cell."""

    postgres: Postgres
    server: Server
    made: list[PostgresqlLeadership] = field(default_factory=list)

    def another(self, monotonic: Callable[[], float] = time.monotonic) -> PostgresqlLeadership:
        name = f"c{len(self.made) + 1}"
        self.made.append(PostgresqlLeadership(PostgresqlLog(self.server), name, f"http://{name}", monotonic))
        return self.made[-1]


@pytest.fixture
async def rivals(postgres: Postgres) -> AsyncIterator[Rivals]:
    found = Rivals(postgres, postgres.new_database())
    yield found
    for each in found.made:
        await each.close()
        each.event_log.close()


async def test_one_leads_and_another_follows_when_it_lets_go(rivals: Rivals) -> None:
    first, second = rivals.another(), rivals.another()
    assert (await first.try_to_lead(), await second.try_to_lead()) == (True, False)
    assert (first.leads(), second.leads()) == (True, False)
    assert (first.leader_url, second.leader_url) == ("http://c1", "http://c1")
    await first.close()
    assert not first.leads()
    async with asyncio.timeout(10):
        while not await second.try_to_lead():  # noqa: ASYNC110 - the database is asked
            await asyncio.sleep(0.01)
    assert (first.event_log.term, second.event_log.term, second.leader_url) == (1, 2, "http://c2")
    assert (first.took_over, second.took_over) == (False, True)
    with pytest.raises(Fenced):
        await first.event_log.append([], [])
    await second.event_log.append([], [])


async def test_cells_in_one_database_have_leaders_of_their_own(rivals: Rivals) -> None:
    first = rivals.another()
    rivals.server = rivals.postgres.new_schema(rivals.server, "another_cell")
    assert await first.try_to_lead() and await rivals.another().try_to_lead()


async def test_a_lease_ends_before_the_database_ends_the_session(rivals: Rivals) -> None:
    clock = Clock()
    leader = rivals.another(clock)
    await leader.try_to_lead()
    clock.now += LEASE_S - 0.01
    assert leader.leads()
    clock.now += 0.01
    assert not leader.leads()
    assert LEASE_S < SESSION_LIMIT_S
    with pytest.raises(LeadershipLost, match=r"did not move for 5\.0 s, and its lease is 5 s"):
        await leader.keep()


async def test_a_leader_that_asks_keeps_its_lease(rivals: Rivals) -> None:
    leader = rivals.another()
    await leader.try_to_lead()
    began = leader._renewed_at
    keeping = asyncio.create_task(leader.keep())
    await until(lambda: leader._renewed_at != began)
    assert leader.leads()
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    assert not leader.leads()


@pytest.mark.parametrize(
    ("statement", "because"),
    [
        (
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'",
            "the database ended the session that led: terminating connection due to administrator command",
        ),
        ("UPDATE facts SET value = '9' WHERE name = 'term'", "term 9 has begun, this controller's was 1"),
    ],
    ids=["session-ended", "later-term"],
)
async def test_a_leader_learns_that_it_leads_no_more(rivals: Rivals, statement: str, because: str) -> None:
    leader = rivals.another()
    await leader.try_to_lead()
    keeping = asyncio.create_task(leader.keep())
    rivals.postgres.execute(statement, rivals.server.url.rpartition("/")[2])
    with pytest.raises(LeadershipLost, match=because):
        await keeping
    assert not leader.leads()


async def test_nobody_leads_by_a_database_that_does_not_answer(rivals: Rivals) -> None:
    leader = rivals.another()
    leader.event_log.server = Server("postgresql://fleetmend@127.0.0.1:9/cell")
    with pytest.raises(StoreError, match=r"cannot ask postgresql://127\.0\.0\.1:\d+/cell\d+ who leads: connection"):
        await leader.try_to_lead()
    assert not leader.leads()


async def test_who_is_alone_leads(tmp_path: Path) -> None:
    with closing(SqliteLog(tmp_path / "events.sqlite")) as log:
        alone = Alone(log, "http://c1")
        assert await alone.try_to_lead() and alone.leads()
        assert (log.term, alone.leader_url) == (1, "http://c1")


async def acted(log: EventLog, verb: Verb, leads: Callable[[], bool]) -> tuple[Counter[str], list[str]]:
    """Have a step intended and committed, and return what was done and which steps ended."""
    world, fuse = World("n1"), Fuse(10**9)
    cell = Cell(log, Rules((playbook("book", verb),), Budget(nodes=1)))
    wire = Wire(world, fuse, FINDING)
    desk = OrderDesk(wire, "main", "k1", world.key, 1, time.time, leads)  # type: ignore[arg-type]
    receivers = Receiver(world, fuse, "ticket"), Receiver(world, fuse, "page")
    notices = desk_of(cell, *receivers, time.time, leads=leads)
    effects = Effects(cell, Scheduler(world, fuse), notices, desk, time.time, leads=leads)
    cell.act = effects.act
    thinking = asyncio.create_task(cell.run())
    await cell.submit(list(BROKEN))
    for _ in range(20):
        await asyncio.sleep(0)
    await asyncio.gather(*effects._running.values())
    thinking.cancel()
    await asyncio.gather(thinking, return_exceptions=True)
    ended = [entry.event.outcome for entry in log.read() if isinstance(entry.event, StepEnded)]
    return world.effects, ended


BROKEN: list[Event] = [
    NodeSeen("n1", "boot-1", NodeFacts()),
    PresenceChanged("n1", "online", "so"),
    FindingRaised("n1", "boot-1", xid("79"), 1.0),
]


@pytest.mark.parametrize("verb", [Verb.CORDON, Verb.TICKET, Verb.PAGE, Verb.COLLECT])
async def test_i8_an_intent_without_the_lease_has_no_effect(tmp_path: Path, verb: Verb) -> None:
    """The lease may end between the commit of an intent and its effect."""
    with closing(SqliteLog(tmp_path / "led.sqlite")) as log:
        done, _ = await acted(log, verb, lambda: True)
        assert sum(done.values()) == 1
    with closing(SqliteLog(tmp_path / "lost.sqlite")) as log:
        assert await acted(log, verb, lambda: False) == (Counter(), [])


async def test_i8_an_order_is_not_sent_again_without_the_lease() -> None:
    world, leading = World("n1"), [True]
    wire = Wire(world, Fuse(10**9), FINDING)
    desk = OrderDesk(wire, "main", "k1", world.key, 1, time.time, lambda: leading[0])  # type: ignore[arg-type]
    now = time.time()
    await desk.send(Order("inc-000001/collect/1", "n1", OrderAction.COLLECT, now, now + 60.0, 1))
    await desk.send_again()
    leading[0] = False
    await desk.send_again()
    assert wire.fuse.crossed == ["before order", "after order"] * 2
