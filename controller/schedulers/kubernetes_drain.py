"""Has pods leave a node: each is asked once and waited for, and asked again when its disruption budget may allow it.

What was asked is remembered here and nowhere else: a controller that starts anew asks again, and the API answers for a
pod that is on its way as for one that is gone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import structlog

from controller.adapters import Waiting
from controller.errors import Permanent, Refused, Retryable
from controller.schedulers.kubernetes_access import Access
from controller.schedulers.kubernetes_answers import CONFLICT, GONE, Answered, failure_of
from controller.schedulers.kubernetes_pods import Drain, Move, PodPolicies, PodState, moves
from controller.schedulers.kubernetes_waiting import waiting_for

log = structlog.get_logger()

ASK_AGAIN_S = 5.0
"""How long a pod that its disruption budget held back is left alone. Source: kubectl drain's own 5 s."""

TAKEN_UP_S = 10.0
"""Within this time a pod whose eviction was accepted must be seen ending. Source: our choice, above a watch's delay."""

AT_ONCE = 32
"""Evictions under way at one time, of all nodes together. Source: our choice; a 1.20 API takes 200 writes at a time."""

Wanted = Sequence[tuple[PodState, Move]]


@dataclass(slots=True)
class Drainer:
    """Asks pods to go.

    Attributes:
        grace_period_s: for every pod, `None` leaves it to each.
        clock: a monotonic one.
    """

    access: Access
    policies: PodPolicies
    grace_period_s: int | None = None
    clock: Callable[[], float] = time.monotonic
    _accepted: dict[str, float] = field(default_factory=dict)
    _held_back: dict[str, float] = field(default_factory=dict)
    _hopeless: dict[str, Permanent] = field(default_factory=dict)
    _turn: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    def wanted(self, pods: Sequence[PodState], drain: Drain) -> Wanted:
        """Return what is to be asked for now.

        Raises:
            Refused: a rule forbids to evict one of the pods; then none is.
            Permanent: not one of the pods can be evicted.
            Retryable: an eviction was accepted, and nothing came of it.
        """
        planned = moves(pods, drain, self.policies)
        for pod, move in planned:
            if move is Move.REFUSE:
                raise Refused(f"{pod.title} must not be evicted by the site's settings ({_why(pod)})")
        if pods and all(pod.uid in self._hopeless for pod in pods):
            raise self._forgotten(pods)
        return [(pod, move) for pod, move in planned if move is not Move.LEAVE and self._may_ask(pod)]

    def waiting(self, pods: Sequence[PodState], drain: Drain) -> Waiting:
        """Return what a step of the drain left to be waited for."""
        return waiting_for(moves(pods, drain, self.policies), self._held_back.keys(), drain)

    def _forgotten(self, pods: Sequence[PodState]) -> Permanent:
        """Forget what stands in the way: whoever tries again has mended something."""
        failures = [self._hopeless.pop(pod.uid) for pod in pods]
        return failures[0]

    def _may_ask(self, pod: PodState) -> bool:
        now = self.clock()
        if pod.uid in self._accepted and not pod.ends_at:
            if now < self._accepted[pod.uid] + TAKEN_UP_S:
                return False
            del self._accepted[pod.uid]
            raise Retryable(f"Kubernetes accepted that {pod.title} goes, and it runs on all the same", after_s=1.0)
        return now >= self._held_back.get(pod.uid, 0.0)

    async def carry_out(self, wanted: Wanted) -> None:
        """Ask for each, and let none keep another from being asked for.

        Raises:
            Retryable, Permanent, Refused: what went wrong with the first that went wrong.
        """
        self._forget_old()
        failures = [f for f in await asyncio.gather(*(self._ask(pod, move) for pod, move in wanted)) if f is not None]
        if failures:
            raise failures[0]

    async def _ask(self, pod: PodState, move: Move) -> Retryable | Permanent | Refused | None:
        try:
            async with self._turn:
                await self._asked(pod, move)
        except Answered as error:
            return self._understood(pod, error)
        except (Retryable, Permanent) as error:
            return error
        self._accepted[pod.uid] = self.clock()
        self._held_back.pop(pod.uid, None)
        return None

    def _asked(self, pod: PodState, move: Move) -> Awaitable[None]:
        options: dict[str, object] = {"preconditions": {"uid": pod.uid}}
        grace_s = 0 if move is Move.FORCE else self.grace_period_s
        if grace_s is not None:
            options["gracePeriodSeconds"] = grace_s
        ask = self.access.evict if move is Move.EVICT else self.access.delete_pod
        return ask(pod.namespace, pod.name, options)

    def _understood(self, pod: PodState, error: Answered) -> Retryable | Permanent | Refused | None:
        """Return what the engine is told: nothing of a pod that is gone, or that has to wait."""
        answer = error.answer
        if answer.code in {GONE, CONFLICT}:
            return None
        failure = failure_of(answer, f"the eviction of {pod.title}")
        if answer.budget_forbids:
            self._hold_back(pod, answer.message)
            return None
        if isinstance(failure, Permanent) and answer.code >= 500:
            self._hold_back(pod, str(failure))
            self._hopeless[pod.uid] = failure
            return None
        return failure

    def _hold_back(self, pod: PodState, because: str) -> None:
        if pod.uid not in self._held_back:
            log.info("job.kept", job=pod.title, nodes=pod.node, because=because)
        self._held_back[pod.uid] = self.clock() + ASK_AGAIN_S

    def _forget_old(self) -> None:
        """Forget pods that nobody asked about for long."""
        horizon = self.clock() - FORGET_S
        for kept in (self._accepted, self._held_back):
            for uid in [uid for uid, at in kept.items() if at < horizon]:
                del kept[uid]
                self._hopeless.pop(uid, None)


FORGET_S = 3600.0
"""Source: our choice, above every time limit of a drain that asks."""


def _why(pod: PodState) -> str:
    return "nothing would make it anew" if pod.unmanaged else "it keeps data on the node's disk"
