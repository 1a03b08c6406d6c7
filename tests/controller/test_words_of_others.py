"""What others say of a node by the scheduler: a fact that comes and goes with their word, and alone does nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from checks.finding import Action, Finding, FindingKey, Verdict
from controller import events
from controller.policy.playbook import Answers
from controller.policy.rules import Rules
from controller.topology.scheduled import Scheduled, sources_of
from tests.support.eventually import eventually
from tests.support.open_cell import OpenCell, disk_playbook, off_the_bus, open_cell, rules
from wire import messages, topics
from wire.transport import Received

KEY = FindingKey("k8s.condition", "KernelDeadlock", "KernelDeadlock")


def deadlock(verdict: Verdict = Verdict.FAILED, because: str = "The kernel hangs.") -> Finding:
    return Finding(KEY.check, KEY.device, KEY.code, verdict, Action.NONE, because)


@pytest.fixture
async def cell(tmp_path: Path) -> AsyncIterator[OpenCell]:
    async with open_cell(tmp_path) as opened:
        await opened.add_nodes("n1", "n2")
        yield opened


async def until(cell: OpenCell, what: str, holds: Callable[[], bool]) -> None:
    cell.front.watch.look_now()
    await eventually(what, holds)


def raised(cell: OpenCell, node: str = "n1") -> Finding | None:
    found = cell.cell.belief.nodes[node].findings.get(KEY)
    return found.finding if found is not None else None


async def told(cell: OpenCell) -> list[events.Event]:
    kinds = events.FindingRaised | events.FindingCleared
    return [entry.event for entry in await cell.front.timeline() if isinstance(entry.event, kinds)]


async def status(cell: OpenCell, node: str, findings: list[Finding]) -> None:
    """Have a node send its full status, later than everything before."""
    cell.clock.now += 1
    body = messages.Status(messages.NodeFacts(), findings, {}, 0, cell.clock.now, cell.clock.now)
    envelope = messages.Envelope(messages.VERSION, node, "boot-1", 0, cell.clock.now, body)
    topic = topics.Address("main", node, topics.Channel.STATUS).topic
    await cell.front.intake.take(Received(topic, messages.encode(envelope), False, lambda: None))
    await cell.tell()


async def test_a_word_is_raised_when_it_is_said_and_cleared_when_it_is_not_said_any_more(cell: OpenCell) -> None:
    cell.scheduler.said["n1"] = (deadlock(),)
    await until(cell, "n1 has the finding", lambda: raised(cell) is not None)
    cell.clock.now += 1
    cell.scheduler.said["n1"] = (deadlock(because="The kernel hangs, said with other words."),)
    await cell.front.watch.look()
    cell.scheduler.said.clear()
    await until(cell, "it is gone", lambda: raised(cell) is None)
    first, last = await told(cell)
    assert isinstance(first, events.FindingRaised) and isinstance(last, events.FindingCleared)
    assert (first.node, first.origin, last.key, last.origin) == ("n1", "scheduler", KEY, "scheduler")


async def test_another_verdict_is_news(cell: OpenCell) -> None:
    cell.scheduler.said["n1"] = (deadlock(),)
    await until(cell, "n1 has the finding", lambda: raised(cell) is not None)
    cell.clock.now += 1
    cell.scheduler.said["n1"] = (deadlock(Verdict.UNKNOWN),)
    await until(cell, "it is unknown", lambda: (found := raised(cell)) is not None and found.verdict == "unknown")


async def test_the_status_of_the_node_clears_its_own_findings_and_not_the_words_of_others(cell: OpenCell) -> None:
    cell.scheduler.said["n1"] = (deadlock(),)
    await until(cell, "n1 has the finding", lambda: raised(cell) is not None)
    await cell.tell(events.FindingRaised("n1", "boot-1", off_the_bus(), cell.clock.now))
    await status(cell, "n1", [])
    assert list(cell.cell.belief.nodes["n1"].findings) == [KEY]


async def test_a_node_that_left_the_scheduler_is_spoken_of_by_nobody(cell: OpenCell) -> None:
    cell.scheduler.said["n1"] = (deadlock(),)
    await until(cell, "n1 has the finding", lambda: raised(cell) is not None)
    cell.clock.now += 1
    cell.scheduler.nodes.discard("n1")
    await until(cell, "it is gone", lambda: raised(cell) is None)


@pytest.mark.parametrize("verdict", [Verdict.FAILED, Verdict.DEGRADED, Verdict.UNKNOWN])
async def test_nothing_is_done_about_a_word_that_no_playbook_answers(cell: OpenCell, verdict: Verdict) -> None:
    """I1 for `unknown`; the others are facts."""
    cell.scheduler.said["n1"] = (deadlock(verdict),)
    await until(cell, "n1 has the finding", lambda: raised(cell) is not None)
    await cell.tell()
    assert (cell.cell.belief.incidents, cell.scheduler.held) == ({}, {})


async def test_it_joins_no_incident_of_the_nodes_own_findings(cell: OpenCell) -> None:
    await cell.nodes.find("n1", off_the_bus())
    await eventually("an incident is open", lambda: bool(cell.cell.belief.open_incidents))
    cell.scheduler.said["n1"] = (deadlock(),)
    await until(cell, "n1 has the finding", lambda: raised(cell) is not None)
    await cell.tell()
    (incident,) = cell.cell.belief.incidents.values()
    assert KEY not in incident.condemned_by


async def test_a_playbook_of_the_site_may_answer_it_and_no_node_is_asked_to_judge_it(tmp_path: Path) -> None:
    answers = (Answers(KEY.check, frozenset({"KernelDeadlock"})),)
    book = replace(disk_playbook(), name="deadlock", fault_class="deadlock", answers=answers)
    async with open_cell(tmp_path, Rules((book,), rules().budget)) as cell:
        await cell.add_nodes("n1")
        cell.scheduler.said["n1"] = (deadlock(),)
        await until(cell, "an incident is open", lambda: bool(cell.cell.belief.open_incidents))
        (incident,) = cell.cell.belief.open_incidents.values()
        assert (incident.node, incident.device, incident.fault_class) == ("n1", "KernelDeadlock", "deadlock")


async def test_places_come_from_what_the_scheduler_sees_anyway(cell: OpenCell) -> None:
    cell.scheduler.places["n1"] = {"rack": ("r7",)}
    places = await Scheduled(cell.scheduler, 60.0).read()
    assert places.places_of("n1") == {"rack": ("r7",)}
    assert places.places_of("n2") == {}


async def test_only_schedulers_that_tell_places_are_asked_for_them(cell: OpenCell) -> None:
    assert sources_of(cell.scheduler, 60.0) == ()
    cell.scheduler.name = "kubernetes"
    (source,) = sources_of(cell.scheduler, 30.0)
    assert (source.name, source.interval_s) == ("kubernetes", 30.0)
