"""I7 and I12: a node's messages may come late, twice and in any order; what is believed in the end is the same.

The intake and the fold are the real ones. A node that lives a random history says it as agents do: an edge for each
change, and a level now and then. The broker then does with the messages what brokers may do.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.finding import Action, Finding, FindingKey, Verdict
from controller.cell import Cell
from controller.events import Logged
from controller.intake import Intake
from controller.meaning import MAX_CLOCK_AHEAD_S
from controller.policy.node_belief import NodeBelief
from controller.policy.rules import Budget, Rules
from controller.receipts import Receipts
from controller.store.log import Receipt
from controller.store.taken import Taken
from wire import messages
from wire.topics import Address, Channel
from wire.transport import Received

NOW = 1_700_000_000.0
DEVICES = ("GPU-0", "GPU-1")
VERDICTS = (Verdict.FAILED, Verdict.DEGRADED, Verdict.UNKNOWN)


class NoDisk:
    """A log that keeps nothing but the numbers of messages: what is durable is not this test's matter."""

    def __init__(self) -> None:
        self.taken: dict[tuple[str, str], Taken] = {}

    def recall_taken(self) -> dict[tuple[str, str], Taken]:
        return self.taken

    async def append(self, _entries: list[Logged], receipts: list[Receipt]) -> None:
        for receipt in receipts:
            self.taken.setdefault((receipt.node, receipt.boot_id), Taken()).add(receipt.seq)


class NoBroker:
    """Publishes nothing."""

    connected = True

    def tell(self, topic: str, payload: bytes) -> None:
        del topic, payload


@dataclass(slots=True)
class Node:
    """One node, its clock and what it says."""

    skew_s: float = 0.0
    now: float = NOW
    boot: int = 1
    seq: int = 0
    findings: dict[FindingKey, Finding] = field(default_factory=dict)
    said: list[messages.Envelope] = field(default_factory=list)

    @property
    def clock(self) -> float:
        return self.now + self.skew_s

    def say(self, body: Any, *, is_event: bool = True) -> None:
        self.seq += is_event
        seq = self.seq if is_event else 0
        self.said.append(messages.Envelope(messages.VERSION, "n1", f"boot-{self.boot}", seq, self.clock, body))

    def live(self, what: str, device: str, verdict: Verdict) -> None:
        """Let one thing happen."""
        self.now += 1.0
        finding = Finding("gpu.xid", device, "79", verdict, Action.REBOOT, "so it is")
        match what:
            case "raise":
                self.findings[finding.key] = finding
                self.say(messages.FindingRaised(finding, self.clock))
            case "clear" if finding.key in self.findings:
                del self.findings[finding.key]
                self.say(messages.FindingCleared(finding.key, "gone", self.clock))
            case "reboot":
                before, self.boot, self.seq = self.boot, self.boot + 1, 0
                self.say(messages.AgentStarted(True, f"boot-{before}", "1", self.clock))
            case _:
                self.tell_level()

    def tell_level(self) -> None:
        facts = messages.NodeFacts(gpu_count=8)
        checks = {"gpu.xid": messages.CheckLevel("ok", self.clock)}
        self.say(
            messages.Status(facts, list(self.findings.values()), checks, 0, NOW, self.clock, last_event_seq=self.seq),
            is_event=False,
        )


@dataclass(frozen=True, slots=True)
class Believed:
    """What must be the same."""

    boot_id: str
    findings: dict[FindingKey, tuple[str, str]]
    facts: messages.NodeFacts


def believed(node: NodeBelief) -> Believed:
    findings = {key: (str(r.finding.verdict), str(r.finding.action)) for key, r in node.findings.items()}
    return Believed(node.boot_id, findings, node.facts)


async def hear(said: list[messages.Envelope], *, at: float) -> Believed:
    """Take messages in, in this order; return what is believed of the node."""
    log: Any = NoDisk()
    clock = [at]
    cell = Cell(log, Rules((), Budget(nodes=1)), clock=lambda: clock[0])
    link: Any = NoBroker()
    intake = Intake(cell, link, Receipts.recall(log), "main", 1e9, lambda: clock[0])
    thinking = asyncio.create_task(cell.run())
    for envelope in said:
        clock[0] += 0.01
        channel = Channel.STATUS if isinstance(envelope.body, messages.Status) else Channel.EVENT
        received = Received(Address("main", "n1", channel).topic, messages.encode(envelope), False, lambda: None)
        await intake.take(received)
        await cell.submit([])
    thinking.cancel()
    await asyncio.gather(thinking, return_exceptions=True)
    return believed(cell.belief.nodes["n1"])


lives = st.lists(
    st.tuples(
        st.sampled_from(["raise", "raise", "clear", "clear", "level"]),
        st.sampled_from(DEVICES),
        st.sampled_from(VERDICTS),
    ),
    min_size=1,
    max_size=12,
)
lives_with_reboots = st.lists(
    st.tuples(
        st.sampled_from(["raise", "raise", "clear", "clear", "level", "reboot"]),
        st.sampled_from(DEVICES),
        st.sampled_from(VERDICTS),
    ),
    min_size=1,
    max_size=12,
)


def lived(history: list[tuple[str, str, Verdict]], *, skew_s: float = 0.0) -> Node:
    node = Node(skew_s)
    node.live("raise", DEVICES[0], Verdict.FAILED)
    for what, device, verdict in history:
        node.live(what, device, verdict)
    return node


def shuffled(said: list[messages.Envelope], seed: int) -> list[messages.Envelope]:
    """Return what a broker may make of it: everything at least once, in any order."""
    dice = random.Random(seed)
    delivered = [*said, *dice.choices(said, k=len(said) // 2)]
    dice.shuffle(delivered)
    return delivered


def ahead_and_behind() -> Iterator[float]:
    yield from (0.0, -1.0, -7_200.0, -86_400.0 * 400, MAX_CLOCK_AHEAD_S / 2)


@settings(max_examples=150, deadline=None)
@given(history=lives, seed=st.integers(0, 2**32), skew_s=st.sampled_from(list(ahead_and_behind())))
def test_i12_edges_and_levels_of_one_boot_in_any_order(
    history: list[tuple[str, str, Verdict]], seed: int, skew_s: float
) -> None:
    node = lived(history, skew_s=skew_s)
    right = asyncio.run(hear(node.said, at=node.now))
    assert asyncio.run(hear(shuffled(node.said, seed), at=node.now)) == right


@settings(max_examples=150, deadline=None)
@given(history=lives_with_reboots, seed=st.integers(0, 2**32))
def test_i12_reboots_in_any_order_are_healed_by_the_next_level(
    history: list[tuple[str, str, Verdict]], seed: int
) -> None:
    node = lived(history)
    said = list(node.said)
    node.now += 60.0
    node.tell_level()
    level = node.said[-1]
    right = asyncio.run(hear([*said, level], at=node.now))
    assert asyncio.run(hear([*shuffled(said, seed), level], at=node.now)) == right


@settings(max_examples=100, deadline=None)
@given(history=lives_with_reboots, seed=st.integers(0, 2**32), days=st.integers(1, 4_000))
def test_a_clock_far_ahead_is_healed_by_the_next_level_and_keeps_no_later_edge_out(
    history: list[tuple[str, str, Verdict]], seed: int, days: int
) -> None:
    node = lived(history, skew_s=days * 86_400.0)
    said = list(node.said)
    node.now += 60.0
    node.tell_level()
    level = node.said[-1]
    node.live("raise", "GPU-9", Verdict.FAILED)
    node.live("clear", "GPU-9", Verdict.FAILED)
    node.live("raise", "GPU-1", Verdict.FAILED)
    tail = [level, *node.said[-3:]]
    right = asyncio.run(hear([*said, *tail], at=node.now))
    assert asyncio.run(hear([*shuffled(said, seed), *tail], at=node.now)) == right
    assert FindingKey("gpu.xid", "GPU-1", "79") in right.findings
    assert FindingKey("gpu.xid", "GPU-9", "79") not in right.findings


@pytest.mark.parametrize("late", [False, True])
def test_the_start_of_an_older_boot_that_comes_late_is_no_reboot(late: bool) -> None:
    node = Node()
    node.live("reboot", "", Verdict.OK)
    node.live("reboot", "", Verdict.OK)
    said = node.said[::-1] if late else node.said
    assert asyncio.run(hear(said, at=node.now)).boot_id == "boot-3"
