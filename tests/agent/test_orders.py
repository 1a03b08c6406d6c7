"""Orders: whom the node obeys, once, and what it says afterwards; the ledger and the evidence."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import shutil
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from agent import book as books
from agent import ledger as ledgers
from agent.book import Book, Moment
from agent.deeds import Deeds
from agent.desk import Desk
from agent.evidence import MAX_BYTES, bound, report
from agent.ledger import LEDGER, Ledger
from agent.machine import ActionFailed, ActionRefused
from agent.orders import Orders, Rules
from agent.sources.tool import Tool
from agent.telling import Telling
from checks.finding import Action, Finding, Verdict
from checks.gpu import xid
from checks.readings import NvmlReading
from tests.support.agent_node import EPOCH, PCI, UUID, ManualClock, MemoryJournal, ScriptedMachine, nvml, settle
from wire.messages import CheckLevel, Envelope, NodeFacts, OrderEnded, SignedOrder, Status
from wire.orders import Order, OrderAction
from wire.signatures import sign

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes([1] * 32))
EVERYTHING = frozenset(OrderAction)


@dataclass(slots=True)
class Levels:
    """What the runner would say, as a test sets it."""

    levels: dict[str, CheckLevel] = field(default_factory=dict)
    asked: list[list[str]] = field(default_factory=list)
    kernel_lines: tuple[str, ...] = ("line 1", "line 2")
    reading: NvmlReading | None = field(default_factory=lambda: nvml(2_000.0))
    before: NvmlReading | None = None

    @property
    def last_readings(self) -> Mapping[str, Any]:
        """One reading: `before` until a check is run, when it is there."""
        reading = self.reading if self.asked or self.before is None else self.before
        return {"nvml": reading} if reading is not None else {}

    async def run_checks(self, ids: Iterable[str]) -> dict[str, CheckLevel]:
        """Return what the test set."""
        self.asked.append(list(ids))
        return self.levels

    def status(self) -> Status:
        """Return an empty level."""
        return Status(NodeFacts(), [], {}, 0, 0.0, 0.0)


@dataclass(slots=True)
class Node:
    """A node that takes orders."""

    machine: ScriptedMachine = field(default_factory=ScriptedMachine)
    journal: MemoryJournal = field(default_factory=MemoryJournal)
    clock: ManualClock = field(default_factory=ManualClock)
    checks: Levels = field(default_factory=Levels)
    allowed: frozenset[OrderAction] = EVERYTHING
    desk: Desk = field(init=False)
    orders: Orders = field(init=False)

    def __post_init__(self) -> None:
        """Start, or start again on the same journal."""
        self.desk = Desk(
            (xid.CHECK,),
            journal=self.journal,
            boot_id=self.machine.boot,
            notify=lambda: None,
            clock=self.clock.clock,
        )
        rules = Rules("n1", {"main": KEY.public_key().public_bytes_raw()}, self.allowed)
        deeds = Deeds(self.machine, self.checks, self.desk, self.clock.clock)
        self.orders = Orders(rules, deeds, Telling(self.journal, self.desk, lambda: None), self.clock.clock)

    def again(self, *, boot: str = "boot-1") -> Node:
        """Return the node as its agent starts next."""
        return Node(ScriptedMachine(boot=boot), self.journal, self.clock, allowed=self.allowed)

    def trust(self, keys: Mapping[str, Ed25519PrivateKey]) -> None:
        """Trust these keys and no others."""
        trusted = {key_id: key.public_key().public_bytes_raw() for key_id, key in keys.items()}
        self.orders._rules = replace(self.orders._rules, trusted=trusted)

    async def give(self, order: Order, *, key: Ed25519PrivateKey = KEY, key_id: str = "main") -> None:
        """Let an order come, and whatever follows from it happen."""
        await self.hand(sign(order, key_id=key_id, key=key))
        await settle()

    async def hand(self, signed: SignedOrder) -> None:
        """Let signed bytes come."""
        await self.orders.receive(signed, Envelope(1, "n1", "", 0, 0.0, signed))

    @property
    def ended(self) -> list[tuple[str, str]]:
        """What was told: order and outcome."""
        return [(event.order_id, event.outcome) for event in self.answers]

    @property
    def answers(self) -> list[OrderEnded]:
        """What was told, whole."""
        return [event for event in self.journal.events if isinstance(event, OrderEnded)]


def order(action: OrderAction = OrderAction.RESET_GPU, order_id: str = "i1/reset/1", **changes: Any) -> Order:
    """Return an acceptable order, as changed."""
    now = EPOCH + 1_000.0
    return replace(
        Order(order_id, "n1", action, issued_at=now, expires_at=now + 60.0, fencing_token=5, device=UUID), **changes
    )


async def test_an_order_is_carried_out_once_however_often_it_comes() -> None:
    node = Node()
    for _ in range(3):
        await node.give(order())
    assert [f"reset_gpu {UUID}"] == node.machine.did
    assert node.ended == [("i1/reset/1", "done")] * 3
    first = node.answers[0]
    assert (f"did reset_gpu {UUID}", EPOCH + 1_000.0, {"output.txt": f"reset_gpu {UUID}"}) == (
        first.because,
        first.started_at,
        first.evidence,
    )
    assert node.desk.last_event_seq == 3


async def test_an_order_that_comes_again_while_it_is_under_way_is_not_begun_again() -> None:
    node = Node()
    node.machine.gate.clear()
    await node.give(order())
    await node.give(order())
    assert node.ended == []
    node.machine.gate.set()
    await settle()
    assert node.ended == [("i1/reset/1", "done")]
    assert len(node.machine.did) == 1


async def test_a_replay_after_a_restart_is_answered_from_the_ledger() -> None:
    node = Node()
    await node.give(order())
    again = node.again()
    await again.give(order())
    assert again.machine.did == []
    assert again.ended == [("i1/reset/1", "done")] * 2


async def test_orders_are_carried_out_one_after_another() -> None:
    node = Node()
    node.machine.gate.clear()
    await node.give(order())
    await node.give(order(OrderAction.RESTART_SERVICE, "i2/restart/1", parameters={"service": "slurmd.service"}))
    await node.give(order(OrderAction.RESTART_SERVICE, "i3/restart/1", device="kubelet"))
    assert [f"reset_gpu {UUID}"] == node.machine.did
    node.machine.gate.set()
    await settle()
    assert [f"reset_gpu {UUID}", "restart_service slurmd.service", "restart_service kubelet"] == node.machine.did


@pytest.mark.parametrize(
    ("key", "key_id", "changes"),
    [
        (STRANGER, "main", {}),
        (KEY, "other", {}),
        (KEY, "main", {"node": "n2"}),
        (KEY, "main", {"expires_at": EPOCH - 86_400.0}),
    ],
)
async def test_what_is_forged_misaddressed_or_ancient_is_dropped_without_a_word(
    key: Ed25519PrivateKey, key_id: str, changes: dict[str, Any]
) -> None:
    node = Node()
    await node.give(order(**changes), key=key, key_id=key_id)
    assert (node.machine.did, node.journal.events, node.orders.rejected) == ([], [], 1)
    assert node.journal.load(LEDGER) == {}


async def test_a_changed_payload_does_not_match_its_signature() -> None:
    node = Node()
    signed = sign(order(), key_id="main", key=KEY)
    await node.hand(SignedOrder("main", signed.payload.replace("reset_gpu", "reboot"), signed.signature))
    await settle()
    assert (node.machine.did, node.journal.events, node.orders.rejected) == ([], [], 1)


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"expires_at": EPOCH + 990.0}, "expired 10 s ago"),
        ({"issued_at": EPOCH + 1_100.0}, "issued 100 s in the future; clocks differ too much"),
        ({"fencing_token": 4}, "fencing token 4 is older than 5: another controller leads"),
        (
            {"action": OrderAction.REBOOT},
            "reboot is not on this node's allow-list (collect, reset_gpu, run_checks)",
        ),
    ],
)
async def test_an_order_against_the_rules_is_refused_for_good(changes: dict[str, Any], because: str) -> None:
    allowed = frozenset({OrderAction.COLLECT, OrderAction.RUN_CHECKS, OrderAction.RESET_GPU})
    node = Node(allowed=allowed)
    await node.give(order(OrderAction.COLLECT, "i0/collect/1"))
    bad = order(**changes)
    await node.give(bad)
    await node.give(replace(bad, **{name: getattr(order(), name) for name in changes}))
    assert node.machine.did == []
    assert node.ended[1:] == [("i1/reset/1", "refused")] * 2
    assert {because} == {answer.because for answer in node.answers[1:]}


async def test_the_fencing_token_is_remembered_over_a_restart_and_raised_only_by_what_is_obeyed() -> None:
    node = Node(allowed=frozenset({OrderAction.RESET_GPU}))
    await node.give(order(OrderAction.REBOOT, "i0/reboot/1", fencing_token=9))
    await node.give(order(order_id="a", fencing_token=6))
    again = node.again()
    await again.give(order(order_id="b", fencing_token=5))
    assert again.ended == [("i0/reboot/1", "refused"), ("a", "done"), ("b", "refused")]


@pytest.mark.parametrize(
    ("failure", "outcome", "because"),
    [
        (ActionFailed("still lost"), "failed", "still lost"),
        (ActionRefused("GPU in use"), "refused", "GPU in use"),
        (RuntimeError("defect"), "failed", "the agent could not carry it out: RuntimeError('defect')"),
    ],
)
async def test_what_goes_wrong_is_told(failure: Any, outcome: str, because: str) -> None:
    node = Node(ScriptedMachine(failure=failure))
    await node.give(order())
    (answer,) = node.answers
    assert (outcome, because) == (answer.outcome, answer.because)


async def test_an_agent_that_stops_in_the_middle_says_so_and_never_does_it_again() -> None:
    node = Node()
    node.machine.gate.clear()
    await node.give(order())
    await node.orders.close()
    again = node.again()
    assert again.ended == [("i1/reset/1", "failed")]
    assert again.answers[0].because == "the agent stopped while carrying it out"
    await again.give(order())
    assert again.machine.did == []
    assert again.ended == [("i1/reset/1", "failed")] * 2


async def test_a_reboot_is_accepted_then_done_by_the_next_boot() -> None:
    node = Node()
    await node.give(order(OrderAction.REBOOT))
    assert node.machine.did == ["reboot"]
    assert node.ended == [("i1/reset/1", "accepted")]
    again = node.again(boot="boot-2")
    assert again.ended == [("i1/reset/1", "accepted"), ("i1/reset/1", "done")]
    assert again.answers[1].because == "the node rebooted: boot boot-1 became boot-2"


async def test_a_reboot_that_did_not_happen_has_failed() -> None:
    node = Node()
    await node.give(order(OrderAction.REBOOT))
    assert node.again().ended == [("i1/reset/1", "accepted"), ("i1/reset/1", "failed")]


async def test_before_a_reboot_the_outbox_gets_two_seconds() -> None:
    node = Node(journal=MemoryJournal(waiting=1))
    await node.give(order(OrderAction.REBOOT))
    await node.clock.advance(1.9)
    assert node.machine.did == []
    await node.clock.advance(0.2)
    assert node.machine.did == ["reboot"]


async def test_a_reset_lets_what_is_latched_about_the_gpu_be_released() -> None:
    node = Node()
    found = Finding("gpu.xid", UUID, "95", Verdict.FAILED, Action.RESET_GPU, "Xid 95", pci=PCI)
    other = replace(found, device="GPU-2", pci="0000:5d:00")
    node.desk.book = books.latch(Book(), (found, other), moment=Moment(0.0, "boot-1")).book
    await node.give(order())
    assert {key.device: entry.device_reset for key, entry in node.desk.book.raised.items()} == {
        UUID: True,
        "GPU-2": False,
    }


async def test_a_reset_says_what_the_order_says_of_neighbours() -> None:
    node = Node()
    await node.give(order(parameters={"neighbours": "reset"}))
    await node.give(order(order_id="i1/reset/2", parameters={"neighbours": "keep"}))
    assert node.machine.did == [f"reset_gpu {UUID} and neighbours", f"reset_gpu {UUID}"]


@pytest.mark.parametrize(
    ("reading", "because"),
    [
        (None, "it went through, but NVML could not be asked afterwards"),
        (nvml(1.0), "it went through, but NVML could not be asked afterwards"),
        (nvml(2_000.0, lost=True), f"it went through, but {UUID} does not answer NVML"),
        (
            NvmlReading(2_000.0, failure="driver_not_loaded", detail="no driver"),
            "it went through, but NVML does not answer: driver_not_loaded no driver",
        ),
    ],
)
@pytest.mark.parametrize("action", [OrderAction.RESET_GPU, OrderAction.RELOAD_DRIVER])
async def test_a_repair_after_which_nvml_does_not_answer_has_failed(
    action: OrderAction, reading: NvmlReading | None, because: str
) -> None:
    node = Node()
    node.checks.reading = reading
    node.checks.before = nvml(0.0)
    await node.give(order(action))
    assert [(answer.outcome, answer.because) for answer in node.answers] == [("failed", because)]


async def test_a_reload_lets_what_is_latched_about_every_gpu_be_released() -> None:
    node = Node()
    found = Finding("gpu.xid", UUID, "119", Verdict.FAILED, Action.RESET_GPU, "Xid 119", pci=PCI)
    node.desk.book = books.latch(Book(), (found,), moment=Moment(0.0, "boot-1")).book
    await node.give(order(OrderAction.RELOAD_DRIVER))
    assert [entry.device_reset for entry in node.desk.book.raised.values()] == [True]
    assert node.ended == [("i1/reset/1", "done")]


async def test_a_reboot_is_forced_by_the_order_s_word_alone() -> None:
    node = Node()
    await node.give(order(OrderAction.REBOOT, "a", parameters={"force": "never"}))
    await node.give(order(OrderAction.REBOOT, "b", parameters={"force": "when_stuck"}))
    assert node.machine.did == ["reboot", "reboot by force"]


async def test_orders_wait_until_what_a_repair_took_away_is_back() -> None:
    node = Node()
    node.machine.gate.clear()
    recovering = asyncio.create_task(node.orders.recover())
    await settle()
    await node.give(order())
    assert node.machine.did == ["recover"]
    node.machine.gate.set()
    await recovering
    await node.orders.idle()
    assert node.machine.did == ["recover", f"reset_gpu {UUID}"]


@pytest.mark.parametrize(
    "failure", [ActionFailed("nvidia-dcgm"), ActionRefused("no systemctl"), RuntimeError("defect")]
)
async def test_that_it_cannot_be_brought_back_stops_no_order(
    failure: ActionFailed | ActionRefused | RuntimeError,
) -> None:
    node = Node()
    node.machine.failure = failure
    await node.orders.recover()
    node.machine.failure = None
    await node.give(order())
    assert node.ended == [("i1/reset/1", "done")]


async def test_a_hold_does_not_wait_for_a_repair() -> None:
    node = Node()
    node.machine.gate.clear()
    await node.give(order())
    await node.give(order(OrderAction.COLLECT, "i2/collect/1"))
    await node.give(order(OrderAction.HOLD, "i2/cordon/1"))
    assert node.ended == [("i2/cordon/1", "refused")]
    node.machine.gate.set()
    await node.orders.idle()
    assert node.ended[1:] == [("i1/reset/1", "done"), ("i2/collect/1", "done")]


async def test_a_node_that_does_not_hold_itself_says_so() -> None:
    node = Node()
    await node.give(order(OrderAction.HOLD))
    assert [(answer.outcome, answer.because) for answer in node.answers] == [
        ("refused", "this node does not hold itself")
    ]


def unknown(action: str = "paint_it", **changes: Any) -> SignedOrder:
    """Return an order that a newer controller might give, signed."""
    table = json.loads(sign(order(), key_id="main", key=KEY).payload) | {"action": action, "colour": "blue"} | changes
    payload = json.dumps(table)
    return SignedOrder("main", payload, base64.b64encode(KEY.sign(payload.encode())).decode())


async def test_an_action_that_only_a_newer_version_knows_is_refused_with_a_sentence() -> None:
    node = Node()
    for _ in range(2):
        await node.hand(unknown())
    because = "this agent's version does not know the action 'paint_it': update it"
    assert [(answer.order_id, answer.outcome, answer.because) for answer in node.answers] == [
        ("i1/reset/1", "refused", because)
    ] * 2
    assert node.machine.did == []


@pytest.mark.parametrize("changes", [{"node": "n2"}, {"expires_at": EPOCH}])
async def test_one_for_another_node_or_too_late_is_not_answered(changes: dict[str, Any]) -> None:
    node = Node()
    await node.hand(unknown(**changes))
    assert (node.answers, node.orders.rejected) == ([], 1)


async def test_a_ledger_that_a_newer_version_wrote_is_not_forgotten() -> None:
    node = Node()
    await node.give(order())
    node.journal.state[LEDGER]["entries"][0]["action"] = "paint_it"
    again = node.again()
    await again.give(order())
    assert again.machine.did == []
    assert again.ended == [("i1/reset/1", "done")] * 2


async def test_run_checks_answers_with_verdicts_that_were_judged_since() -> None:
    node = Node()
    now = EPOCH + 1_000.0
    node.checks.levels = {
        "gpu.xid": CheckLevel("ok", now + 1.0),
        "gpu.nvml": CheckLevel("ok", now - 1.0),
        "host.memory": CheckLevel("failed", now + 1.0, "no memory"),
    }
    await node.give(order(OrderAction.RUN_CHECKS))
    (answer,) = node.answers
    assert answer.evidence == {"gpu.xid": "ok", "gpu.nvml": "unknown", "host.memory": "failed"}
    assert answer.because == (
        "3 checks on fresh readings: gpu.nvml unknown: no reading since the order began; host.memory failed: no memory"
    )
    assert node.checks.asked == [["gpu.xid"]]


async def test_run_checks_refuses_a_check_that_does_not_exist() -> None:
    node = Node()
    await node.give(order(OrderAction.RUN_CHECKS, parameters={"checks": "gpu.xid, gpu.magic"}))
    assert [(a.outcome, a.because) for a in node.answers] == [("refused", "this node has no check gpu.magic")]


async def test_collect_brings_what_the_node_knows_of_itself() -> None:
    node = Node()
    await node.give(order(OrderAction.COLLECT))
    evidence = node.answers[0].evidence
    assert {"status.json", "reading-nvml.json", "kernel-log.txt"} == evidence.keys()
    assert evidence["kernel-log.txt"] == "line 1\nline 2"
    assert json.loads(evidence["reading-nvml.json"])["gpus"][0]["uuid"] == UUID


async def test_a_fault_is_injected_with_its_parameters() -> None:
    node = Node()
    parameters = {"fault": "gpu-off-bus", "repair": "fails"}
    await node.give(order(OrderAction.INJECT_FAULT, parameters=parameters))
    assert [f"inject_fault gpu-off-bus {UUID} fails"] == node.machine.did


def test_what_is_long_over_is_forgotten() -> None:
    old = ledgers.begin(Ledger(), order(order_id="old"), boot_id="b", now=EPOCH)
    new = ledgers.begin(old, order(order_id="new"), boot_id="b", now=EPOCH + 86_400.0 + 2_000.0)
    assert list(new.entries) == ["new"]


def test_large_evidence_is_not_kept_in_the_ledger() -> None:
    ledger = ledgers.begin(Ledger(), order(), boot_id="b", now=EPOCH)
    small = OrderEnded("i1/reset/1", "done", "", 0.0, 0.0, {"a": "b"})
    large = OrderEnded("i1/reset/1", "done", "", 0.0, 0.0, {"a": "b" * 5_000})
    assert ledgers.end(ledger, small).entries["i1/reset/1"].evidence == {"a": "b"}
    assert ledgers.end(ledger, large).entries["i1/reset/1"].evidence == {}


def test_a_ledger_is_the_same_after_it_was_written_and_read() -> None:
    ledger = ledgers.refuse(Ledger(), order(), "no", boot_id="b", now=EPOCH)
    ledger = ledgers.begin(ledger, order(order_id="2"), boot_id="b", now=EPOCH)
    assert ledger == ledgers.load(json.loads(json.dumps(ledgers.dump(ledger))))
    with pytest.raises(ValueError, match="stored ledger of orders"):
        ledgers.load({"entries": [{"order_id": 3}]})


TEXT = st.text(st.characters(codec="utf-8"), max_size=20)


@given(st.dictionaries(TEXT, st.text(max_size=300), max_size=8), st.integers(300, 2_000))
def test_evidence_keeps_within_its_bound_and_small_files_whole(evidence: dict[str, str], most_bytes: int) -> None:
    bounded = bound(evidence, most_bytes=most_bytes)
    assert list(evidence) == list(bounded)
    names = sum(len(name.encode()) for name in evidence)
    assert sum(len(text.encode()) for text in bounded.values()) <= max(0, most_bytes - names)
    share = (most_bytes - names) // max(1, len(evidence))
    assert all(bounded[name] == text for name, text in evidence.items() if len(text.encode()) <= share)


def test_evidence_that_is_no_text_is_written_out() -> None:
    assert bound({"log": "\udc80"}) == {"log": "\\udc80"}


def test_a_long_log_keeps_its_beginning_and_its_end() -> None:
    text = "first " + "x" * 200_000 + " last"
    bounded = bound({"log": text, "note": "short"})
    assert bounded["note"] == "short"
    assert bounded["log"].startswith("first x")
    assert bounded["log"].endswith("x last")
    assert MAX_BYTES - 10 < sum(len(name) + len(part) for name, part in bounded.items()) <= MAX_BYTES


async def test_a_tool_that_hangs_is_killed_and_a_missing_one_is_not_mentioned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "hanging-tool"
    tool.write_text("#!/bin/sh\nexec sleep 60\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    said = await report(Tool(shutil.which("hanging-tool") or ""), limit_s=0.1)
    assert re.fullmatch(r"no report from \S+/hanging-tool: no answer within 0.1 s: .* was killed", said)
    assert await report(Tool("")) == ""
    assert await report(Tool(shutil.which("echo") or ""), "hello") == "hello\n"
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def test_a_host_is_looked_for_while_a_repair_goes_on() -> None:
    node = Node()
    node.machine.gate.clear()
    await node.give(order(OrderAction.RESET_GPU, order_id="repair"))
    reach = order(OrderAction.REACH, order_id="look", parameters={"addresses": "127.1"})
    await node.give(reach)
    assert node.ended == [("look", "refused")]
    assert "neither a host name nor an IP address" in node.answers[-1].because
    await node.orders.close()
