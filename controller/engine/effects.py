"""Carries intents out: intent is in the log before, outcome after, and the key makes the effect happen once.

A controller that died in between finds the intent without an outcome at its next start and takes it up again: it looks
first and then acts (schedulers), gives the same order id again (nodes), or the same key again (notices whose receiver
can tell). What cannot be told apart from outside is recorded as `in_doubt`, and the next attempt says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from controller.adapters import Hold, Notifier, Scheduler
from controller.cell import Cell
from controller.engine.orders import OrderDesk
from controller.errors import Permanent, Refused, Retryable
from controller.events import Logged, StepEnded, StepIntended
from controller.notices import notice_for
from controller.policy.playbook import ORDERS, Verb
from controller.rma import bundle_of
from wire.orders import Order, OrderAction

log = structlog.get_logger()

DRAIN_POLL_S = 1.0
Outcome = tuple[str, str]


@dataclass(slots=True)
class Effects:
    """The engine's hands.

    Attributes:
        page_url: where people find the status page.
    """

    cell: Cell
    scheduler: Scheduler
    tickets: Notifier
    pages: Notifier
    desk: OrderDesk
    clock: Callable[[], float]
    page_url: str
    observe_now: Callable[[], None] = lambda: None
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
            self._begin(intent, resumed=True)
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
        task = asyncio.create_task(self._carry_out(intent, effect), name=intent.key)
        self._running[intent.key] = task
        task.add_done_callback(lambda _: self._running.pop(intent.key, None))

    def _effect_of(self, intent: StepIntended, *, resumed: bool) -> Callable[[], Awaitable[Outcome | None]] | None:
        verb = Verb(intent.verb)
        if verb in ORDERS:
            return lambda: self._order(intent)
        match verb:
            case Verb.CORDON:
                return lambda: self._cordon(intent)
            case Verb.DRAIN:
                return lambda: self._drain(intent)
            case Verb.UNCORDON:
                return lambda: self._uncordon(intent)
            case Verb.TICKET:
                return lambda: self._notify(self.tickets, intent, resumed=resumed)
            case Verb.PAGE:
                return lambda: self._notify(self.pages, intent, resumed=resumed)
            case Verb.POWER_CYCLE:
                return self._no_power
            case _:
                return None

    async def _carry_out(self, intent: StepIntended, effect: Callable[[], Awaitable[Outcome | None]]) -> None:
        outcome = await self._until_ended(intent, effect)
        if outcome is None:
            return
        kind, because = outcome
        await self.cell.submit([StepEnded(intent.incident_id, intent.step, intent.attempt, kind, because, intent.key)])
        if intent.verb in {Verb.CORDON, Verb.UNCORDON}:
            self.observe_now()

    async def _until_ended(
        self, intent: StepIntended, effect: Callable[[], Awaitable[Outcome | None]]
    ) -> Outcome | None:
        """Try until it is done, refused, hopeless or too late. Only what an adapter calls retryable is retried."""
        while True:
            try:
                return await effect()
            except Refused as refusal:
                return "refused", str(refusal)
            except Permanent as error:
                return "failed", str(error)
            except Retryable as error:
                if self.clock() + error.after_s >= intent.expires_at:
                    return "failed", f"Given up after {intent.expires_at - self.clock():.0f} s: {error}"
                log.warning("step.delayed", key=intent.key, because=str(error), after_s=error.after_s)
                await asyncio.sleep(error.after_s)
            except Exception as error:
                log.exception("step.crashed", key=intent.key)
                return "failed", f"The adapter for {intent.verb} crashed: {type(error).__name__}: {error}"

    def _hold(self, intent: StepIntended) -> Hold:
        incident = self.cell.belief.incidents[intent.incident_id]
        return Hold(intent.hold_id, incident.because, intent.key, self.desk.term)

    async def _cordon(self, intent: StepIntended) -> Outcome:
        return "done", await self.scheduler.cordon(intent.node, self._hold(intent))

    async def _uncordon(self, intent: StepIntended) -> Outcome:
        return "done", await self.scheduler.uncordon(intent.node, self._hold(intent))

    async def _drain(self, intent: StepIntended) -> Outcome | None:
        hold, began = self._hold(intent), self.clock()
        while self._current(intent):
            jobs = await self.scheduler.drain(intent.node, hold, jobs=intent.parameters.get("jobs", "wait"))
            if not jobs:
                return "done", f"No job is left on {intent.node} after {self.clock() - began:.0f} s."
            await asyncio.sleep(DRAIN_POLL_S)
        return None

    def _current(self, intent: StepIntended) -> bool:
        """Whether the policy still wants this step: it may have timed out or been aborted meanwhile."""
        incident = self.cell.belief.open_incidents.get(intent.incident_id)
        return incident is not None and incident.intent is not None and incident.intent.key == intent.key

    async def _notify(self, notifier: Notifier, intent: StepIntended, *, resumed: bool) -> Outcome:
        if resumed and not notifier.repeatable:
            return "in_doubt", f"The controller stopped while sending; {notifier.name} cannot say whether it arrived."
        incident = self.cell.belief.incidents[intent.incident_id]
        rma = bundle_of(self.cell.belief, incident)
        notice = notice_for(incident, intent, at=self.clock(), page_url=self.page_url, rma=rma)
        reference = await notifier.send(notice)
        return "done", f"Sent by {notifier.name}: {reference}."

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
                parameters=intent.parameters,
            )
        )

    async def _no_power(self) -> Outcome:
        raise Refused("no power adapter is configured, so a power cycle is for people")


_ACTIONS = {
    Verb.COLLECT: OrderAction.COLLECT,
    Verb.RESTART_SERVICE: OrderAction.RESTART_SERVICE,
    Verb.RESET_GPU: OrderAction.RESET_GPU,
    Verb.REBOOT: OrderAction.REBOOT,
    Verb.VERIFY: OrderAction.RUN_CHECKS,
}
