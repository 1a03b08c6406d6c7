"""What comes from nodes: validated, de-duplicated, committed, only then acknowledged. Bad input changes nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from checks.bench_outcome import Outcome
from checks.bench_result import BenchFault, BenchMachine, Benchmark, BenchNumber, BenchResult
from checks.finding import Action, Finding, Verdict
from controller import bench_events, events
from controller.allowance import CALM_S, MOST_WAITING
from controller.cell import Cell
from controller.intake import Intake
from controller.policy.benching.bench_rules import BenchRules
from controller.policy.presence import FLOODING
from controller.policy.rules import Budget, Rules
from controller.receipts import Receipts
from controller.store.log import Receipt
from controller.store.sqlite import SqliteLog
from tests.support.agent_node import settle
from wire import messages, topics
from wire.topics import Address, Channel
from wire.transport import Received

FINDING = Finding("gpu.xid", "GPU-0", "79", Verdict.FAILED, Action.REBOOT, "GPU-0 has fallen off the bus.")
NOW = 1_000_000.0


@dataclass(slots=True)
class Link:
    """The transport's other end: keeps what the controller published."""

    connected: bool = True
    published: list[tuple[str, messages.Body]] = field(default_factory=list)
    muted: frozenset[str] = frozenset()

    def mute(self, topics: Iterable[str]) -> None:
        self.muted = frozenset(topics)

    def tell(self, topic: str, payload: bytes) -> None:
        self.published.append((topic, messages.decode(payload, topics.parse(topic)).body))


@dataclass(slots=True)
class Door:
    """An intake with a real log behind it."""

    cell: Cell
    intake: Intake
    link: Link
    acknowledged: int = 0

    def _acknowledge(self) -> None:
        self.acknowledged += 1

    async def hand_in(self, topic: str, payload: bytes) -> None:
        await self.intake.take(Received(topic, payload, False, self._acknowledge))

    async def event(self, body: messages.Body, *, seq: int, node: str = "n1", boot_id: str = "boot-1") -> None:
        envelope = messages.Envelope(messages.VERSION, node, boot_id, seq, NOW, body)
        await self.hand_in(Address("main", node, Channel.EVENT).topic, messages.encode(envelope))

    async def status(self, findings: list[Finding], *, observed_at: float) -> None:
        body = messages.Status(messages.NodeFacts(), findings, {}, 0, NOW, observed_at)
        envelope = messages.Envelope(messages.VERSION, "n1", "boot-1", 0, NOW, body)
        await self.hand_in(Address("main", "n1", Channel.STATUS).topic, messages.encode(envelope))

    async def settle(self) -> None:
        await self.cell.submit([])
        while self.cell.lag_s(NOW + 1.0) >= 1.0:
            await self.cell.submit([])


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    log = SqliteLog(tmp_path / "events.sqlite")
    rules = Rules((), Budget(nodes=1), bench=BenchRules(idle_by="slurm"))
    cell = Cell(log, rules, clock=lambda: NOW)
    link = Link()
    intake = Intake(cell, link, Receipts.recall(log), "main", 60.0, lambda: NOW)  # type: ignore[arg-type]
    thinking = asyncio.create_task(cell.run())
    telling = asyncio.create_task(intake.acknowledge_stored())
    yield Door(cell, intake, link)
    for task in (thinking, telling):
        task.cancel()
    await asyncio.gather(thinking, telling, return_exceptions=True)
    log.close()


async def test_an_event_is_committed_before_it_is_acknowledged(door: Door) -> None:
    await door.event(messages.FindingRaised(FINDING, NOW), seq=1)
    assert (door.acknowledged, door.link.published) == (0, [])
    await door.settle()
    await settle()
    assert door.acknowledged == 1
    assert door.link.published == [(Address("main", "n1", Channel.ACK).topic, messages.Stored("boot-1", [1]))]
    assert [FINDING.key] == list(door.cell.belief.nodes["n1"].findings)


async def test_a_repeat_is_acknowledged_and_changes_nothing(door: Door) -> None:
    for _ in range(3):
        await door.event(messages.FindingRaised(FINDING, NOW), seq=1)
        await door.settle()
        await settle()
    stored = [entry for entry in door.cell.log.read() if entry.event.__class__.__name__ == "FindingRaised"]
    assert len(stored) == 1
    assert len(door.link.published) == 3
    assert door.intake.rejected["repeated"] == 2


async def test_a_repeat_is_known_after_a_restart(door: Door) -> None:
    await door.event(messages.FindingRaised(FINDING, NOW), seq=7)
    await door.settle()
    assert Receipts.recall(door.cell.log).committed(Receipt("n1", "boot-1", 7))


async def test_the_same_sequence_of_another_boot_is_new(door: Door) -> None:
    await door.event(messages.FindingRaised(FINDING, NOW), seq=1)
    await door.event(messages.FindingCleared(FINDING.key, "gone", NOW + 1), seq=1, boot_id="boot-2")
    await door.settle()
    assert door.cell.belief.nodes["n1"].findings == {}


def _whole() -> bytes:
    return messages.encode(
        messages.Envelope(messages.VERSION, "n1", "boot-1", 1, NOW, messages.FindingRaised(FINDING, NOW))
    )


@pytest.mark.parametrize(
    ("topic", "payload", "kind"),
    [
        ("fleetmend/v1/main/node/n1/event", b"", "malformed"),
        ("fleetmend/v1/main/node/n1/event", b"\xff\xfe", "malformed"),
        ("fleetmend/v1/main/node/n1/event", _whole()[:-20], "malformed"),
        ("fleetmend/v1/main/node/n1/event", b"[" * 100_000, "malformed"),
        ("fleetmend/v1/main/node/n1/event", b" " * 300_000, "oversized"),
        ("fleetmend/v1/main/node/n1/event", _whole().replace(b'"version":1', b'"version":2'), "version"),
        ("fleetmend/v1/main/node/n2/event", _whole(), "forged"),
        ("fleetmend/v1/main/node/n1/status", _whole(), "misplaced"),
        ("fleetmend/v1/other/node/n1/event", _whole(), "misplaced"),
        ("fleetmend/v1/main/node/n1/event", _whole().replace(b'"seq":1', b'"seq":0'), "malformed"),
        ("fleetmend/v1/main/node/../event", _whole(), "misaddressed"),
        ("something/else", _whole(), "misaddressed"),
    ],
)
async def test_bad_messages_are_counted_dropped_and_acknowledged(
    door: Door, topic: str, payload: bytes, kind: str
) -> None:
    await door.hand_in(topic, payload)
    await door.settle()
    assert dict(door.intake.rejected) == {kind: 1}
    assert door.acknowledged == 1
    assert list(door.cell.log.read()) == []


async def test_an_expired_message_is_dropped(door: Door) -> None:
    body = messages.FindingRaised(FINDING, NOW)
    envelope = messages.Envelope(messages.VERSION, "n1", "boot-1", 1, NOW, body, expires_at=NOW - 1)
    await door.hand_in(Address("main", "n1", Channel.EVENT).topic, messages.encode(envelope))
    assert dict(door.intake.rejected) == {"expired": 1}


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(payload=st.binary(max_size=300) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_refused_or_understood(payload: bytes) -> None:
    try:
        envelope = messages.decode(payload, Address("main", "n1", Channel.EVENT))
    except messages.Refused:
        return
    assert envelope.node == "n1"


@settings(max_examples=300, deadline=None)
@given(cut=st.integers(0, len(_whole())), flip=st.integers(0, len(_whole()) - 1), byte=st.integers(0, 255))
def test_a_damaged_message_is_refused_or_still_well_formed(cut: int, flip: int, byte: int) -> None:
    damaged = bytearray(_whole())
    damaged[flip] = byte
    try:
        envelope = messages.decode(bytes(damaged[:cut]), Address("main", "n1", Channel.EVENT))
    except messages.Refused:
        return
    assert messages.decode(messages.encode(envelope), Address("main", "n1", Channel.EVENT)) == envelope


@given(topic=st.text(max_size=80))
def test_any_topic_is_refused_or_ours(topic: str) -> None:
    try:
        address = topics.parse(topic)
    except ValueError:
        return
    assert address.topic == topic


async def test_a_level_heals_what_edges_missed(door: Door) -> None:
    await door.status([FINDING], observed_at=NOW + 1)
    await door.settle()
    assert door.cell.belief.nodes["n1"].findings[FINDING.key].origin == "level"
    await door.status([], observed_at=NOW + 2)
    await door.settle()
    assert door.cell.belief.nodes["n1"].findings == {}


async def test_a_level_is_handed_on_once_it_is_understood_and_not_when_it_is_retained(door: Door) -> None:
    heard: list[tuple[str, dict[str, float]]] = []
    door.intake.on_level = lambda node, level: heard.append((node, level.measures))
    body = messages.Status(messages.NodeFacts(), [], {}, 0, NOW, NOW, measures={"gpu_idle_temperature_celsius": 31.0})
    payload = messages.encode(messages.Envelope(messages.VERSION, "n1", "boot-1", 0, NOW, body))
    topic = Address("main", "n1", Channel.STATUS).topic
    await door.intake.take(Received(topic, payload, True, lambda: None))
    await door.hand_in(topic, payload)
    assert heard == [("n1", {"gpu_idle_temperature_celsius": 31.0})]


@pytest.mark.parametrize(("counters", "expected"), [(None, {}), ({"gpu_power_watts": 9.0}, {"gpu_power_watts": 9.0})])
async def test_levels_of_older_and_of_newer_agents_are_understood(
    door: Door, counters: dict[str, float] | None, expected: dict[str, float]
) -> None:
    heard: list[dict[str, float]] = []
    door.intake.on_level = lambda _node, level: heard.append(level.counters)
    body = messages.Status(messages.NodeFacts(), [], {}, 0, NOW, NOW)
    said = json.loads(messages.encode(messages.Envelope(messages.VERSION, "n1", "boot-1", 0, NOW, body)))
    del said["body"]["counters"]
    said["body"] |= {"of_a_later_version": {"any": ["thing"]}}
    if counters is not None:
        said["body"]["counters"] = counters
    await door.hand_in(Address("main", "n1", Channel.STATUS).topic, json.dumps(said).encode())
    assert heard == [expected]


async def test_an_older_level_does_not_undo_a_newer_edge(door: Door) -> None:
    await door.event(messages.FindingRaised(FINDING, NOW + 5), seq=1)
    await door.settle()
    await door.status([], observed_at=NOW + 4)
    await door.settle()
    assert FINDING.key in door.cell.belief.nodes["n1"].findings


async def test_a_silent_node_is_noticed_and_a_word_ends_its_silence(door: Door) -> None:
    now = NOW
    door.intake.clock = lambda: now
    await door.event(messages.FindingRaised(FINDING, NOW), seq=1)
    await door.settle()
    watching = asyncio.create_task(door.intake.watch_silence(every_s=0.001))
    now += 61
    for _ in range(100):
        await asyncio.sleep(0.001)
        if door.cell.belief.nodes["n1"].presence == "silent":
            break
    watching.cancel()
    assert door.cell.belief.silent == {"n1": NOW}
    await door.event(messages.FindingCleared(FINDING.key, "gone", now), seq=2)
    await door.settle()
    assert door.cell.belief.silent == {}


async def presence(door: Door, state: str, observed_at: float) -> str:
    """Hand in a node's presence and return what is believed then."""
    envelope = messages.Envelope(messages.VERSION, "n1", "boot-1", 0, NOW, messages.Presence(state, observed_at))
    await door.hand_in(Address("main", "n1", Channel.PRESENCE).topic, messages.encode(envelope))
    await door.settle()
    return door.cell.belief.nodes["n1"].presence


async def level(
    door: Door, sent_at: float, *, verdict: str = "ok", retained: bool = False, connected_at: float = 0.0
) -> str:
    """Hand in a node's status and return how its check is believed to stand then."""
    checks = {"gpu.ecc": messages.CheckLevel(verdict, 1.0)}
    body = messages.Status(messages.NodeFacts(), [], checks, 0, NOW, sent_at, connected_at=connected_at)
    envelope = messages.Envelope(messages.VERSION, "n1", "boot-1", 0, sent_at, body)
    address = Address("main", "n1", Channel.STATUS)
    await door.intake.take(Received(address.topic, messages.encode(envelope), retained, lambda: None))
    await door.settle()
    return door.cell.belief.nodes["n1"].checks["gpu.ecc"].verdict


async def test_a_last_will_counts_for_its_own_connection_and_not_for_a_later_one(door: Door) -> None:
    """A cluster may say the end of one connection after the beginning of the next."""
    assert await presence(door, "online", 10.0) == "online"
    assert await presence(door, "online", 20.0) == "online"
    assert await presence(door, "lost", 10.0) == "online"
    assert await presence(door, "stopped", 15.0) == "online"
    assert await presence(door, "lost", 20.0) == "lost"
    assert door.intake.rejected["late"] == 2
    assert door.acknowledged == 5


async def test_a_node_taken_for_lost_is_online_when_it_speaks_later(door: Door) -> None:
    assert await presence(door, "lost", 10.0) == "lost"
    for sent_at, retained in ((NOW - 1.0, False), (NOW + 1.0, True)):
        await level(door, sent_at, retained=retained)
        assert door.cell.belief.nodes["n1"].presence == "lost"
    await level(door, NOW + 2.0)
    assert door.cell.belief.nodes["n1"].presence == "online"


@pytest.mark.parametrize("will_first", [True, False])
async def test_a_kept_last_will_is_over_by_a_kept_level_of_a_later_connection(door: Door, will_first: bool) -> None:
    """A controller that starts cold has nothing else to go by."""
    if will_first:
        assert await presence(door, "lost", 10.0) == "lost"
    await level(door, 21.0, retained=True, connected_at=20.0)
    assert door.cell.belief.nodes["n1"].presence == "online"
    assert await presence(door, "lost", 10.0) == "online"

    assert await presence(door, "lost", 20.0) == "lost"
    await level(door, 21.0, retained=True, connected_at=20.0)
    assert door.cell.belief.nodes["n1"].presence == "lost"


async def test_an_older_level_that_comes_late_changes_nothing_unless_the_clock_was_set_back(door: Door) -> None:
    assert await level(door, NOW, verdict="ok") == "ok"
    assert await level(door, NOW - 5.0, verdict="failed") == "ok"
    assert await level(door, NOW - 7_200.0, verdict="failed") == "failed"


RESULT = BenchResult(Benchmark.GEMM, Outcome.PASS, "it ran", (BenchNumber("gemm_bf16", 700.0, "GPU-0"),))


async def leased(door: Door) -> str:
    """Let n1 be known and have a lease; return it."""
    await door.event(messages.AgentStarted(False, "", "1", NOW), seq=100)
    asked = bench_events.BenchAsked("run-1", ["n1"], ["gemm"], 1, "operator", "kim", "so")
    await door.cell.submit([asked])
    return next(iter(door.cell.belief.bench.leases))


async def test_a_result_is_committed_before_it_is_acknowledged_and_judged_with_it(door: Door) -> None:
    heard: list[bench_events.BenchEnded] = []
    door.intake.on_bench_ended = heard.append
    lease = await leased(door)
    acknowledged = door.acknowledged
    await door.event(messages.BenchEnded(lease, RESULT, NOW - 5.0, NOW), seq=101)
    assert (heard, door.acknowledged) == ([], acknowledged)
    await door.settle()
    assert heard == [bench_events.BenchEnded("n1", lease, RESULT, NOW - 5.0, NOW)]
    assert door.acknowledged == acknowledged + 1
    kinds = [type(entry.event).__name__ for entry in door.cell.log.read()]
    assert kinds[-4:] == ["BenchEnded", "BenchJudged", "LeaseEnded", "BenchRunEnded"]


async def test_a_result_that_comes_again_is_judged_once(door: Door) -> None:
    lease = await leased(door)
    for seq in (101, 101, 102):
        await door.event(messages.BenchEnded(lease, RESULT, NOW, NOW), seq=seq)
        await door.settle()
    judged = [entry for entry in door.cell.log.read() if isinstance(entry.event, bench_events.BenchJudged)]
    assert len(judged) == 1


async def test_a_result_that_says_more_than_it_may_is_an_error_and_condemns_nobody(door: Door) -> None:
    lease = await leased(door)
    faults = tuple(BenchFault(f"code-{number}", "so") for number in range(1_000))
    endless = msgspec.structs.replace(RESULT, outcome=Outcome.FAIL, faults=faults)
    await door.event(messages.BenchEnded(lease, endless, NOW, NOW), seq=101)
    await door.settle()
    judged = [e.event for e in door.cell.log.read() if isinstance(e.event, bench_events.BenchJudged)]
    assert [(each.outcome, each.because) for each in judged] == [
        ("error", "its result cannot be taken: 1000 faults, at most 256 may be")
    ]
    assert not door.cell.belief.nodes["n1"].findings


async def test_a_pass_may_clear_more_findings_than_a_policy_without_rest_would(door: Door) -> None:
    lease = await leased(door)
    codes = [f"code-{number}" for number in range(1_000)]
    found = [Finding("bench.gemm", "GPU-0", code, Verdict.FAILED, Action.NONE, "so") for code in codes]
    await door.cell.submit([events.FindingRaised("n1", "boot-1", each, NOW - 1.0, origin="bench") for each in found])
    assert len(door.cell.belief.nodes["n1"].findings) == 1_000
    floor = BenchNumber("device_to_host", 60.0, "GPU-0")
    passing = msgspec.structs.replace(RESULT, numbers=(floor,), machine=BenchMachine("NVIDIA H100 80GB HBM3", "550"))
    await door.event(messages.BenchEnded(lease, passing, NOW, NOW), seq=101)
    await asyncio.wait_for(door.settle(), 20.0)
    assert not door.cell.belief.nodes["n1"].findings


async def test_a_result_under_the_lease_of_another_node_proves_nothing(door: Door) -> None:
    lease = await leased(door)
    await door.event(messages.BenchEnded(lease, RESULT, NOW, NOW), seq=1, node="n2")
    await door.settle()
    assert door.cell.belief.bench.newest == {}
    assert list(door.cell.belief.bench.leases) == [lease]


async def test_a_meeting_is_passed_on_and_kept_nowhere(door: Door) -> None:
    heard: list[tuple[str, messages.BenchRendezvous]] = []
    door.intake.on_rendezvous = lambda node, said: heard.append((node, said))
    said = messages.BenchRendezvous("lease-000001", "00ff", NOW)
    for _ in range(2):
        await door.event(said, seq=7)
        await door.settle()
    assert heard == [("n1", said)]
    assert Receipts.recall(door.cell.log).committed(Receipt("n1", "boot-1", 7))
    assert "00ff" not in repr([entry.event for entry in door.cell.log.read()])


async def test_progress_is_heard_on_the_status_channel_and_is_no_event(door: Door) -> None:
    heard: list[messages.BenchProgress] = []
    door.intake.on_progress = lambda _node, said: heard.append(said)
    said = messages.BenchProgress("lease-000001", "gemm", 0.5, "halfway", NOW)
    envelope = messages.Envelope(messages.VERSION, "n1", "boot-1", 0, NOW, said)
    await door.hand_in(Address("main", "n1", Channel.STATUS).topic, messages.encode(envelope))
    await door.hand_in(Address("main", "n1", Channel.EVENT).topic, messages.encode(envelope))
    await door.settle()
    assert (heard, door.intake.rejected["misplaced"]) == ([said], 1)
    assert list(door.cell.log.read()) == []


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    numbers=st.lists(
        st.builds(
            BenchNumber,
            metric=st.sampled_from(["gemm_bf16", "memory_read", "", "\x00", "x" * 500]),
            value=st.none() | st.floats(allow_nan=False, allow_infinity=False),
            device=st.sampled_from(["", "GPU-0", "GPU-0>GPU-1", ">", "a>b>c"]),
            size_bytes=st.integers(-1, 2**60),
        ),
        max_size=5,
    ),
    outcome=st.sampled_from(Outcome),
    fault=st.none() | st.builds(BenchFault, st.text(max_size=20), st.text(max_size=20), st.text(max_size=20)),
    sku=st.sampled_from(["", "NVIDIA H100 80GB HBM3", "\n"]),
)
async def test_whatever_a_node_says_it_measured_the_cell_goes_on(
    door: Door, numbers: list[BenchNumber], outcome: Outcome, fault: BenchFault | None, sku: str
) -> None:
    run = f"run-{door.cell.belief.last_event_id}"
    await door.event(messages.AgentStarted(False, "", "1", NOW), seq=door.cell.belief.last_event_id + 1)
    await door.cell.submit([bench_events.BenchAsked(run, ["n1"], ["gemm"], 1, "operator", "kim", "so")])
    lease = next(iter(door.cell.belief.bench.leases))
    stood = set(door.cell.belief.nodes["n1"].findings)
    machine = BenchMachine(sku, "550", gpus=8)
    faults = () if fault is None else (fault,)
    result = BenchResult(Benchmark.GEMM, outcome, "so", tuple(numbers), faults, machine)
    await door.event(messages.BenchEnded(lease, result, NOW, NOW), seq=door.cell.belief.last_event_id + 10_000)
    await door.settle()
    await door.cell.submit([bench_events.BenchStopped(run, "kim", "so")])
    assert door.cell.belief.bench.leases == {}
    assert door.cell.belief.bench.runs[run].ended_at == NOW
    if outcome in {Outcome.SKIP, Outcome.ERROR} and not faults:
        assert set(door.cell.belief.nodes["n1"].findings) == stood


def other_fault(number: int) -> messages.FindingRaised:
    return messages.FindingRaised(replace(FINDING, device=f"GPU-{number}"), NOW)


async def test_a_node_that_floods_is_cut_short_and_named_and_others_are_heard(door: Door) -> None:
    for seq in range(1, MOST_WAITING + 51):
        await door.event(other_fault(seq % 3), seq=seq)
    await door.event(other_fault(0), seq=1, node="n2")
    await door.settle()
    await settle()
    assert door.intake.rejected == {"flooding": 50}
    assert door.link.muted == {Address("main", "n1", channel).topic for channel in Channel}
    assert door.acknowledged == MOST_WAITING + 51, "what is dropped must not come again from the broker"
    stored: dict[str, list[int]] = {}
    for topic, body in door.link.published:
        assert isinstance(body, messages.Stored)
        stored.setdefault(topic, []).extend(body.seqs)
    assert stored == {
        Address("main", "n1", Channel.ACK).topic: list(range(1, MOST_WAITING + 1)),
        Address("main", "n2", Channel.ACK).topic: [1],
    }
    await door.intake.note_floods()
    assert door.link.muted == frozenset(), "it is heard again, until it says too much again"
    found = door.cell.belief.nodes["n1"].findings[FLOODING].finding
    assert (found.verdict, FLOODING in door.cell.belief.nodes["n2"].findings) == (Verdict.DEGRADED, False)
    await door.status([], observed_at=NOW + 1.0)
    await door.settle()
    assert FLOODING in door.cell.belief.nodes["n1"].findings, "a node cannot clear it itself"
    door.intake.clock = lambda: NOW + CALM_S
    await door.intake.note_floods()
    assert FLOODING not in door.cell.belief.nodes["n1"].findings


async def test_a_node_that_has_much_to_say_keeps_no_other_waiting(door: Door) -> None:
    for seq in range(1, MOST_WAITING + 1):
        await door.event(other_fault(seq % 3), seq=seq)
    await door.event(other_fault(0), seq=1, node="n2")
    await door.cell.submit([])
    stored = door.cell.log.recall_taken()
    assert ("n2", "boot-1") in stored, "its turn comes after a few words of the other"
    assert 1 in stored["n1", "boot-1"]
    assert MOST_WAITING not in stored["n1", "boot-1"]
    await door.settle()
    assert MOST_WAITING in door.cell.log.recall_taken()["n1", "boot-1"]


async def test_a_node_cannot_have_the_cell_remember_without_end(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.intake.MOST_FAULTS", 5)
    monkeypatch.setattr("controller.receipts.MOST_BOOTS", 5)
    for seq in range(1, 20):
        await door.event(other_fault(seq), seq=seq)
        await door.settle()
    assert len(door.cell.belief.nodes["n1"].edges) == 5
    await door.event(messages.FindingCleared(other_fault(1).finding.key, "mended", NOW + 1.0), seq=20)
    for boot in range(2, 20):
        await door.event(
            messages.FindingCleared(other_fault(2).finding.key, "mended", NOW), seq=1, boot_id=f"boot-{boot}"
        )
    await door.settle()
    assert len(door.cell.log.recall_taken()) == 5
    assert door.intake.rejected["boundless"] == 14 + 14
    await door.intake.note_floods()
    assert FLOODING in door.cell.belief.nodes["n1"].findings


@dataclass
class Clocks:
    """A clock that somebody sets, and one that nobody does."""

    wall: float = NOW
    passed: float = 0.0

    def govern(self, door: Door) -> None:
        """Have a cell and a new intake go by these."""
        clock = door.cell.clock = lambda: self.wall
        receipts = Receipts.recall(door.cell.log)
        door.intake = Intake(
            door.cell,
            door.link,  # type: ignore[arg-type]
            receipts,
            "main",
            60.0,
            clock,
            monotonic=lambda: self.passed,
        )

    def pass_time(self, seconds: float) -> None:
        self.wall += seconds
        self.passed += seconds


DAY_S = 86_400.0


@pytest.mark.parametrize("jump_s", [DAY_S, -DAY_S])
async def test_a_clock_that_is_set_makes_nobody_silent_and_hides_nobody(door: Door, jump_s: float) -> None:
    clocks = Clocks()
    clocks.govern(door)
    await door.intake.note_silence()
    for node in ("n1", "n2"):
        await door.event(messages.FindingRaised(FINDING, NOW), seq=1, node=node)
    await door.settle()
    clocks.wall += jump_s
    clocks.pass_time(30.0)
    await door.intake.note_silence()
    assert {name: node.presence for name, node in door.cell.belief.nodes.items()} == {"n1": "online", "n2": "online"}
    assert door.intake.lag_s(clocks.wall) < 60.0
    await door.event(messages.FindingCleared(FINDING.key, "mended", NOW + 40.0), seq=2, node="n2")
    await door.settle()
    assert FINDING.key not in door.cell.belief.nodes["n2"].findings, "news count, whatever our clock says"
    clocks.pass_time(40.0)
    await door.intake.note_silence()
    assert {name: node.presence for name, node in door.cell.belief.nodes.items()} == {"n1": "silent", "n2": "online"}


async def test_a_clock_that_drifts_or_has_a_leap_second_is_followed(door: Door) -> None:
    clocks = Clocks()
    clocks.govern(door)
    await door.intake.note_silence()
    await door.event(messages.FindingRaised(FINDING, NOW), seq=1)
    heard_at = door.intake.last_seen["n1"]
    for _ in range(5):
        clocks.pass_time(1.0)
        clocks.wall -= 1.0
        await door.intake.note_silence()
    assert door.intake.last_seen["n1"] == heard_at


async def test_a_newer_agent_s_event_is_kept_as_it_came_and_its_outbox_flows_on(door: Door) -> None:
    said = '{"type":"finding.moved","from":"GPU-0","to":"GPU-1"}'
    await door.event(messages.Unknown("finding.moved", said), seq=1)
    await door.event(messages.FindingRaised(FINDING, NOW), seq=2)
    await door.settle()
    await settle()
    assert [body.seqs for _, body in door.link.published if isinstance(body, messages.Stored)] == [[1, 2]]
    kept = [entry.event for entry in door.cell.log.read() if isinstance(entry.event, events.AgentToldUnknown)]
    assert kept == [events.AgentToldUnknown("n1", "boot-1", "finding.moved", said)]
    assert (door.intake.unread, door.acknowledged) == (1, 2)
    assert [FINDING.key] == list(door.cell.belief.nodes["n1"].findings)


@pytest.mark.parametrize("channel", [Channel.STATUS, Channel.PRESENCE])
async def test_what_a_newer_agent_says_and_nobody_waits_for_is_told_and_dropped(door: Door, channel: Channel) -> None:
    envelope = messages.Envelope(messages.VERSION, "n1", "boot-1", 0, NOW, messages.Unknown("forecast", '{"type":"x"}'))
    await door.hand_in(Address("main", "n1", channel).topic, messages.encode(envelope))
    await door.settle()
    assert (door.intake.rejected["newer"], door.acknowledged) == (1, 1)
    assert "n1" not in door.cell.belief.nodes


async def test_a_newer_agent_s_level_with_words_that_are_not_known_is_a_level(door: Door) -> None:
    levels = {"gpu.xid": messages.CheckLevel("doomed", NOW), "gpu.count": messages.CheckLevel("ok", NOW)}
    status = messages.Status(messages.NodeFacts(agent_version="0.3.0"), [FINDING], levels, 0, NOW, NOW)
    document = json.loads(messages.encode(messages.Envelope(messages.VERSION, "n1", "boot-1", 0, NOW, status)))
    document["body"]["findings"][0]["verdict"] = "doomed"
    await door.hand_in(Address("main", "n1", Channel.STATUS).topic, json.dumps(document).encode())
    await door.settle()
    node = door.cell.belief.nodes["n1"]
    assert {name: level.verdict for name, level in node.checks.items()} == {"gpu.xid": "unknown", "gpu.count": "ok"}
    assert node.findings[FINDING.key].finding.verdict is Verdict.UNKNOWN
    assert (node.presence, node.facts.agent_version) == ("online", "0.3.0")


async def test_a_presence_that_is_not_known_is_unknown_until_the_next_level(door: Door) -> None:
    envelope = messages.Envelope(messages.VERSION, "n1", "boot-1", 0, NOW, messages.Presence("resting", NOW))
    await door.hand_in(Address("main", "n1", Channel.PRESENCE).topic, messages.encode(envelope))
    await door.settle()
    assert door.cell.belief.nodes["n1"].presence == "unknown"
    await door.status([], observed_at=NOW)
    await door.settle()
    assert door.cell.belief.nodes["n1"].presence == "online"


async def test_an_outcome_that_is_not_known_is_no_success(door: Door) -> None:
    await door.event(messages.OrderEnded("inc-1/reset_gpu/1", "half done", "One of two.", NOW, NOW), seq=1)
    await door.settle()
    (ended,) = [entry.event for entry in door.cell.log.read() if isinstance(entry.event, events.OrderEnded)]
    assert ended.outcome == "failed"
    assert ended.because == "the agent calls it 'half done', which this controller does not know: One of two."
