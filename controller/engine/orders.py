"""Orders on their way to nodes: signed once, sent until the node says how they ended.

Sending again is safe, because a node carries an order id out once and answers a repeat with what it recorded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from controller.store.seals import Signer
from wire import messages, topics
from wire.orders import Order
from wire.signatures import sign
from wire.transport import NotPublished, Transport

log = structlog.get_logger()

RESEND_S = 5.0


@dataclass(slots=True)
class OrderDesk:
    """Sends orders and keeps sending those that nobody answered.

    Attributes:
        term: fencing token of this controller.
        leads: whether this controller may act at this moment (I8).
    """

    transport: Transport
    cell_name: str
    key_id: str
    key: Ed25519PrivateKey
    term: int
    clock: Callable[[], float]
    leads: Callable[[], bool] = lambda: True
    _open: dict[str, tuple[Order, bytes]] = field(default_factory=dict)
    _sending: set[asyncio.Task[None]] = field(default_factory=set)

    def sign_with(self, signer: Signer) -> None:
        """Sign by this key from here on; what is under way keeps its signature."""
        self.key_id, self.key = signer.key_id, signer.key

    async def send(self, order: Order) -> None:
        """Sign and send an order; it is sent again until it ended or expired."""
        signed = sign(order, key_id=self.key_id, key=self.key)
        envelope = messages.Envelope(
            messages.VERSION,
            order.node,
            "",
            0,
            self.clock(),
            signed,
            expires_at=order.expires_at,
            correlation_id=order.order_id,
            reply_to=topics.Address(self.cell_name, order.node, topics.Channel.EVENT).topic,
        )
        self._open[order.order_id] = (order, messages.encode(envelope))
        await self._publish(order.order_id)

    def ended(self, order_id: str) -> None:
        """The node said how it ended: nothing is sent again."""
        self._open.pop(order_id, None)

    async def send_again(self, node: str = "") -> None:
        """Send every open order once more, or those of one node that just came back."""
        now = self.clock()
        self._open = {order_id: each for order_id, each in self._open.items() if each[0].expires_at > now}
        meant = [order_id for order_id, (order, _) in self._open.items() if node in {"", order.node}]
        await asyncio.gather(*map(self._publish, meant))

    def node_came_back(self, node: str) -> None:
        """A node is heard again: what it was asked before reaches it at once."""
        if any(order.node == node for order, _ in self._open.values()):
            task = asyncio.create_task(self.send_again(node), name=f"orders of {node}")
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def keep_sending(self) -> None:
        """Send open orders again at intervals until cancelled."""
        while True:
            await asyncio.sleep(RESEND_S)
            await self.send_again()

    async def _publish(self, order_id: str) -> None:
        found = self._open.get(order_id)
        if found is None or not self.leads():
            return
        order, payload = found
        topic = topics.Address(self.cell_name, order.node, topics.Channel.ORDER).topic
        try:
            await self.transport.publish(topic, payload)
        except NotPublished as error:
            log.warning("order.delayed", node=order.node, order_id=order_id, because=str(error))
