"""What the node may do to itself: only signed, unexpired, never-seen-before orders on its own allow-list.

An order is in the ledger (agent/ledger.py) before it is begun, one is carried out at a time (holds, and looks at other
hosts, beside it), and its outcome goes through the outbox like every other event. What is not signed by a trusted key,
or is for another node, is counted and dropped without an answer.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, Protocol, assert_never

import structlog

from agent import ledger as ledgers
from agent.bundles.keeper import Gatherer, NoBundles
from agent.clock import Clock
from agent.desk import Desk, Journal
from agent.evidence import bound, contents, describe, report
from agent.holding import Holding
from agent.ledger import LEDGER, Ledger
from agent.machine import ActionFailed, ActionRefused, Done, Machine
from agent.plain_text import plain
from agent.reaching import reach
from agent.sources.tool import Tool
from checks.finding import Verdict
from checks.gpu import count
from checks.readings import NvmlReading
from wire.messages import CheckLevel, Envelope, OrderEnded, Refused, SignedOrder, Status
from wire.orders import Order, OrderAction, UnknownAction, check_acceptable

log = structlog.get_logger()

SIGNATURES: Final = "wire.signatures"
"""Imported at the first order: a node that never gets one does not carry the library for it."""

NEIGHBOURS_TOO: Final = "reset"
FORCED: Final = "when_stuck"
"""What an order says in `neighbours` and in `force`; anything else is no."""

HOLDS: Final = frozenset({OrderAction.HOLD, OrderAction.RELEASE})
"""Carried out beside a repair: that one goes on for minutes must not keep a node in service, nor out of it."""

NVML: Final = NvmlReading.SOURCE
GPU_COUNT: Final = count.ID
"""A check that NVML feeds: by it a fresh reading is asked for."""

FLUSH_LIMIT_S: Final = 2.0
FLUSH_LOOK_S: Final = 0.05
"""Before a reboot the controller gets this long to store what the node has to say, looked at so often."""

LOG_EVERY_S: Final = 60.0
"""Rejections are logged no more often than this: whoever sends them must not fill the disk."""


class Checks(Protocol):
    """What orders need of the runner."""

    @property
    def kernel_lines(self) -> tuple[str, ...]:
        """The last lines of the kernel log, oldest first."""
        ...

    @property
    def last_readings(self) -> Mapping[str, Any]:
        """The newest reading of each source."""
        ...

    async def run_checks(self, ids: Iterable[str]) -> dict[str, CheckLevel]:
        """Judge these checks on fresh readings."""
        ...

    def status(self) -> Status:
        """Return the whole level."""
        ...


class OrderJournal(Journal, Protocol):
    """What orders need of the outbox."""

    def depth(self) -> int:
        """Return how many events wait."""
        ...


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

    def __init__(
        self,
        rules: Rules,
        *,
        machine: Machine,
        checks: Checks,
        desk: Desk,
        journal: OrderJournal,
        notify: Callable[[], None],
        clock: Clock | None = None,
        holding: Holding | None = None,
        bundles: Gatherer | None = None,
    ) -> None:
        """Take up the ledger and tell of the orders that the last stop cut off; none of them is run again."""
        self.rejected = 0
        self._rules, self._machine, self._checks, self._desk = rules, machine, checks, desk
        self._journal, self._notify = journal, notify
        self._holding = holding
        self._clock = clock or Clock()
        self._bundles = bundles or NoBundles()
        self._boot_id = machine.boot_id()
        self._ledger = self._load()
        self._one_at_a_time, self._hold_in_turn, self._reach_in_turn = asyncio.Lock(), asyncio.Lock(), asyncio.Lock()
        self._waiting: dict[str, asyncio.Task[None]] = {}
        self._quiet_until = 0.0
        self._nvidia_smi = Tool(shutil.which("nvidia-smi") or "")
        for ended in ledgers.interrupted(self._ledger, boot_id=self._boot_id, now=self._clock.wall()):
            self._end(ended)

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
            self._tell(known.ended())
        elif known is None and order.order_id not in self._waiting:
            task = asyncio.create_task(self._obey(order), name=f"order {order.order_id}")
            self._waiting[order.order_id] = task
            task.add_done_callback(lambda _: self._waiting.pop(order.order_id, None))

    async def recover(self) -> None:
        """Have the machine bring back what a repair took away that its process did not survive; orders wait for it."""
        async with self._one_at_a_time:
            try:
                said = await self._machine.recover()
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
        """Break off what is under way; the next start tells that it was."""
        tasks = set(self._waiting.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._bundles.close()

    def _load(self) -> Ledger:
        try:
            return ledgers.load(self._journal.load(LEDGER))
        except ValueError as error:
            log.error("ledger.lost", because=str(error))
            return Ledger()

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
        self._tell(OrderEnded(order.order_id, "refused", plain(str(unknown)), now, now))

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
                check_acceptable(
                    order,
                    node=self._rules.node,
                    now=now,
                    allowed=self._rules.allowed,
                    last_token=self._ledger.last_token,
                )
            except Refused as refusal:
                self._save(ledgers.refuse(self._ledger, order, str(refusal), boot_id=self._boot_id, now=now))
                self._tell(self._ledger.entries[order.order_id].ended())
                log.warning("order.refused", order_id=order.order_id, action=order.action, because=str(refusal))
                return
            self._save(ledgers.begin(self._ledger, order, boot_id=self._boot_id, now=now))
            log.info("order.begun", order_id=order.order_id, action=order.action, device=order.device)
            await self._carry_out(order, now)

    def _turn(self, action: OrderAction) -> asyncio.Lock:
        if action is OrderAction.REACH:
            return self._reach_in_turn
        return self._hold_in_turn if action in HOLDS else self._one_at_a_time

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
        match order.action:
            case OrderAction.RUN_CHECKS:
                return await self._run_checks(order, started_at)
            case OrderAction.COLLECT:
                return await self._collect(order)
            case OrderAction.REACH:
                return await reach(order)
            case OrderAction.RESTART_SERVICE:
                return await self._machine.restart_service(order.parameters.get("service") or order.device)
            case OrderAction.RESET_GPU:
                return await self._reset_gpu(order)
            case OrderAction.RELOAD_DRIVER:
                return await self._reload_driver()
            case OrderAction.REBOOT:
                return await self._reboot(order, started_at)
            case OrderAction.HOLD | OrderAction.RELEASE | OrderAction.BENCH:
                return await self._by_whoever_does_it(order)
            case OrderAction.INJECT_FAULT:
                fault = order.parameters.get("fault", "")
                return await self._machine.inject_fault(fault, device=order.device, parameters=order.parameters)
        assert_never(order.action)

    async def _by_whoever_does_it(self, order: Order) -> Done:
        if order.action is OrderAction.BENCH:
            raise ActionRefused("this node runs no benchmarks")
        if self._holding is None:
            raise ActionRefused("this node does not hold itself")
        obey = self._holding.hold if order.action is OrderAction.HOLD else self._holding.release
        return await obey(order)

    async def _run_checks(self, order: Order, started_at: float) -> Done:
        """Return the verdict of each check on fresh readings as evidence, under the check's id."""
        asked = [name.strip() for name in order.parameters.get("checks", "").split(",") if name.strip()]
        strange = sorted(set(asked) - set(self._desk.check_ids))
        if strange:
            raise ActionRefused(f"this node has no check {', '.join(strange)}")
        levels = await self._checks.run_checks(asked or self._desk.check_ids)
        proven = {check: _proven(level, started_at) for check, level in levels.items()}
        verdicts = {check: level.verdict for check, level in proven.items()}
        bad = [
            f"{check} {level.verdict}: {level.because}"
            for check, level in proven.items()
            if level.verdict != Verdict.OK
        ]
        return Done(f"{len(verdicts)} checks on fresh readings: {'; '.join(bad) or 'all ok'}", verdicts)

    async def _collect(self, order: Order) -> Done:
        """Return the small summary; the large bundle is gathered before this ends, and sent after."""
        evidence = describe(self._checks.status(), self._checks.last_readings, self._checks.kernel_lines)
        if not self._machine.simulated:
            said = await report(self._nvidia_smi, "-q")
            evidence |= {"nvidia-smi.txt": said} if said else {}
        bundle = await self._bundles.gather(order, evidence)
        because = f"collected {contents(evidence)}"
        return Done(f"{because}; {bundle}" if bundle else because, evidence)

    async def _reset_gpu(self, order: Order) -> Done:
        neighbours = order.parameters.get("neighbours") == NEIGHBOURS_TOO
        done = await self._machine.reset_gpu(order.device, neighbours=neighbours)
        gpus = done.gpus or (order.device,)
        for gpu in gpus:
            self._desk.device_was_reset(gpu)
        await self._see_answer(gpus)
        return done

    async def _reload_driver(self) -> Done:
        known = self._checks.last_readings.get(NVML)
        before = tuple(gpu.uuid for gpu in known.gpus if gpu.uuid) if known is not None else ()
        done = await self._machine.reload_driver()
        for gpu in before:
            self._desk.device_was_reset(gpu)
        await self._see_answer(before)
        return done

    async def _see_answer(self, gpus: Sequence[str]) -> None:
        """Return when NVML tells of these GPUs on a reading that began just now.

        Raises:
            ActionFailed: it does not: whatever was said of the repair, it did not bring them back.
        """
        began = self._clock.monotonic()
        await self._checks.run_checks((GPU_COUNT,))
        reading = self._checks.last_readings.get(NVML)
        if reading is None or reading.at_s < began:
            raise ActionFailed("it went through, but NVML could not be asked afterwards")
        if reading.failure:
            raise ActionFailed(f"it went through, but NVML does not answer: {reading.failure} {reading.detail}".strip())
        found = {gpu.uuid: gpu for gpu in reading.gpus if gpu.uuid and not gpu.lost}
        if silent := [gpu for gpu in gpus if gpu not in found]:
            raise ActionFailed(f"it went through, but {', '.join(silent)} does not answer NVML")
        if ill := [gpu for gpu in gpus if found[gpu].reset_required]:
            raise ActionFailed(f"it went through, but NVML says of {', '.join(ill)} that it needs a reset")

    async def _reboot(self, order: Order, started_at: float) -> Done:
        """Say that the node goes down, and begin to. The order stays open: the next boot ends it."""
        now = self._clock.wall()
        self._tell(OrderEnded(order.order_id, "accepted", "the node is going down for a reboot", started_at, now))
        until = self._clock.monotonic() + FLUSH_LIMIT_S
        while self._journal.depth() and self._clock.monotonic() < until:
            await self._clock.sleep(FLUSH_LOOK_S)
        return await self._machine.reboot(force=order.parameters.get("force") == FORCED)

    def _end(self, ended: OrderEnded) -> None:
        """The ledger first: were the answer first and the process killed, the next start would say something else."""
        self._save(ledgers.end(self._ledger, ended))
        self._tell(ended)
        log.info("order.ended", order_id=ended.order_id, outcome=ended.outcome, because=ended.because)

    def _save(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._journal.save(LEDGER, ledgers.dump(ledger))

    def _tell(self, ended: OrderEnded) -> None:
        self._desk.note_event(self._journal.put(ended, ended.observed_at))
        self._notify()


def _proven(level: CheckLevel, started_at: float) -> CheckLevel:
    """Return the level; `ok` only if it was judged since the order began."""
    if level.verdict == Verdict.OK and level.judged_at < started_at:
        return CheckLevel(Verdict.UNKNOWN, level.judged_at, "no reading since the order began")
    return level
