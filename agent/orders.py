"""What the node may do to itself: only signed, unexpired, never-seen-before orders on its own allow-list.

An order is in the ledger (agent/ledger.py) before it is begun, one is carried out at a time (holds, looks at other
hosts and benchmarks beside it), and its outcome goes through the outbox like every other event. What is not signed by a
trusted key, or is for another node, is counted and dropped without an answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from typing import Final

import structlog

from agent import ledger as ledgers
from agent.clock import Clock
from agent.deeds import Deeds
from agent.evidence import bound
from agent.ledger import LEDGER, Ledger
from agent.machine import ActionFailed, ActionRefused, Done
from agent.plain_text import plain
from agent.telling import Telling
from wire.messages import Envelope, OrderEnded, Refused, SignedOrder
from wire.orders import Order, OrderAction, UnknownAction, check_acceptable

log = structlog.get_logger()

SIGNATURES: Final = "wire.signatures"
"""Imported at the first order: a node that never gets one does not carry the library for it."""

HOLDS: Final = frozenset({OrderAction.HOLD, OrderAction.RELEASE})
"""Carried out beside a repair: that one goes on for minutes must not keep a node in service, nor out of it."""

BESIDE_A_BENCHMARK: Final = HOLDS | {
    OrderAction.RUN_CHECKS,
    OrderAction.REACH,
    OrderAction.INJECT_FAULT,
    OrderAction.BENCH,
}
"""Orders that leave a running benchmark alone. Every other one mends something, or gathers evidence for that: it ends
the benchmark, whose numbers would tell of the repair. Source: our choice."""

FLUSH_LIMIT_S: Final = 2.0
FLUSH_LOOK_S: Final = 0.05
"""Before a reboot the controller gets this long to store what the node has to say, looked at so often."""

LOG_EVERY_S: Final = 60.0
"""Rejections are logged no more often than this: whoever sends them must not fill the disk."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Whom this node obeys, and in what. `trusted`: key id → the 32 bytes of an Ed25519 public key."""

    node: str
    trusted: Mapping[str, bytes]
    allowed: frozenset[OrderAction]


class Orders:
    """Takes orders, carries them out, and says how they ended.

    Attributes:
        rejected: how many messages were dropped without an answer.
    """

    def __init__(self, rules: Rules, deeds: Deeds, telling: Telling, clock: Clock | None = None) -> None:
        """Take up the ledger and tell of the orders that the last stop cut off; none of them is run again."""
        self.rejected = 0
        self._rules, self._deeds, self._telling = rules, deeds, telling
        self._clock = clock or Clock()
        self._boot_id = deeds.machine.boot_id()
        self._ledger = self._load()
        self._repair_in_turn, self._hold_in_turn = asyncio.Lock(), asyncio.Lock()
        self._reach_in_turn = asyncio.Lock()
        self._waiting: dict[str, asyncio.Task[None]] = {}
        self._quiet_until = 0.0
        for ended in ledgers.interrupted(self._ledger, boot_id=self._boot_id, now=self._clock.wall()):
            self._end(ended)

    def follow(self, rules: Rules) -> None:
        """Obey by these rules from here on; what is under way goes on."""
        self._rules = rules

    async def receive(self, signed: SignedOrder, _: Envelope) -> None:
        """Take one order: refuse it, answer it from the ledger, or have it carried out. Returns before it is."""
        try:
            order = self._genuine(signed)
        except UnknownAction as unknown:
            self._refuse_unknown(unknown)
            return
        except Refused as refusal:
            self._reject(str(refusal))
            return
        known = self._ledger.entries.get(order.order_id)
        if known is not None and not known.is_open:
            self._telling.tell(known.ended())
        elif known is None and order.order_id not in self._waiting:
            task = asyncio.create_task(self._obey(order), name=f"order {order.order_id}")
            self._waiting[order.order_id] = task
            task.add_done_callback(lambda _: self._waiting.pop(order.order_id, None))

    async def recover(self) -> None:
        """Bring back what a repair or a benchmark changed that its process did not survive; orders wait for it."""
        await asyncio.gather(self._recover_machine(), self._deeds.bench.recover())

    async def _recover_machine(self) -> None:
        async with self._repair_in_turn:
            try:
                said = await self._deeds.machine.recover()
            except (ActionFailed, ActionRefused) as error:
                log.error("repair.unfinished", because=str(error))
            except Exception as error:
                log.error("repair.unfinished", because=repr(error), exc_info=error)
            else:
                if said:
                    log.warning("repair.recovered", because=said)

    async def idle(self) -> None:
        """Return when no order is under way."""
        while self._waiting:
            await asyncio.wait(set(self._waiting.values()))

    async def close(self) -> None:
        """End a benchmark and break off what else is under way; the next start tells that it was."""
        await self._deeds.bench.close()
        tasks = set(self._waiting.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._deeds.bundles.close()

    def _load(self) -> Ledger:
        try:
            return ledgers.load(self._telling.journal.load(LEDGER), now=self._clock.wall())
        except ValueError as error:
            log.error("ledger.lost", because=str(error))
            return Ledger(began_at=self._clock.wall())

    def _genuine(self, signed: SignedOrder) -> Order:
        """Return the order if a trusted key meant it for this node and it is not long over.

        Raises:
            Refused: otherwise; nobody is told.
        """
        order: Order = import_module(SIGNATURES).verify(signed, trusted=self._rules.trusted)
        if order.node != self._rules.node:
            raise Refused(f"addressed to {order.node!r}, this is {self._rules.node!r}")
        if order.expires_at + ledgers.KEPT_S <= self._clock.wall():
            raise Refused(f"expired more than {ledgers.KEPT_S:.0f} s ago")
        return order

    def _refuse_unknown(self, unknown: UnknownAction) -> None:
        """Answer what only a newer version can do. Nothing is done about it, so it need not be remembered."""
        order, now = unknown.order, self._clock.wall()
        if order.node != self._rules.node or order.expires_at <= now:
            self._reject(str(unknown))
            return
        log.warning("order.refused", order_id=order.order_id, action=order.action, because=str(unknown))
        self._telling.tell(OrderEnded(order.order_id, "refused", plain(str(unknown)), now, now))

    def _reject(self, because: str) -> None:
        self.rejected += 1
        now = self._clock.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + LOG_EVERY_S
            log.warning("order.rejected", because=because[:500], rejected=self.rejected)

    async def _obey(self, order: Order) -> None:
        async with self._turn(order.action):
            now = self._clock.wall()
            try:
                ledgers.check_new(self._ledger, order)
                check_acceptable(
                    order,
                    node=self._rules.node,
                    now=now,
                    allowed=self._rules.allowed,
                    last_token=self._ledger.last_token,
                )
            except Refused as refusal:
                self._save(ledgers.refuse(self._ledger, order, str(refusal), boot_id=self._boot_id, now=now))
                self._telling.tell(self._ledger.entries[order.order_id].ended())
                log.warning("order.refused", order_id=order.order_id, action=order.action, because=str(refusal))
                return
            self._save(ledgers.begin(self._ledger, order, boot_id=self._boot_id, now=now))
            log.info("order.begun", order_id=order.order_id, action=order.action, device=order.device)
            await self._carry_out(order, now)

    def _turn(self, action: OrderAction) -> AbstractAsyncContextManager[object]:
        """Return what an order waits for. Benchmarks see to their own order."""
        if action is OrderAction.BENCH:
            return nullcontext()
        if action is OrderAction.REACH:
            return self._reach_in_turn
        return self._hold_in_turn if action in HOLDS else self._repair_in_turn

    async def _carry_out(self, order: Order, started_at: float) -> None:
        try:
            done = await self._do(order, started_at)
        except ActionRefused as refusal:
            outcome, done = "refused", Done(str(refusal))
        except ActionFailed as failure:
            outcome, done = "failed", Done(str(failure))
        except Exception as error:
            log.error("order.crashed", order_id=order.order_id, action=order.action, exc_info=error)
            outcome, done = "failed", Done(f"the agent could not carry it out: {error!r}")
        else:
            if order.action is OrderAction.REBOOT:
                return
            outcome = "done"
        now = self._clock.wall()
        because, evidence = plain(done.because), bound(done.evidence)
        self._end(OrderEnded(order.order_id, outcome, because, started_at, now, evidence=evidence))

    async def _do(self, order: Order, started_at: float) -> Done:
        if order.action in BESIDE_A_BENCHMARK:
            return await self._deeds.do(order, started_at)
        async with self._deeds.bench.kept_away(f"the order `{order.action}` came, and goes first"):
            if order.action is OrderAction.REBOOT:
                await self._announce_reboot(order, started_at)
            done = await self._deeds.do(order, started_at)
            if order.action is OrderAction.REBOOT:
                await self._deeds.bench.close()  # the host goes down: nothing is begun on the way
            return done

    async def _announce_reboot(self, order: Order, started_at: float) -> None:
        """Say that the node goes down. The order stays open: the next boot ends it."""
        now = self._clock.wall()
        said = "the node is going down for a reboot"
        self._telling.tell(OrderEnded(order.order_id, "accepted", said, started_at, now))
        until = self._clock.monotonic() + FLUSH_LIMIT_S
        while self._telling.journal.depth() and self._clock.monotonic() < until:
            await self._clock.sleep(FLUSH_LOOK_S)

    def _end(self, ended: OrderEnded) -> None:
        """The ledger first: were the answer first and the process killed, the next start would say something else."""
        self._save(ledgers.end(self._ledger, ended))
        self._telling.tell(ended)
        log.info("order.ended", order_id=ended.order_id, outcome=ended.outcome, because=ended.because)

    def _save(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._telling.journal.save(LEDGER, ledgers.dump(ledger))
