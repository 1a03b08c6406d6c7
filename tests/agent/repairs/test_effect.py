"""A reset and a reload of the driver as orders give them, with NVML asked afterwards: the C double."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.clock import Clock
from agent.deeds import Deeds
from agent.desk import Desk
from agent.host_machine import HostMachine
from agent.orders import Orders, Rules
from agent.runner import KernelLog, Runner
from agent.sources.nvml import NvmlSource
from agent.sources.source import Timing
from agent.telling import Telling
from checks.gpu import count
from tests.support.agent_node import MemoryJournal, ScriptedLog
from tests.support.fake_host import A100, UUID, FakeHost
from tests.support.nvml_double import GPU_UUIDS, Library
from wire.messages import Envelope, NodeFacts, OrderEnded
from wire.orders import Order, OrderAction
from wire.signatures import sign

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
FIRST, SECOND = GPU_UUIDS


@dataclass(slots=True)
class Node:
    """A real host's hands and eyes over fake programs and the C double."""

    host: FakeHost
    library: Library
    source: NvmlSource
    orders: Orders
    journal: MemoryJournal

    async def give(self, action: OrderAction, order_id: str) -> OrderEnded:
        """Give an order and return how it ended."""
        now = time.time()
        signed = sign(Order(order_id, "n1", action, now, now + 60.0, 1, FIRST), key_id="main", key=KEY)
        await self.orders.receive(signed, Envelope(1, "n1", "", 0, 0.0, signed))
        await self.orders.idle()
        return next(e for e in reversed(self.journal.events) if isinstance(e, OrderEnded) and e.order_id == order_id)


@pytest.fixture
async def node(tmp_path: Path, nvml_double: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Node]:
    host, library, journal = FakeHost(tmp_path / "host"), Library(tmp_path, nvml_double), MemoryJournal()
    monkeypatch.setenv("PATH", f"{host.bin}:/usr/bin:/bin")
    library.say()
    host.say("gpus", A100.format(uuid=FIRST, bus="1B", persistence="Disabled", mig="Disabled"))
    host.modules("nvidia")
    surroundings = replace(library.surroundings(), monotonic=time.monotonic)
    source = NvmlSource(surroundings, Timing(15.0, 5.0, 10.0), environment=library.environment)
    desk = Desk((count.CHECK,), journal=journal, boot_id="b", notify=lambda: None, clock=Clock())
    runner = Runner(desk, sources=(source,), kernel_log=KernelLog(ScriptedLog()), outbox=journal, facts=NodeFacts())
    machine = HostMachine(source.let_go, keeper=journal, root=host.root, sleep=host.sleep)
    rules = Rules("n1", {"main": KEY.public_key().public_bytes_raw()}, frozenset(OrderAction))
    orders = Orders(rules, Deeds(machine, runner, desk), Telling(journal, desk, lambda: None))
    await source.read()
    await runner.run_checks((count.ID,))
    yield Node(host, library, source, orders, journal)
    await source.close()


@pytest.mark.parametrize("action", [OrderAction.RESET_GPU, OrderAction.RELOAD_DRIVER])
async def test_it_has_worked_when_nvml_tells_of_the_gpu_again(node: Node, action: OrderAction) -> None:
    before = node.source.child_pid
    ended = await node.give(action, "a")
    assert ended.outcome == "done", ended.because
    assert node.source.child_pid not in (None, before)


@pytest.mark.parametrize("action", [OrderAction.RESET_GPU, OrderAction.RELOAD_DRIVER])
@pytest.mark.parametrize(
    ("lines", "because"),
    [
        (("gpu 0 return 15",), f"it went through, but {FIRST} does not answer NVML"),
        (("gpu 0 return 16",), f"it went through, but NVML says of {FIRST} that it needs a reset"),
        (("init 9",), "it went through, but NVML does not answer: driver_not_loaded"),
    ],
)
async def test_it_has_failed_when_nvml_does_not(
    node: Node, action: OrderAction, lines: tuple[str, ...], because: str
) -> None:
    node.library.say(*lines)
    ended = await node.give(action, "a")
    assert ended.outcome == "failed"
    assert ended.because.startswith(because)


async def test_a_gpu_that_is_not_there_is_refused_with_what_is(node: Node) -> None:
    node.host.gpus(A100)
    ended = await node.give(OrderAction.RESET_GPU, "a")
    assert (ended.outcome, ended.because) == ("refused", f"there is no GPU {FIRST} here, but {UUID}")
