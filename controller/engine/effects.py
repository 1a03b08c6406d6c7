"""Carries intents out: intent is in the log before, outcome after, and the key makes the effect happen once.

A controller that died in between finds the intent without an outcome at its next start and takes it up again: it looks
first and then acts (schedulers), gives the same order id again (nodes), or the same key again (notices and BMCs whose
other end can tell). What cannot be told apart from outside is recorded as in doubt; controller/policy/verb_effects.py
says what follows. What an adapter calls retryable is tried again under the same key, as recorded: a restart goes on
counting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from controller.adapters import Explaining, Hold, PartialDrain, Power, Rebooting, Scheduler
from controller.cell import Cell
from controller.engine.orders import OrderDesk
from controller.engine.powering import ask_for_cycle, evidence_of
from controller.errors import InDoubt, Permanent, Refused, Retryable
from controller.events import Logged, StepEnded, StepIntended, StepProgressed
from controller.evidence.desk import Asked, Evidence, NoEvidence
from controller.notices.desk import NoticeDesk
from controller.policy.playbook import BY_SCHEDULER, DEVICE, ORDERS, Retry, Verb
from controller.policy.presence import NODE_LOST
from controller.policy.verb_effects import JITTER, delay_s, retry_of
from controller.power.none import NoPower
from controller.tracing.traces import NoTraces, Traces
from wire.evidence import SINCE
from wire.orders import Order, OrderAction

log = structlog.get_logger()

DRAIN_POLL_S = 1.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an effect ended, as `StepEnded` says it."""

    kind: str
    because: str
    permanent: bool = False
    evidence: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Effects:
    """The engine's hands.

    Attributes:
        leads: whether this controller may act at this moment (I8); asked before each effect.
    """

    cell: Cell
    scheduler: Scheduler
    notices: NoticeDesk
    desk: OrderDesk
    clock: Callable[[], float]
    observe_now: Callable[[], None] = lambda: None
    leads: Callable[[], bool] = lambda: True
    power: Power = field(default_factory=NoPower)
    evidence: Evidence = field(default_factory=NoEvidence)
    traces: Traces = field(default_factory=NoTraces)
    _running: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    def act(self, entry: Logged) -> None:
        """Begin what a committed entry asks for."""
        if isinstance(entry.event, StepIntended):
            self._begin(entry.event, resumed=False)

    def resume(self) -> int:
        """Take up what an earlier controller intended and did not see the end of; return how many steps that are."""
        intents = [i.intent for i in self.cell.belief.open_incidents.values() if i.intent is not None]
        for intent in intents:
            log.info("step.resumed", incident_id=intent.incident_id, step=intent.step, key=intent.key)
            self._begin(intent, resumed=not self._put_off_still(intent))
        return len(intents)

    async def close(self) -> None:
        """Let go of what is under way; the next start takes it up."""
        for task in list(self._running.values()):
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    def _begin(self, intent: StepIntended, *, resumed: bool) -> None:
        effect = self._effect_of(intent, resumed=resumed)
        if effect is None:
            return
        seen = self.traces.watch(intent, effect)
        task = asyncio.create_task(self._carry_out(intent, seen), name=intent.key)
        self._running[intent.key] = task
        task.add_done_callback(lambda _: self._running.pop(intent.key, None))

    def _effect_of(self, intent: StepIntended, *, resumed: bool) -> Callable[[], Awaitable[Outcome | None]] | None:
        verb = Verb(intent.verb)
        if verb is Verb.REBOOT and intent.parameters.get("by") == BY_SCHEDULER:
            return lambda: self._reboot_by_scheduler(intent)
        if verb in ORDERS:
            return lambda: self._collect(intent) if verb is Verb.COLLECT else self._order(intent)
        match verb:
            case Verb.CORDON:
                return lambda: self._cordon(intent)
            case Verb.DRAIN:
                return lambda: self._drain(intent)
            case Verb.UNCORDON:
                return lambda: self._uncordon(intent)
            case Verb.TICKET | Verb.PAGE:
                return lambda: self._notify(intent, resumed=resumed)
            case Verb.POWER_CYCLE:
                return lambda: self._power_cycle(intent, resumed=resumed)
            case _:
                return None

    async def _carry_out(self, intent: StepIntended, effect: Callable[[], Awaitable[Outcome | None]]) -> None:
        outcome = await self._until_ended(intent, effect)
        if outcome is None:
            return
        await self.cell.submit(
            [
                StepEnded(
                    intent.incident_id,
                    intent.step,
                    intent.attempt,
                    outcome.kind,
                    outcome.because,
                    intent.key,
                    outcome.evidence,
                    permanent=outcome.permanent,
                )
            ]
        )
        if intent.verb in {Verb.CORDON, Verb.UNCORDON}:
            self.observe_now()

    async def _until_ended(
        self, intent: StepIntended, effect: Callable[[], Awaitable[Outcome | None]]
    ) -> Outcome | None:
        """Try until it is done, refused, hopeless or too late. Only what an adapter calls retryable is retried."""
        if not await self._wait_on(intent):
            return None
        while self.leads():
            try:
                return await effect()
            except Refused as refusal:
                return Outcome("refused", str(refusal))
            except InDoubt as doubt:
                return Outcome("in_doubt", str(doubt))
            except Permanent as error:
                return Outcome("failed", str(error), permanent=True)
            except Retryable as error:
                if not await self._put_off(intent, error):
                    return Outcome("failed", f"Given up after {self._spent_s(intent):.0f} s: {error}")
                if not self._current(intent):
                    return None
            except Exception as error:
                log.exception("step.crashed", key=intent.key)
                return Outcome("failed", f"The adapter for {intent.verb} crashed: {type(error).__name__}: {error}")
        log.error("step.withheld", key=intent.key, because="This controller leads no more.")
        return None

    async def _wait_on(self, intent: StepIntended) -> bool:
        """Sit out what is left of a delay that was recorded before; return whether the step is still wanted."""
        progress = self._progress(intent)
        if progress is None or progress.state != "delayed":
            return True
        # Were the clock set back meanwhile, the moment that was recorded would be far off.
        longest_s = self._retry(intent).at_most_s * (1.0 + JITTER)
        await asyncio.sleep(min(max(0.0, progress.retry_at - self.clock()), longest_s))
        return self._current(intent)

    async def _put_off(self, intent: StepIntended, error: Retryable) -> bool:
        """Record a delay and sit it out; return False when the step's time would be over before."""
        before = self._progress(intent)
        failures = (before.failures if before is not None else 0) + 1
        wait_s = delay_s(self._retry(intent), failures=failures, key=intent.key, least_s=error.after_s)
        retry_at = self.clock() + wait_s
        until = before.until if before is not None else 0.0
        if retry_at >= self._ends_by(intent):
            return False
        await self._note(intent, "delayed", str(error), failures=failures, retry_at=retry_at, until=until)
        await asyncio.sleep(wait_s)
        return True

    def _ends_by(self, intent: StepIntended) -> float:
        """Return when a step has failed at the latest, by the clock as it is now."""
        incident = self.cell.belief.incidents.get(intent.incident_id)
        is_current = incident is not None and incident.intent is not None and incident.intent.key == intent.key
        return incident.ends_by if incident is not None and is_current else intent.expires_at

    def _put_off_still(self, intent: StepIntended) -> bool:
        """Whether the next try of a step had not begun yet, as recorded: then nothing about it is in doubt."""
        progress = self._progress(intent)
        return progress is not None and progress.state == "delayed" and self.clock() < progress.retry_at

    def _progress(self, intent: StepIntended) -> StepProgressed | None:
        incident = self.cell.belief.incidents.get(intent.incident_id)
        progress = incident.progress if incident is not None else None
        return progress if progress is not None and progress.key == intent.key else None

    def _retry(self, intent: StepIntended) -> Retry:
        incident = self.cell.belief.incidents.get(intent.incident_id)
        step = incident.step() if incident is not None else None
        return retry_of(step) if step is not None and step.name == intent.step else Retry()

    def _spent_s(self, intent: StepIntended) -> float:
        incident = self.cell.belief.incidents.get(intent.incident_id)
        return self.clock() - incident.intent_at if incident is not None else 0.0

    def _hold(self, intent: StepIntended) -> Hold:
        incident = self.cell.belief.incidents[intent.incident_id]
        device = intent.device if intent.parameters.get("scope") == DEVICE else ""
        return Hold(intent.hold_id, incident.because, intent.key, self.desk.term, device)

    async def _cordon(self, intent: StepIntended) -> Outcome:
        return Outcome("done", await self.scheduler.cordon(intent.node, self._hold(intent)))

    async def _uncordon(self, intent: StepIntended) -> Outcome:
        return Outcome("done", await self.scheduler.uncordon(intent.node, self._hold(intent)))

    async def _drain(self, intent: StepIntended) -> Outcome | None:
        hold, began = self._hold(intent), self.clock()
        while self._current(intent):
            jobs = await self.scheduler.drain(intent.node, hold, jobs=intent.parameters.get("jobs", "wait"))
            if not jobs:
                said = f"No job is left on {intent.node} after {self.clock() - began:.0f} s."
                return Outcome("done", self._reach(hold) if hold.device else said)
            await self._note_waiting(intent)
            await asyncio.sleep(DRAIN_POLL_S)
        return None

    async def _note_waiting(self, intent: StepIntended) -> None:
        """Say what the drain waits for, when the scheduler knows and it is another than before."""
        if not isinstance(self.scheduler, Explaining):
            return
        waiting, before = self.scheduler.waits_for(intent.node), self._progress(intent)
        if before is not None and (before.because, before.until) == (waiting.because, waiting.until):
            return
        await self._note(intent, "waiting", waiting.because, until=waiting.until)

    def _reach(self, hold: Hold) -> str:
        if isinstance(self.scheduler, PartialDrain):
            return self.scheduler.reach(hold)
        return f"No job is left on the whole node: {self.scheduler.name} cannot say which jobs hold {hold.device}."

    def _current(self, intent: StepIntended) -> bool:
        """Whether the policy still wants this step of us: it may have timed out or been aborted meanwhile."""
        if not self.leads():
            return False
        incident = self.cell.belief.open_incidents.get(intent.incident_id)
        return incident is not None and incident.intent is not None and incident.intent.key == intent.key

    async def _notify(self, intent: StepIntended, *, resumed: bool) -> Outcome | None:
        sent = await self.notices.file(intent, resumed=resumed)
        return None if sent is None else Outcome(sent.outcome, sent.because, sent.permanent)

    async def _order(self, intent: StepIntended) -> None:
        """Send the order. How it ended comes from the node, and the policy judges it."""
        await self.desk.send(
            Order(
                order_id=intent.key,
                node=intent.node,
                action=_ACTIONS[Verb(intent.verb)],
                issued_at=self.clock(),
                expires_at=intent.expires_at,
                fencing_token=self.desk.term,
                device=intent.device,
                incident_id=intent.incident_id,
                parameters={**intent.parameters, **await self._evidence_for(intent)},
            )
        )

    async def _evidence_for(self, intent: StepIntended) -> dict[str, str]:
        """Return what an order to gather evidence says besides: since when, and where to the bundle may be sent."""
        if intent.verb != Verb.COLLECT:
            return {}
        since = {SINCE: f"{self.cell.belief.incidents[intent.incident_id].opened_at:.0f}"}
        return since | await self.evidence.parameters_for(Asked(intent.key, intent.node, intent.incident_id))

    async def _power_cycle(self, intent: StepIntended, *, resumed: bool) -> None:
        """Have the node switched off and on. That it was is shown by the node: it comes back with another boot id."""
        progress = self._progress(intent)
        if progress is not None and progress.state == "accepted":
            return
        asked = await ask_for_cycle(self.power, self.cell.belief, intent, term=self.desk.term, resumed=resumed)
        await self._note(intent, asked.state, asked.because)

    async def _collect(self, intent: StepIntended) -> Outcome | None:
        """Have the node gather evidence; of one that is not heard, its BMC tells what it knows."""
        if intent.node in self.cell.belief.silent:
            found, because = await evidence_of(self.power, intent.node)
            if found:
                return Outcome("done", because, evidence=found)
            if NODE_LOST in self.cell.belief.nodes[intent.node].findings:
                return Outcome("failed", f"{intent.node} is lost, and no BMC is there to be asked for evidence.")
        await self._order(intent)
        return None

    async def _reboot_by_scheduler(self, intent: StepIntended) -> None:
        """Have the scheduler reboot the node. That it did is shown by the node: it comes back with another boot id."""
        progress = self._progress(intent)
        if progress is not None and progress.state == "accepted":
            return
        if not isinstance(self.scheduler, Rebooting):
            raise Refused(f"The scheduler ({self.scheduler.name}) cannot reboot nodes; leave out `by: {BY_SCHEDULER}`.")
        await self._note(intent, "accepted", await self.scheduler.reboot(intent.node, self._hold(intent)))

    async def _note(
        self,
        intent: StepIntended,
        state: str,
        because: str,
        *,
        failures: int = 0,
        retry_at: float = 0.0,
        until: float = 0.0,
    ) -> None:
        step = (intent.incident_id, intent.step, intent.attempt, intent.key)
        await self.cell.submit([StepProgressed(*step, state, because, failures, retry_at, until)])


_ACTIONS = {
    Verb.COLLECT: OrderAction.COLLECT,
    Verb.RESTART_SERVICE: OrderAction.RESTART_SERVICE,
    Verb.RESET_GPU: OrderAction.RESET_GPU,
    Verb.RELOAD_DRIVER: OrderAction.RELOAD_DRIVER,
    Verb.REBOOT: OrderAction.REBOOT,
    Verb.VERIFY: OrderAction.RUN_CHECKS,
}
