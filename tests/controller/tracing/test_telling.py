"""Whole incidents in a real cell with a real log, told to a real receiver, over retries, kills and hand-overs."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest
import structlog

from controller.cell import Cell
from controller.errors import Retryable
from controller.events import Logged, StepEnded, StepIntended
from controller.policy.playbook import Playbook, Verb
from controller.store.sqlite import SqliteLog
from controller.tracing import current, otlp
from controller.tracing.calls import Errand, Peers
from controller.tracing.ids import trace_id_of
from controller.tracing.scene import Scene
from controller.tracing.sending import Receiver, Sender
from controller.tracing.telling import Teller
from tests.controller.test_interrupted import FINDING, NO_FUSE, RETURNED, new_world, rules
from tests.controller.test_interrupted_halfway import FLAKY
from tests.support.interrupted import Died, Fuse, World, live
from tests.support.otlp import Receiver as Received
from tests.support.otlp import Seen, check_trace, never, receiving
from tests.support.policy import playbook

HANDED_OVER = playbook("gpu_lost", Verb.CORDON, Verb.POWER_CYCLE, Verb.VERIFY, Verb.UNCORDON)
LIMIT_S = 20.0


def teller(cell: Cell, *, url: str, share: float = 1.0) -> Teller:
    receiver = Receiver(f"{url}/v1/traces", partial(otlp.encode, instance="host-1"), otlp.rejected)
    peers = Peers("counting", "bmc")
    return Teller(cell, Sender(receiver, every_s=0.0), "main", peers, time.time, share=share, settle_s=0.0)


@pytest.fixture
async def receiver() -> AsyncIterator[Received]:
    async with receiving() as found:
        yield found


async def one_life(
    store: Callable[[], SqliteLog],
    world: World,
    book: Playbook,
    receiver: Received,
    fuse: Fuse,
    *,
    share: float = 1.0,
    tellers: list[Teller] | None = None,
) -> Cell:
    """Run a controller until the incident has ended, or until it is killed; add its teller to `tellers`."""

    def traced(cell: Cell) -> Teller:
        made = teller(cell, url=receiver.url, share=share)
        if tellers is not None:
            tellers.append(made)
        return made

    return await live(store, world, rules(book), FINDING, fuse, until=time.monotonic() + LIMIT_S, traced=traced)


async def whole_life(tmp_path: Path, world: World, book: Playbook, receiver: Received) -> Cell:
    return await one_life(lambda: SqliteLog(tmp_path / "events.sqlite"), world, book, receiver, Fuse(NO_FUSE))


async def whole_log(tmp_path: Path) -> list[Logged]:
    with contextlib.closing(SqliteLog(tmp_path / "events.sqlite")) as log:
        return list(log.read())


def named(spans: list[Seen], name: str) -> list[Seen]:
    return [seen for seen in spans if seen.name == name]


async def test_an_incident_is_one_whole_trace(tmp_path: Path, receiver: Received) -> None:
    cell = await whole_life(tmp_path, new_world(), RETURNED, receiver)
    (incident,) = cell.belief.incidents.values()
    spans = receiver.spans()
    check_trace(spans)
    assert spans[0].trace == trace_id_of("main", incident.id, incident.opened_at)
    steps = [seen for seen in sorted(spans, key=lambda each: each.began) if seen.name.startswith("step ")]
    assert [step.attributes["fleetmend.step"] for step in steps] == [step.name for step in RETURNED.steps]
    assert {step.attributes["fleetmend.outcome"] for step in steps} == {"done"}
    (root,) = named(spans, "incident")
    assert {step.parent for step in steps} == {root.id}
    assert root.attributes["fleetmend.outcome"] == "returned"
    assert (root.notes[0], root.notes[-1]) == ("incident.opened", "incident.closed")
    assert root.ended >= max(seen.ended for seen in spans)


async def test_a_retry_is_an_event_of_its_step_and_a_call_of_its_own(tmp_path: Path, receiver: Received) -> None:
    world = new_world()
    world.unanswered = {"cordon": 2}
    await whole_life(tmp_path, world, FLAKY, receiver)
    check_trace(receiver.spans())
    (step,) = named(receiver.spans(), "step cordon")
    assert step.notes == ["intent.committed", "step.delayed", "step.delayed"]
    calls = named(receiver.spans(), "call cordon")
    assert [call.attributes.get("error.type", "") for call in calls] == ["Retryable", "Retryable", ""]
    assert [call.span.status.message for call in calls] == ["cordon is not there now", "cordon is not there now", ""]
    assert {call.parent for call in calls} == {step.id}
    assert {call.attributes["service.peer.name"] for call in calls} == {"counting"}
    served = named(receiver.spans(), "counting cordon")
    assert [(each.service, each.parent) for each in served] == [("fleetmend-scheduler", call.id) for call in calls]


async def test_a_step_that_fails_is_an_error_and_notices_are_calls(tmp_path: Path, receiver: Received) -> None:
    world = new_world()
    await whole_life(tmp_path, world, HANDED_OVER, receiver)
    spans = receiver.spans()
    (failed,) = named(spans, "step power_cycle")
    assert failed.attributes["fleetmend.outcome"] in {"failed", "refused"}
    assert not named(spans, "incident"), "it is not over: people have it"
    (ticket,), (page,) = named(spans, "file ticket"), named(spans, "file page")
    assert [each.attributes["service.peer.name"] for each in (ticket, page)] == ["ticket", "page"]
    assert [each.parent for each in (ticket, page)] == [
        named(spans, f"call {each}")[0].id for each in ("ticket", "page")
    ]
    assert world.traceparents == [f"00-{each.trace}-{each.id}-01" for each in (ticket, page)]


async def test_what_is_not_in_the_sample_is_not_told(tmp_path: Path, receiver: Received) -> None:
    path = tmp_path / "events.sqlite"
    await one_life(lambda: SqliteLog(path), new_world(), RETURNED, receiver, Fuse(NO_FUSE), share=0.0)
    assert receiver.requests == []


def steps_ended(log: SqliteLog, *, after: int) -> set[str]:
    """Return the steps that ended after an entry, as the log has them."""
    with contextlib.closing(log):
        found = [entry for entry in log.read() if entry.event_id > after]
        return {entry.event.step for entry in found if isinstance(entry.event, StepEnded)}


@pytest.mark.parametrize("burns_at", [3, 7, 12, 18, 24, 31])
async def test_killed_and_started_again_it_goes_on_in_the_same_trace(
    tmp_path: Path, receiver: Received, burns_at: int
) -> None:
    """Whoever goes on tells what it commits, and nothing that the one before it told."""
    world, fuse = new_world(), Fuse(burns_at)
    tellers: list[Teller] = []

    def store() -> SqliteLog:
        return SqliteLog(tmp_path / "events.sqlite")

    with contextlib.suppress(Died):
        await one_life(store, world, RETURNED, receiver, fuse, tellers=tellers)
    assert fuse.died.is_set(), "the kill was in the middle"
    before = len(receiver.spans())
    unheard = steps_ended(store(), after=tellers[0]._acted)
    await one_life(store, world, RETURNED, receiver, Fuse(NO_FUSE))
    spans = receiver.spans()
    assert before < len(spans)
    counted = Counter(seen.id for seen in spans)
    twice = [seen.name for seen in spans if counted[seen.id] > 1]
    assert twice == []
    assert len({seen.trace for seen in spans}) == 1
    assert all(seen.began <= seen.ended for seen in spans)
    steps = {seen.attributes["fleetmend.step"] for seen in spans if seen.name.startswith("step ")}
    missing = {step.name for step in RETURNED.steps} - steps
    assert missing <= unheard, "lost alone is what was committed and not heard any more"
    (root,) = named(spans, "incident")
    assert root.notes[0] == "incident.opened", "what was before the kill is in it"
    assert root.began <= min(seen.began for seen in spans)


@dataclass(slots=True)
class Slow:
    """A log that does not answer the first who asks what was before."""

    real: SqliteLog
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def timeline(self, *, node: str = "", incident_id: str = "", limit: int = 500) -> list[Logged]:
        if not self.asked.is_set():
            self.asked.set()
            await asyncio.Event().wait()
        return await self.real.timeline(node=node, incident_id=incident_id, limit=limit)


async def test_a_close_in_the_middle_of_an_entry_loses_nothing(tmp_path: Path, receiver: Received) -> None:
    """Whoever takes over and is closed while it reads what was before tells of its own steps all the same."""
    cell = await whole_life(tmp_path, new_world(), RETURNED, receiver)
    entries = await whole_log(tmp_path)
    with contextlib.closing(SqliteLog(tmp_path / "events.sqlite")) as real:
        slow = cell.log = Slow(real)  # type: ignore[assignment]  # all that is asked here
        told = teller(cell, url=receiver.url)
        before = len(receiver.spans())
        told.begin()
        told.act(next(entry for entry in entries if isinstance(entry.event, StepEnded)))
        await slow.asked.wait()
        await told.close()
    assert [seen.name for seen in receiver.spans()[before:]] == ["step cordon"]


async def test_telling_never_holds_a_decision_up(tmp_path: Path) -> None:
    """With a receiver that never answers an incident comes to its end all the same, and the end is not held up."""

    async with receiving(never) as receiver:
        began = time.monotonic()
        cell = await whole_life(tmp_path, new_world(), RETURNED, receiver)
        took_s = time.monotonic() - began
    assert [incident.outcome for incident in cell.belief.incidents.values()] == ["returned"]
    assert took_s < 10.0


async def test_a_flood_is_dropped_and_counted(tmp_path: Path, receiver: Received) -> None:
    told: list[Teller] = []

    def traced(cell: Cell) -> Teller:
        told.append(replace(teller(cell, url=receiver.url), settle_s=3600.0, most_heard=2))
        return told[0]

    path, until = tmp_path / "events.sqlite", time.monotonic() + LIMIT_S
    with structlog.testing.capture_logs() as logs:
        await live(
            lambda: SqliteLog(path), new_world(), rules(RETURNED), FINDING, Fuse(NO_FUSE), until=until, traced=traced
        )
    assert told[0].sender.dropped > 10
    said = [entry["because"] for entry in logs if entry["event"] == "traces.interrupted"]
    assert said == ["more happens than can be told"]


async def test_what_is_done_beside_the_steps_is_seen_too(tmp_path: Path, receiver: Received) -> None:
    """An errand hangs below the call on whose account it runs, else below the incident."""
    cell = await whole_life(tmp_path, new_world(), HANDED_OVER, receiver)
    (incident,) = cell.belief.incidents.values()
    cell.log = SqliteLog(tmp_path / "events.sqlite")
    told = teller(cell, url=receiver.url)
    carried: list[str] = []

    async def carry() -> str:
        carried.append(current.headers()["traceparent"])
        return "T-1"

    async def fail() -> None:
        raise Retryable("jira answered 503", after_s=1.0)

    async def step() -> str:
        return await told.errand(Errand(incident.id, "file ticket", "jira", "k1"), carry)()

    before = len(receiver.spans())
    told.begin()
    intent = next(entry.event for entry in await whole_log(tmp_path) if isinstance(entry.event, StepIntended))
    assert await told.watch(intent, step)() == "T-1"
    assert await told.errand(Errand(incident.id, "tell ticket", "jira", "k2"), carry)() == "T-1"
    with pytest.raises(Retryable):
        await told.errand(Errand(incident.id, "close ticket", "jira", "k3"), fail)()
    await told.close()
    cell.log.close()
    spans = receiver.spans()[before:]
    filed, updated, closed = (named(spans, f"{what} ticket")[0] for what in ("file", "tell", "close"))
    (call,) = named(spans, "call cordon")
    root = Scene(filed.trace, incident.id, "main").root
    assert [each.parent for each in (filed, updated, closed)] == [call.id, root, root]
    assert carried == [f"00-{each.trace}-{each.id}-01" for each in (filed, updated)]
    assert (closed.attributes["error.type"], closed.span.status.message) == ("Retryable", "jira answered 503")
    assert {each.attributes["service.peer.name"] for each in (filed, updated, closed)} == {"jira"}
