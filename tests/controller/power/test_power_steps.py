"""From a finding to a BMC and back: the engine, the policy and the adapter together, with a BMC that errs."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from controller import events
from controller.cell import Cell
from controller.engine.effects import Effects
from controller.engine.orders import OrderDesk
from controller.engine.powering import ask_for_cycle
from controller.errors import Refused
from controller.policy.incident import Incident
from controller.policy.playbook import Answers, Verb
from controller.policy.rules import Budget, Rules
from controller.power.bmcs import Bmc as Account
from controller.power.bmcs import Bmcs
from controller.power.redfish import RedfishPower
from controller.power.redfish_talk import Access
from controller.store.sqlite import SqliteLog
from tests.support import redfish
from tests.support.noticing import desk_of
from tests.support.open_cell import Holds, Notices
from tests.support.policy import AGENT_LOST, playbook, xid
from tests.support.redfish import DROPPED, HANG, RESET, SYSTEM, USER, Bmc, collection, older_tree
from wire.messages import NodeFacts

OTHER = "/redfish/v1/Systems/Other"
POWERED = playbook("gpu_lost", Verb.CORDON, Verb.DRAIN, Verb.POWER_CYCLE, Verb.UNCORDON)
BOOK = playbook("node_lost", Verb.CORDON, Verb.COLLECT, Verb.POWER_CYCLE, Verb.UNCORDON)
LOST = replace(
    BOOK,
    answers=(Answers("node.presence"),),
    precedence=1,
    steps=tuple(replace(step, on_failure="power_cycle") if step.verb is Verb.COLLECT else step for step in BOOK.steps),
)


class Mute:
    """A wire whose other end never answers."""

    connected = True

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        assert topic and payload and not retain


@dataclass
class Bench:
    cell: Cell
    scheduler: Holds
    bmc: Bmc
    effects: Effects

    async def tell(self, *said: events.Event) -> None:
        await self.cell.submit(list(said))

    async def break_gpu(self, node: str) -> None:
        await self.tell(events.FindingRaised(node, "boot-1", xid("79"), time.time()))

    def incident(self, node: str) -> Incident | None:
        return next((i for i in self.cell.belief.incidents.values() if i.node == node), None)

    async def until(self, node: str, is_so: Callable[[Incident], object]) -> Incident:
        async with asyncio.timeout(15.0):
            while (found := self.incident(node)) is None or not is_so(found):  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        return found

    async def of(self, kind: type[Any]) -> list[Any]:
        """Return the events of a kind that the log has."""
        await self.cell.caught_up()
        return [entry.event for entry in self.cell.log.read() if isinstance(entry.event, kind)]

    async def reboot(self, node: str) -> None:
        await self.tell(events.AgentStarted(node, "boot-2", "boot-1", True, "1", time.time()))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bmc]:
    with redfish.running_bmc(tmp_path_factory.mktemp("bmc"), {}) as bmc:
        yield bmc


@pytest.fixture
def bmc(running: Bmc) -> Iterator[Bmc]:
    """A BMC of n1, which is `Self`, and of n2, which is `Other`."""
    running.documents.clear()
    running.documents.update(older_tree())
    running.done.clear()
    running.documents["/redfish/v1/Systems"] = collection(SYSTEM, OTHER)
    for system in (SYSTEM, OTHER):
        target = f"{system}/Actions/ComputerSystem.Reset"
        action = {"target": target, "ResetType@Redfish.AllowableValues": ["On", "ForceOff", "ForceRestart"]}
        document = {**older_tree()[SYSTEM], "PowerState": "On", "Actions": {"#ComputerSystem.Reset": action}}
        running.documents |= {system: document, f"POST {target}": 204}
    yield running
    running.released.set()
    running.released = threading.Event()


@pytest.fixture
async def bench(tmp_path: Path, bmc: Bmc) -> AsyncIterator[Bench]:
    log = SqliteLog(tmp_path / "events.sqlite")
    term = log.begin_term()
    rules = Rules((POWERED, LOST, AGENT_LOST), Budget(nodes=5), breakers=(), domains=(), agent_lost_after_s=0.0)
    cell = Cell(log, rules)
    known = bmc.access()
    account = Account(known.url, USER, known.password_file)
    systems = {name: replace(account, system=system) for name, system in (("n1", "Self"), ("n2", "Other"))}
    adapter = RedfishPower(Bmcs(named=systems), Access(known.ca_file, deadline_s=2.0))
    desk = OrderDesk(Mute(), "main", "k1", Ed25519PrivateKey.generate(), term, time.time)  # type: ignore[arg-type]
    scheduler = Holds()
    notices = desk_of(cell, Notices("ticket"), Notices("page"), time.time)
    effects = Effects(cell, scheduler, notices, desk, time.time, power=adapter)
    cell.act = effects.act
    thinking = asyncio.create_task(cell.run())
    bench = Bench(cell, scheduler, bmc, effects)
    for node in ("n1", "n2", "n3", "n4"):
        await bench.tell(events.NodeSeen(node, "boot-1", NodeFacts()), events.PresenceChanged(node, "online", "so"))
    yield bench
    await effects.close()
    thinking.cancel()
    await asyncio.gather(thinking, return_exceptions=True)
    log.close()


def is_state(state: str) -> Callable[[Incident], bool]:
    return lambda incident: incident.progress is not None and incident.progress.state == state


async def test_a_node_is_power_cycled_once_and_believed_when_its_boot_id_is_another_one(bench: Bench) -> None:
    await bench.break_gpu("n1")
    incident = await bench.until("n1", is_state("accepted"))
    assert incident.progress is not None and incident.progress.because.startswith("ForceRestart was taken up by https:")
    await bench.reboot("n1")
    incident = await bench.until("n1", lambda found: found.closed_at)
    assert (incident.outcome, bench.bmc.done) == ("returned", [{"ResetType": "ForceRestart"}])


@pytest.mark.parametrize(
    ("says", "sentence"),
    [
        (401, "is refused to the user 'fleetmend' (HTTP 401)"),
        (404, "was answered with HTTP 404"),
        (501, "does none of"),
    ],
)
async def test_what_will_not_work_is_handed_to_people_with_the_sentence(bench: Bench, says: int, sentence: str) -> None:
    bench.bmc.documents[f"POST {RESET}"] = says
    await bench.break_gpu("n1")
    incident = await bench.until("n1", lambda found: found.outcome == "handed_over")
    assert sentence in incident.because
    (ended,) = [each for each in await bench.of(events.StepEnded) if each.step == "power_cycle"]
    assert (ended.outcome, ended.permanent) == ("failed", True)


@pytest.mark.parametrize("says", [409, 503])
async def test_what_passes_is_tried_again_later_and_says_so(bench: Bench, says: int) -> None:
    bench.bmc.documents[f"POST {RESET}"] = says
    await bench.break_gpu("n1")
    incident = await bench.until("n1", is_state("delayed"))
    assert incident.progress is not None and f"HTTP {says}" in incident.progress.because
    assert incident.progress.retry_at > time.time() and len(bench.bmc.done) == 1


@pytest.mark.parametrize("says", [500, DROPPED])
async def test_i4_what_is_in_doubt_is_watched_and_not_asked_for_again(bench: Bench, says: Any) -> None:
    bench.bmc.documents[f"POST {RESET}"] = says
    await bench.break_gpu("n1")
    incident = await bench.until("n1", is_state("in_doubt"))
    assert incident.intent is not None, "the step goes on"
    await bench.reboot("n1")
    incident = await bench.until("n1", lambda found: found.closed_at)
    assert (incident.outcome, len(bench.bmc.done)) == ("returned", 1)


async def test_a_bmc_that_hangs_keeps_no_other_incident_waiting(bench: Bench) -> None:
    bench.bmc.documents[f"POST {RESET}"] = HANG
    await bench.break_gpu("n1")
    await bench.until("n1", lambda found: found.intent is not None and found.intent.step == "power_cycle")
    await bench.break_gpu("n2")
    await bench.until("n2", is_state("accepted"))
    await bench.reboot("n2")
    await bench.until("n2", lambda found: found.closed_at)
    incident = bench.incident("n1")
    assert incident is not None and incident.progress is None, "n1's BMC still hangs"
    await bench.until("n1", is_state("in_doubt"))


async def test_power_is_not_cut_under_a_job_that_came_after_the_drain(bench: Bench) -> None:
    await bench.break_gpu("n1")
    incident = await bench.until("n1", is_state("accepted"))
    assert incident.intent is not None
    bench.bmc.done.clear()
    held = bench.cell.belief.nodes["n1"].hold_id
    await bench.tell(events.ScheduleObserved("n1", False, held, "", ["17"], time.time(), True))
    await bench.tell(events.StepEnded(incident.id, "power_cycle", 1, "in_doubt", "so", incident.intent.key))
    incident = await bench.until("n1", lambda found: found.outcome == "handed_over")
    assert "the scheduler still has job 17 on it" in incident.because
    assert bench.bmc.done == []


async def test_a_node_that_was_switched_off_is_switched_on_whatever_the_guard_says(bench: Bench) -> None:
    await bench.break_gpu("n1")
    incident = await bench.until("n1", is_state("accepted"))
    assert incident.intent is not None
    held = bench.cell.belief.nodes["n1"].hold_id
    await bench.tell(events.ScheduleObserved("n1", False, held, "", ["17"], time.time(), True))
    power, belief, intent = bench.effects.power, bench.cell.belief, incident.intent
    assert isinstance(power, RedfishPower)
    with pytest.raises(Refused, match="the scheduler still has job 17 on it"):
        await ask_for_cycle(power, belief, intent, term=1, resumed=False)
    bench.bmc.documents[SYSTEM]["PowerState"] = "Off"
    power._switched_off.add(intent.key)
    asked = await ask_for_cycle(power, belief, intent, term=1, resumed=False)
    assert asked.state == "accepted" and asked.because.startswith("n1 was off: On was taken up")
    assert not power.is_half_done(intent.key)


async def test_the_bmc_of_a_lost_node_gives_the_evidence(bench: Bench) -> None:
    await bench.tell(events.ScheduleObserved("n1", True, "", "", ["17"], time.time(), False))
    await bench.tell(events.PresenceChanged("n1", "lost", "gone"))
    incident = await bench.until("n1", is_state("accepted"))
    assert incident.fault_class == "node_lost"
    assert incident.evidence["bmc/power.txt"].startswith("power: On\n")
    (collected,) = [each for each in await bench.of(events.StepEnded) if each.step == "collect"]
    assert collected.because == ("The agent on n1 is not heard, so its BMC was asked: bmc/health.txt, bmc/power.txt.")
    assert len(bench.bmc.done) == 1, "the jobs of a node that is confirmed lost are dead already"


async def test_evidence_that_cannot_be_had_holds_nothing_up(bench: Bench) -> None:
    bench.bmc.documents[SYSTEM] = 503
    await bench.tell(events.ScheduleObserved("n1", True, "", "", [], time.time(), False))
    await bench.tell(events.PresenceChanged("n1", "lost", "gone"))
    incident = await bench.until("n1", is_state("delayed"))
    (collected,) = [each for each in await bench.of(events.StepEnded) if each.step == "collect"]
    assert collected.outcome == "failed" and "its BMC told nothing: " in collected.because
    assert incident.intent is not None and incident.intent.step == "power_cycle"
