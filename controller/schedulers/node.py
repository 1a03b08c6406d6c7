"""No scheduler, but nodes that hold themselves: cordon and uncordon are signed orders, `hold` and `release`.

The agent writes a flag file, and whatever starts work on the node looks at it (docs/how-to/no-scheduler.md). Who holds
a node, and what works on it, is what the node itself last said. A node whose agent does not answer is not cordoned,
and nothing here says that it is: the effect is asked for again until its time is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from controller.adapters import Hold, NodeSchedule
from controller.engine.orders import OrderDesk
from controller.errors import Permanent, Refused, Retryable
from controller.events import OrderEnded
from wire.messages import NodeHold, Status
from wire.orders import Order, OrderAction

RETRY_AFTER_S = 2.0
STALE_AFTER_S = 180.0
"""What a node said longer ago proves nothing of its jobs. Source: our choice, three times the interval of levels."""

LATE_S = 600.0
"""A level that seems older by more than this comes from a node whose clock was set back. Source: our choice, as
controller/latest.py has it."""

MOST_LETTERS = 300
"""Of why it cannot be told what works on a node. Source: our choice, as agent/hold_flag.py bounds a sentence."""

NOT_YET = "it has not said so since it was held"


@dataclass(frozen=True, slots=True)
class Said:
    """What a node last said of its hold.

    Attributes:
        observed_at: on the node's clock.
        heard_at: on ours.
    """

    hold: NodeHold
    observed_at: float
    heard_at: float


@dataclass(slots=True)
class NodeScheduler:
    """Nodes that hold themselves.

    Attributes:
        desk: gives the orders.
        deadline_s: how long one call waits for a node's answer.
    """

    desk: OrderDesk
    clock: Callable[[], float]
    deadline_s: float = 15.0
    name: str = "node"
    _said: dict[str, Said] = field(default_factory=dict)
    _allowed: dict[str, frozenset[str]] = field(default_factory=dict)
    _awaited: dict[str, asyncio.Future[OrderEnded]] = field(default_factory=dict)

    async def observe(self) -> Mapping[str, NodeSchedule]:
        """Return every node that has said who holds it."""
        return {name: _schedule(said.hold) for name, said in self._said.items() if not said.hold.unknown}

    async def cordon(self, node: str, hold: Hold) -> str:
        """Have the node hold itself.

        Raises:
            Refused: somebody else holds it.
            Permanent: its agent takes no such order.
            Retryable: its agent does not answer, or could not do it.
        """
        ended = await self._order(node, OrderAction.HOLD, hold)
        self._now(node, ended, NodeHold(hold.incident_id, hold.reason, ended.observed_at, jobs_unknown=NOT_YET))
        return f"{node} says: {ended.because}"

    async def drain(self, node: str, hold: Hold, *, jobs: str) -> tuple[str, ...]:
        """Return what works on the node's GPUs. Nobody can requeue or cancel it here, whatever `jobs` says.

        Raises:
            Refused: the node is not held by this incident.
            Retryable: nobody can tell what works on it.
        """
        del jobs
        said = self._said.get(node)
        if said is None:
            raise Retryable(f"{node} has not said yet who holds it", after_s=RETRY_AFTER_S)
        if said.hold.unknown:
            raise Retryable(f"{node} cannot tell who holds it: {said.hold.unknown}", after_s=RETRY_AFTER_S)
        if said.hold.held_by != hold.incident_id:
            raise Refused(_other(node, said.hold) or f"{node} is not held for {hold.incident_id}: nobody holds it")
        silent_s = self.clock() - said.heard_at
        if silent_s < 0.0:
            because = f"{node} was last heard before the clock of the controller was set back"
            raise Retryable(because, after_s=RETRY_AFTER_S)
        if silent_s > STALE_AFTER_S:
            raise Retryable(f"{node} was last heard {silent_s:.0f} s ago", after_s=RETRY_AFTER_S)
        if said.hold.jobs_unknown:
            raise Retryable(f"nobody can tell what works on {node}: {said.hold.jobs_unknown}", after_s=RETRY_AFTER_S)
        return tuple(said.hold.jobs)

    async def uncordon(self, node: str, hold: Hold) -> str:
        """Have the node hold itself no longer, if it is held by this incident.

        Raises:
            Refused: the hold on it is not ours.
            Permanent: its agent takes no such order.
            Retryable: its agent does not answer, or could not do it.
        """
        ended = await self._order(node, OrderAction.RELEASE, hold)
        before = self._said.get(node)
        self._now(
            node, ended, NodeHold(foreign=before.hold.foreign if before is not None else "", jobs_unknown=NOT_YET)
        )
        return f"{node} says: {ended.because}"

    def heard(self, node: str, level: Status) -> None:
        """A node said how it stands."""
        self._allowed[node] = frozenset(level.facts.orders_allowed)
        before = self._said.get(node)
        if before is not None and 0.0 <= before.observed_at - level.observed_at < LATE_S:
            return
        if level.hold is None:
            self._said.pop(node, None)
            return
        self._said[node] = Said(level.hold, level.observed_at, self.clock())

    def order_ended(self, event: OrderEnded) -> None:
        """A node said how an order ended."""
        awaited = self._awaited.get(event.order_id)
        if awaited is not None and not awaited.done():
            awaited.set_result(event)

    def _now(self, node: str, ended: OrderEnded, hold: NodeHold) -> None:
        """Believe an answer at once: a level that was on its way when the node gave it is older."""
        before = self._said.get(node)
        if before is None or before.observed_at < ended.observed_at:
            self._said[node] = Said(hold, ended.observed_at, self.clock())

    async def _order(self, node: str, action: OrderAction, hold: Hold) -> OrderEnded:
        """Give an order and return how it ended, well.

        Each try is an order of its own: the node looks who holds it and then acts, so that a repetition does no harm,
        and what it could not do once it may be able to do now. One that was not answered ends before the next begins.
        """
        self._refuse_unable(node, action)
        now = self.clock()
        order_id = f"{hold.key}/{action}/{round(now * 1_000)}"
        parameters = {"reason": hold.reason}
        order = Order(
            order_id, node, action, now, now + self.deadline_s, hold.fencing_token, "", hold.incident_id, parameters
        )
        awaited = self._awaited[order_id] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self.deadline_s):
                await self.desk.send(order)
                return _well(node, await awaited)
        except TimeoutError as error:
            because = (
                f"the agent on {node} did not answer within {self.deadline_s:g} s whether it took the order {action}"
            )
            raise Retryable(because, after_s=RETRY_AFTER_S) from error
        finally:
            self.desk.ended(order_id)
            del self._awaited[order_id]

    def _refuse_unable(self, node: str, action: OrderAction) -> None:
        allowed = self._allowed.get(node)
        if allowed is not None and action not in allowed:
            raise Permanent(
                f"the agent on {node} takes no order {action}: add hold and release to orders_allowed in its file"
            )


def _well(node: str, ended: OrderEnded) -> OrderEnded:
    """Return the answer of a node that did as it was told."""
    match ended.outcome:
        case "done":
            return ended
        case "refused" if ended.because.startswith("the node is held"):
            raise Refused(f"{node} says: {ended.because}")
        case "refused" if ended.because.startswith("expired"):
            raise Retryable(f"{node} says: {ended.because}", after_s=RETRY_AFTER_S)
        case "refused":
            raise Permanent(f"{node} says: {ended.because}")
        case _:
            raise Retryable(f"{node} says: {ended.because}", after_s=RETRY_AFTER_S)


def _schedule(hold: NodeHold) -> NodeSchedule:
    held = bool(hold.held_by or hold.foreign)
    return NodeSchedule(
        not held, hold.held_by, hold.foreign, tuple(hold.jobs), jobs_unknown=hold.jobs_unknown[:MOST_LETTERS]
    )


def _other(node: str, hold: NodeHold) -> str:
    """Return who else holds the node, empty when nobody does."""
    if hold.foreign:
        return f"{node} is held by somebody else: {hold.foreign}"
    return f"{node} is held for another incident of fleetmend: {hold.held_by}" if hold.held_by else ""
