"""Asks nodes beside a silent one whether they reach its host, when nobody else can tell, and tells the cell.

What they are asked is the order `reach`, signed and on their own allow-list like any other. An agent that does not know
it refuses it or drops it, and nothing follows from that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import structlog

from controller.cell import Cell
from controller.engine.orders import OrderDesk
from controller.events import OrderEnded, PeersObserved
from controller.policy.neighbours import judged, peers_of, to_ask_about
from wire.orders import Order, OrderAction
from wire.reaching import ADDRESSES

log = structlog.get_logger()

AT_ONCE = 8
"""So many silent nodes are asked about at once. Source: our choice; times three peers."""

APART_S = 60.0
MOST_APART_S = 600.0
"""Between two questions about one node, twice as long each time while the answer stays. Source: our choice; agents keep
every order for a day."""

ANSWER_WITHIN_S = 15.0
"""Source: our choice; two deadlines of the agent and three sendings of the order."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """When it was asked about a node last, and how long nobody is asked after that."""

    at: float
    apart_s: float


@dataclass(slots=True)
class PeerWatch:
    """Level-triggered: who is silent, and what is believed of it, is looked at anew each round."""

    cell: Cell
    desk: OrderDesk
    clock: Callable[[], float]
    interval_s: float = 1.0
    answer_within_s: float = ANSWER_WITHIN_S
    _asked: dict[str, _Asked] = field(default_factory=dict)
    _awaited: dict[str, asyncio.Future[OrderEnded]] = field(default_factory=dict)

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            await self.ask()
            await asyncio.sleep(self.interval_s)

    async def ask(self) -> None:
        """Ask once about those silent nodes whose turn it is, those first that were not asked about for longest."""
        belief, now = self.cell.belief, self.clock()
        self._asked = {node: asked for node, asked in self._asked.items() if node in belief.silent}
        due = [node for node in to_ask_about(belief, self.cell.rules, now) if self._is_due(node, now)]
        due.sort(key=lambda node: self._asked[node].at if node in self._asked else 0.0)
        await asyncio.gather(*map(self._ask_about, due[:AT_ONCE]))

    def order_ended(self, event: OrderEnded) -> None:
        """A node said how an order ended."""
        awaited = self._awaited.get(event.order_id)
        if awaited is not None and not awaited.done() and event.node == _asked_of(event.order_id):
            awaited.set_result(event)

    def _is_due(self, node: str, now: float) -> bool:
        asked = self._asked.get(node)
        return asked is None or now >= asked.at + asked.apart_s

    async def _ask_about(self, node: str) -> None:
        peers, subject = peers_of(self.cell.belief, node), self.cell.belief.nodes[node].facts.address
        addresses = (subject, *peers.values())
        said = await asyncio.gather(
            *(self._order(node, peer, [each for each in addresses if each != own]) for peer, own in peers.items())
        )
        answers = {peer: evidence for peer, evidence in zip(peers, said, strict=True) if evidence}
        reached, unreached = judged(subject, peers, answers)
        before = self._asked.get(node)
        changed = await self._tell(node, reached, unreached, asked=list(peers))
        apart_s = APART_S if changed or before is None else min(before.apart_s * 2.0, MOST_APART_S)
        self._asked[node] = _Asked(self.clock(), apart_s)

    async def _order(self, node: str, peer: str, addresses: list[str]) -> Mapping[str, str]:
        """Return what a peer says of each address, nothing when it does not answer, or not well."""
        now = self.clock()
        order_id = f"{OrderAction.REACH}/{node}/{round(now * 1_000)}/{peer}"
        parameters = {ADDRESSES: ",".join(addresses)}
        order = Order(
            order_id, peer, OrderAction.REACH, now, now + self.answer_within_s, self.desk.term, parameters=parameters
        )
        awaited = self._awaited[order_id] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self.answer_within_s):
                await self.desk.send(order)
                ended = await awaited
        except TimeoutError:
            return {}
        finally:
            self.desk.ended(order_id)
            del self._awaited[order_id]
        return ended.evidence if ended.outcome == "done" else {}

    async def _tell(self, node: str, reached: list[str], unreached: list[str], *, asked: list[str]) -> bool:
        known = self.cell.belief.nodes[node]
        is_news = (tuple(reached), tuple(unreached)) != (known.reached_by, known.unreached_by)
        if node not in self.cell.belief.silent or not is_news:
            return False
        because = _because(node, reached, unreached, asked)
        await self.cell.submit([PeersObserved(node, reached, unreached, because, self.clock())])
        return True


def _asked_of(order_id: str) -> str:
    return order_id.rpartition("/")[2]


def _because(node: str, reached: list[str], unreached: list[str], asked: list[str]) -> str:
    if reached:
        return f"{', '.join(reached)} reached the host of {node}: it lives."
    if unreached:
        return f"{', '.join(unreached)} reached each other, and did not reach the host of {node}."
    who = f"{', '.join(asked)} were asked and cannot tell" if asked else "there is nobody to ask"
    return f"Whether the host of {node} answers is not known: {who}."
