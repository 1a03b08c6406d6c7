"""What an adapter says decides what the engine does: retry, fail, or accept a no."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from controller import events
from controller.adapters import Filed, Hold, NodeSchedule, Notice, Waiting
from controller.cell import Cell
from controller.engine.effects import Effects
from controller.engine.orders import OrderDesk
from controller.errors import Permanent, Refused, Retryable
from controller.policy.playbook import Step, Verb
from controller.policy.rules import Budget, Rules
from controller.store.sqlite import SqliteLog
from tests.support.eventually import eventually
from tests.support.noticing import desk_of
from tests.support.policy import GPU_LOST, START, xid
from wire import messages, topics
from wire.messages import NodeFacts
from wire.orders import Order, OrderAction
from wire.signatures import verify


@dataclass(slots=True)
class Scheduler:
    """Answers each cordon with the next thing on its list."""

    answers: list[Exception | str]
    calls: int = 0
    name: str = "scripted"

    async def observe(self) -> Mapping[str, NodeSchedule]:
        return {}

    async def cordon(self, node: str, hold: Hold) -> str:
        assert node and hold.key
        self.calls += 1
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def drain(self, node: str, hold: Hold, *, jobs: str) -> tuple[str, ...]:
        raise Retryable(f"{node} {hold.key} {jobs}", after_s=10.0)

    async def uncordon(self, node: str, hold: Hold) -> str:
        raise Permanent(f"{node} {hold.key}")


@dataclass(slots=True)
class Emptied(Scheduler):
    """Has no job on any node, and keeps which holds were drained."""

    drained: list[Hold] = field(default_factory=list)

    async def drain(self, node: str, hold: Hold, *, jobs: str) -> tuple[str, ...]:
        assert node and jobs
        self.drained.append(hold)
        return ()


class Knowing(Emptied):
    """Knows who holds one device."""

    def reach(self, hold: Hold) -> str:
        return f"Those that held {hold.device} have gone."


class Nobody:
    """Takes no notices."""

    name = "nobody"
    repeatable = True

    async def send(self, notice: Notice) -> Filed:
        raise Permanent(notice.title)


@dataclass(slots=True)
class Link:
    """Keeps what was published."""

    connected: bool = True
    sent: list[tuple[str, bytes]] = field(default_factory=list)

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        assert not retain
        self.sent.append((topic, payload))


DRAINED = replace(
    GPU_LOST,
    steps=tuple(
        replace(step, parameters={"jobs": "requeue", "scope": "device"}) if step.verb is Verb.DRAIN else step
        for step in GPU_LOST.steps
    ),
)


@dataclass(slots=True)
class Bench:
    cell: Cell
    scheduler: Scheduler
    desk: OrderDesk
    link: Link
    now: list[float]

    def ended(self) -> list[events.StepEnded]:
        return [e.event for e in self.cell.log.read() if isinstance(e.event, events.StepEnded)]

    async def until_step_ended(self) -> events.StepEnded:
        for _ in range(500):
            ended = self.ended()
            if ended:
                return ended[0]
            await asyncio.sleep(0.01)
        raise AssertionError("no step ended")


@pytest.fixture
async def bench(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    now = [START]
    cell = Cell(SqliteLog(tmp_path / "events.sqlite"), Rules((GPU_LOST,), Budget(nodes=1)), clock=lambda: now[0])
    link, scheduler = Link(), Scheduler(list(request.param))
    desk = OrderDesk(link, "main", "k1", Ed25519PrivateKey.generate(), 7, lambda: now[0])  # type: ignore[arg-type]
    effects = Effects(cell, scheduler, desk_of(cell, Nobody(), Nobody(), lambda: now[0]), desk, lambda: now[0])
    cell.act = effects.act
    thinking = asyncio.create_task(cell.run())
    await cell.submit([events.NodeSeen("n1", "boot-1", NodeFacts()), events.PresenceChanged("n1", "online", "so")])
    yield Bench(cell, scheduler, desk, link, now)
    await effects.close()
    thinking.cancel()
    await asyncio.gather(thinking, return_exceptions=True)
    cell.log.close()


def broken(bench: Bench) -> asyncio.Future[list[events.Logged]]:
    return bench.cell.submit([events.FindingRaised("n1", "boot-1", xid("79"), bench.now[0])])


@pytest.mark.parametrize(
    ("bench", "outcome", "because", "calls"),
    [
        (["held"], "done", "held", 1),
        ([Refused("drained by hand")], "refused", "drained by hand", 1),
        ([Permanent("no such node")], "failed", "no such node", 1),
        ([Retryable("slurmctld restarts", after_s=0.01), "held"], "done", "held", 2),
        ([Retryable("slurmctld restarts", after_s=10_000)], "failed", "slurmctld restarts", 1),
        ([ZeroDivisionError("oops")], "failed", "crashed: ZeroDivisionError: oops", 1),
    ],
    indirect=["bench"],
)
async def test_an_adapters_word_decides(bench: Bench, outcome: str, because: str, calls: int) -> None:
    await broken(bench)
    ended = await bench.until_step_ended()
    assert (ended.outcome, bench.scheduler.calls) == (outcome, calls)
    assert because in ended.because


@pytest.mark.parametrize(
    ("scheduler", "said"),
    [
        (Knowing(["held"]), "Those that held GPU-0 have gone."),
        (Emptied(["held"]), "No job is left on the whole node: scripted cannot say which jobs hold GPU-0."),
    ],
)
async def test_a_drain_of_one_device_says_how_far_it_reached(tmp_path: Path, scheduler: Emptied, said: str) -> None:
    cell = Cell(SqliteLog(tmp_path / "events.sqlite"), Rules((DRAINED,), Budget(nodes=1)), clock=lambda: START)
    link = Link()
    desk = OrderDesk(link, "main", "k1", Ed25519PrivateKey.generate(), 7, lambda: START)  # type: ignore[arg-type]
    effects = Effects(cell, scheduler, desk_of(cell, Nobody(), Nobody(), lambda: START), desk, lambda: START)
    bench = Bench(cell, scheduler, desk, link, [START])
    cell.act = effects.act
    thinking = asyncio.create_task(cell.run())
    await cell.submit([events.NodeSeen("n1", "boot-1", NodeFacts()), events.PresenceChanged("n1", "online", "so")])
    await broken(bench)

    await eventually("the drain has ended", lambda: len(bench.ended()) == 2)

    assert [ended.because for ended in bench.ended()] == ["held", said]
    assert [hold.device for hold in scheduler.drained] == ["GPU-0"]
    await effects.close()
    thinking.cancel()
    await asyncio.gather(thinking, return_exceptions=True)
    cell.log.close()


@pytest.mark.parametrize("bench", [[]], indirect=True)
async def test_an_order_is_signed_with_the_term_and_sent_until_it_ends(bench: Bench) -> None:
    order_id = "inc-000001/reboot/1"
    from_now = events.StepIntended(
        "inc-000001",
        "automatic",
        "reboot",
        "reboot",
        1,
        order_id,
        "n1",
        "GPU-0",
        {},
        bench.now[0] + 60,
        events.Reason("so."),
    )
    effects = bench.cell.act
    effects(events.Logged(99, bench.now[0], from_now))
    await asyncio.sleep(0.01)
    await bench.desk.send_again()
    assert len(bench.link.sent) == 2
    topic, payload = bench.link.sent[0]
    body = messages.decode(payload, topics.parse(topic)).body
    assert isinstance(body, messages.SignedOrder)
    order = verify(body, trusted={"k1": bench.desk.key.public_key().public_bytes_raw()})
    assert (order.order_id, order.node, order.fencing_token, order.incident_id) == (order_id, "n1", 7, "inc-000001")
    bench.desk.ended(order_id)
    await bench.desk.send_again()
    assert len(bench.link.sent) == 2


@pytest.mark.parametrize("bench", [[]], indirect=True)
async def test_an_expired_order_is_not_sent_again(bench: Bench) -> None:
    bench.cell.act(
        events.Logged(
            99,
            bench.now[0],
            events.StepIntended(
                "i", "automatic", "reboot", "reboot", 1, "i/reboot/1", "n1", "", {}, START + 60, events.Reason("so.")
            ),
        )
    )
    await asyncio.sleep(0.01)
    bench.now[0] += 61
    await bench.desk.send_again()
    assert len(bench.link.sent) == 1


@pytest.mark.parametrize("bench", [[]], indirect=True)
async def test_a_node_that_came_back_gets_its_orders_at_once_and_no_others(bench: Bench) -> None:
    for node in ("n1", "n2"):
        now = bench.now[0]
        await bench.desk.send(Order(f"i/{node}", node, OrderAction.RUN_CHECKS, now, now + 60.0, 7))
    bench.desk.node_came_back("n2")
    bench.desk.node_came_back("n3")
    await asyncio.sleep(0.01)
    assert [topics.parse(topic).node for topic, _ in bench.link.sent] == ["n1", "n2", "n2"]


@dataclass(slots=True)
class Capable(Scheduler):
    """Reboots nodes, and says what it waits for; two jobs leave one after the other."""

    reboots: list[str] = field(default_factory=list)
    left: list[tuple[str, ...]] = field(default_factory=lambda: [("17", "18"), ("18",), ()])
    waits: str = ""

    async def reboot(self, node: str, hold: Hold) -> str:
        self.reboots.append(hold.key)
        if len(self.reboots) == 1:
            raise Retryable("slurmctld restarts", after_s=0.01)
        return f"{node} reboots"

    async def drain(self, node: str, hold: Hold, *, jobs: str) -> tuple[str, ...]:
        assert node and hold.key and jobs == "requeue"
        left = self.left.pop(0)
        self.waits = f"Waits for {', '.join(left)}."
        return left

    def waits_for(self, node: str) -> Waiting:
        assert node
        return Waiting(self.waits, START + 7_200.0)


BY_SCHEDULER = replace(
    GPU_LOST,
    steps=(
        Step("cordon", Verb.CORDON, 60.0),
        Step("drain", Verb.DRAIN, 600.0, parameters={"jobs": "requeue"}),
        Step("reboot", Verb.REBOOT, 600.0, parameters={"by": "scheduler"}),
        Step("uncordon", Verb.UNCORDON, 60.0),
    ),
)


@asynccontextmanager
async def running(scheduler: Scheduler, path: Path) -> AsyncIterator[Cell]:
    """A cell with one node, on which something is broken that a reboot by the scheduler mends."""
    cell = Cell(SqliteLog(path / "events.sqlite"), Rules((BY_SCHEDULER,), Budget(nodes=1)), clock=time.time)
    desk = OrderDesk(Link(), "main", "k1", Ed25519PrivateKey.generate(), 7, time.time)  # type: ignore[arg-type]
    effects = Effects(cell, scheduler, desk_of(cell, Nobody(), Nobody(), time.time), desk, time.time)
    cell.act = effects.act
    thinking = asyncio.create_task(cell.run())
    await cell.submit([events.NodeSeen("n1", "boot-1", NodeFacts()), events.PresenceChanged("n1", "online", "so")])
    await cell.submit([events.FindingRaised("n1", "boot-1", xid("79"), time.time())])
    yield cell
    await effects.close()
    thinking.cancel()
    await asyncio.gather(thinking, return_exceptions=True)
    cell.log.close()


async def until(cell: Cell, kind: type[events.StepProgressed | events.StepEnded], **wanted: str) -> list[Any]:
    """Return every event of a kind once one is as wanted."""
    async with asyncio.timeout(10.0):
        while True:
            found = [entry.event for entry in cell.log.read() if isinstance(entry.event, kind)]
            if any(all(getattr(event, name) == value for name, value in wanted.items()) for event in found):
                return found
            await asyncio.sleep(0.01)


async def test_a_scheduler_reboots_a_node_once_and_is_believed_when_the_boot_is_another(tmp_path: Path) -> None:
    scheduler = Capable(["held"])
    async with running(scheduler, tmp_path) as cell:
        noted = await until(cell, events.StepProgressed, step="reboot", state="accepted")
        assert [each.state for each in noted if each.step == "reboot"] == ["delayed", "accepted"]
        assert scheduler.reboots == ["inc-000001/reboot/1"] * 2
        assert cell.belief.incidents["inc-000001"].intent is not None

        await cell.submit([events.AgentStarted("n1", "boot-2", "boot-1", True, "1", time.time())])
        (ended,) = [e for e in await until(cell, events.StepEnded, step="reboot") if e.step == "reboot"]
    assert (ended.outcome, ended.because) == ("done", "The node came back with another boot id, boot-2.")


async def test_what_a_drain_waits_for_is_noted_when_it_changes(tmp_path: Path) -> None:
    async with running(Capable(["held"]), tmp_path) as cell:
        await until(cell, events.StepEnded, step="drain")
        noted = await until(cell, events.StepProgressed, step="drain")
    assert [(each.state, each.because, each.until) for each in noted if each.step == "drain"] == [
        ("waiting", "Waits for 17, 18.", START + 7_200.0),
        ("waiting", "Waits for 18.", START + 7_200.0),
    ]


async def test_a_scheduler_that_cannot_reboot_refuses(tmp_path: Path) -> None:
    class Plain(Scheduler):
        async def drain(self, node: str, hold: Hold, *, jobs: str) -> tuple[str, ...]:
            assert node and hold.key and jobs
            return ()

    async with running(Plain(["held"]), tmp_path) as cell:
        (ended,) = [e for e in await until(cell, events.StepEnded, step="reboot") if e.step == "reboot"]
    assert ended.outcome == "refused"
    assert ended.because == "The scheduler (scripted) cannot reboot nodes; leave out `by: scheduler`."
