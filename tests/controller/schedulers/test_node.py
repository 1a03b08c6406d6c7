"""Nodes that hold themselves: what is ordered of them, what they say, and an agent that does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from controller.adapters import Hold, NodeSchedule
from controller.engine.orders import OrderDesk
from controller.errors import Permanent, Refused, Retryable
from controller.events import OrderEnded
from controller.schedulers.node import NOT_YET, NodeScheduler
from wire import messages, topics
from wire.messages import NodeFacts, NodeHold, SignedOrder, Status
from wire.orders import Order, OrderAction
from wire.signatures import verify

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
TRUSTED = {"main": KEY.public_key().public_bytes_raw()}
ALLOWED = ["hold", "release", "run_checks"]

Answer = Callable[[Order], tuple[str, str] | None]


def held(order: Order) -> tuple[str, str]:
    return "done", f"the node is held for {order.incident_id}."


@dataclass(slots=True)
class Nodes:
    """A broker and nodes behind it: each order is answered as a test says, through the adapter's ear."""

    answer: Answer = held
    now: float = 1_000.0
    orders: list[Order] = field(default_factory=list)
    connected: bool = True
    scheduler: NodeScheduler = field(init=False)

    def __post_init__(self) -> None:
        desk = OrderDesk(self, "main", "main", KEY, 1, lambda: self.now)
        self.scheduler = NodeScheduler(desk, lambda: self.now, deadline_s=0.2)

    def tell(self, topic: str, payload: bytes) -> None:
        """Orders are never told at QoS 0."""
        raise AssertionError((topic, payload))

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Take an order and answer it, as a node does."""
        assert not retain
        envelope = messages.decode(payload, topics.parse(topic))
        assert isinstance(envelope.body, SignedOrder)
        order = verify(envelope.body, trusted=TRUSTED)
        self.orders.append(order)
        answer = self.answer(order)
        if answer is not None:
            self.now += 1.0
            ended = OrderEnded(order.node, order.order_id, *answer, self.now - 1.0, self.now, {})
            asyncio.get_running_loop().call_soon(self.scheduler.order_ended, ended)

    async def run(self, **_: Any) -> None:
        """Nothing comes by itself."""

    def say(self, hold: NodeHold | None, *, at: float | None = None, allowed: list[str] | None = None) -> None:
        """Let n1 say how it stands."""
        facts = NodeFacts(orders_allowed=ALLOWED if allowed is None else allowed)
        self.now += 1.0
        self.scheduler.heard("n1", Status(facts, [], {}, 0, 0.0, self.now if at is None else at, hold=hold))


async def test_a_cordon_is_an_order_that_names_the_incident_and_why(hold: Hold) -> None:
    nodes = Nodes()
    nodes.say(NodeHold())
    assert await nodes.scheduler.cordon("n1", hold) == "n1 says: the node is held for inc-000007."
    (order,) = nodes.orders
    assert (order.node, order.action, order.incident_id) == ("n1", OrderAction.HOLD, "inc-000007")
    assert order.parameters == {"reason": hold.reason}
    assert order.fencing_token == 1
    assert order.expires_at - order.issued_at == pytest.approx(0.2)
    assert order.order_id.startswith("inc-000007/cordon/1/hold/")


async def test_what_was_answered_is_seen_at_once_and_an_older_level_does_not_undo_it(hold: Hold) -> None:
    nodes = Nodes()
    nodes.say(NodeHold())
    before = nodes.now
    await nodes.scheduler.cordon("n1", hold)
    nodes.say(NodeHold(), at=before)
    assert await nodes.scheduler.observe() == {"n1": NodeSchedule(False, "inc-000007", jobs_unknown=NOT_YET)}
    await nodes.scheduler.uncordon("n1", hold)
    assert await nodes.scheduler.observe() == {"n1": NodeSchedule(True, jobs_unknown=NOT_YET)}


async def test_an_agent_that_does_not_answer_has_cordoned_nothing(hold: Hold) -> None:
    nodes = Nodes(answer=lambda _: None)
    nodes.say(NodeHold())
    with pytest.raises(Retryable, match="the agent on n1 did not answer within"):
        await nodes.scheduler.cordon("n1", hold)
    assert await nodes.scheduler.observe() == {"n1": NodeSchedule(True)}
    await nodes.scheduler.desk.send_again()
    assert len(nodes.orders) == 1
    nodes.answer = held
    nodes.now += 2.0
    await nodes.scheduler.cordon("n1", hold)
    assert len({order.order_id for order in nodes.orders}) == 2


@pytest.mark.parametrize(
    ("outcome", "because", "error"),
    [
        ("refused", "the node is held by somebody else: operator: memory test", Refused),
        ("refused", "the node is held for another incident of fleetmend: inc-1", Refused),
        ("refused", "hold is not on this node's allow-list (collect)", Permanent),
        ("refused", "this agent's version does not know the action 'hold': update it", Permanent),
        ("refused", "fencing token 1 is older than 2: another controller leads", Permanent),
        ("refused", "expired 3 s ago", Retryable),
        ("failed", "/run/fleetmend: Read-only file system", Retryable),
        ("failed", "fleetmend-held.target did not become active within 10 s", Retryable),
    ],
)
async def test_each_answer_has_its_class(hold: Hold, outcome: str, because: str, error: type[Exception]) -> None:
    nodes = Nodes(answer=lambda _: (outcome, because))
    acts: tuple[Awaitable[str], ...] = (nodes.scheduler.cordon("n1", hold), nodes.scheduler.uncordon("n1", hold))
    for act in acts:
        with pytest.raises(error, match="n1 says: "):
            await act


async def test_an_agent_that_takes_no_such_order_is_not_asked(hold: Hold) -> None:
    nodes = Nodes()
    nodes.say(None, allowed=["run_checks", "collect"])
    with pytest.raises(Permanent, match="takes no order hold: add hold and release to orders_allowed in its file"):
        await nodes.scheduler.cordon("n1", hold)
    assert nodes.orders == []
    assert await nodes.scheduler.observe() == {}


async def test_somebody_else_s_hold_is_seen_beside_ours() -> None:
    nodes = Nodes()
    nodes.say(NodeHold("inc-1", foreign="operator: memory test", jobs=["4711 train"]))
    expected = NodeSchedule(False, "inc-1", "operator: memory test", ("4711 train",))
    assert await nodes.scheduler.observe() == {"n1": expected}
    nodes.say(NodeHold(unknown="/run/fleetmend: Permission denied"))
    assert await nodes.scheduler.observe() == {}


class TestDrain:
    """How much work is left."""

    async def test_it_goes_by_what_the_node_says(self, hold: Hold) -> None:
        nodes = Nodes()
        await nodes.scheduler.cordon("n1", hold)
        with pytest.raises(Retryable, match="nobody can tell what works on n1: it has not said so since it was held"):
            await nodes.scheduler.drain("n1", hold, jobs="wait")
        nodes.say(NodeHold("inc-000007", jobs=["4711 train"]))
        assert await nodes.scheduler.drain("n1", hold, jobs="cancel") == ("4711 train",)
        nodes.say(NodeHold("inc-000007"))
        assert await nodes.scheduler.drain("n1", hold, jobs="wait") == ()

    async def test_that_nobody_can_tell_is_never_none(self, hold: Hold) -> None:
        nodes = Nodes()
        with pytest.raises(Retryable, match="n1 has not said yet who holds it"):
            await nodes.scheduler.drain("n1", hold, jobs="wait")
        nodes.say(NodeHold("inc-000007", jobs_unknown="NVML does not answer: timeout"))
        with pytest.raises(Retryable, match="NVML does not answer: timeout"):
            await nodes.scheduler.drain("n1", hold, jobs="wait")
        nodes.say(NodeHold("inc-000007"))
        nodes.now += 200.0
        with pytest.raises(Retryable, match="n1 was last heard 200 s ago"):
            await nodes.scheduler.drain("n1", hold, jobs="wait")

    async def test_i1_a_node_that_cannot_tell_who_holds_it_is_not_given_up(self, hold: Hold) -> None:
        nodes = Nodes()
        nodes.say(NodeHold(unknown="/run/fleetmend: Input/output error"))
        with pytest.raises(Retryable, match="n1 cannot tell who holds it: /run/fleetmend: Input/output error"):
            await nodes.scheduler.drain("n1", hold, jobs="wait")

    async def test_i1_what_was_said_before_our_clock_was_set_back_proves_nothing(self, hold: Hold) -> None:
        nodes = Nodes(now=10_000.0)
        nodes.say(NodeHold("inc-000007"))
        nodes.now -= 3_600.0
        with pytest.raises(Retryable, match="n1 was last heard before the clock of the controller was set back"):
            await nodes.scheduler.drain("n1", hold, jobs="wait")

    @pytest.mark.parametrize(
        ("level", "because"),
        [
            (NodeHold(), "n1 is not held for inc-000007: nobody holds it"),
            (NodeHold("inc-1"), "n1 is held for another incident of fleetmend: inc-1"),
            (NodeHold(foreign="anna: memory test"), "n1 is held by somebody else: anna: memory test"),
        ],
    )
    async def test_a_node_that_we_do_not_hold_is_not_drained(self, hold: Hold, level: NodeHold, because: str) -> None:
        nodes = Nodes()
        nodes.say(level)
        with pytest.raises(Refused, match=because):
            await nodes.scheduler.drain("n1", hold, jobs="wait")


async def test_a_clock_that_was_set_back_does_not_silence_a_node() -> None:
    nodes = Nodes(now=10_000.0)
    nodes.say(NodeHold("inc-1"))
    nodes.say(NodeHold(), at=5_000.0)
    assert await nodes.scheduler.observe() == {"n1": NodeSchedule(True)}
