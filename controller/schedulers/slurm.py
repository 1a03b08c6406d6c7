"""Slurm: who may take which node out, what is done about its jobs, and when it is given back.

Slurm keeps one reason per node, and whoever writes last overwrites it. So every effect looks first, writes, and reads
back. Slurm has no compare-and-set: a drain by hand that falls within the few milliseconds between the look and the
write loses its reason to ours.

The controller must be allowed to change nodes and to see everybody's jobs: AdminLevel Admin, root or SlurmUser.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import structlog

from controller.adapters import Hold, NodeSchedule, Waiting
from controller.errors import Permanent, Refused, Retryable
from controller.schedulers import slurm_view
from controller.schedulers.hostlist import expand
from controller.schedulers.slurm_access import SlurmAccess
from controller.schedulers.slurm_failures import understood
from controller.schedulers.slurm_jobs import WAYS, JobRule, is_held, waiting_for, way_of
from controller.schedulers.slurm_programs import SlurmPrograms
from controller.schedulers.slurm_view import SlurmJob, SlurmNode, SlurmReservation
from wire.topics import NAME

log = structlog.get_logger()

MAINTENANCE_S = 60.0
"""How long an effect that must not fall into a maintenance waits before it looks again."""

BUSY_S = 10.0


class InMaintenance(Refused):
    """People work at the node now, as a reservation says."""


@dataclass(slots=True)
class SlurmScheduler:
    """A Slurm cluster.

    Attributes:
        rules: what may be done to jobs at most.
        clock: Unix seconds, to know which reservations hold now.
    """

    access: SlurmAccess = field(default_factory=SlurmPrograms)
    rules: tuple[JobRule, ...] = ()
    clock: Callable[[], float] = time.time
    name: str = "slurm"
    _kept: set[tuple[str, str]] = field(default_factory=set)
    _waiting: dict[str, Waiting] = field(default_factory=dict)

    async def observe(self) -> Mapping[str, NodeSchedule]:
        """Return every node of the cluster, by three questions in all."""
        nodes = await self.access.nodes()
        jobs, reservations = await asyncio.gather(self.access.jobs(), self.access.reservations())
        maintenance = understood(lambda: slurm_view.maintained(reservations, self.clock()))
        return understood(lambda: slurm_view.schedules(nodes, slurm_view.jobs_by_node(jobs), maintenance))

    async def nodes(self, *only: str) -> list[SlurmNode]:
        """Return these nodes, or all, as slurmctld sees them."""
        return await self.access.nodes(*only)

    async def cordon(self, node: str, hold: Hold) -> str:
        """Drain the node in Slurm, which lets its jobs go on. What the node's own health check holds is taken over.

        Raises:
            Refused: somebody else holds it, or people work at it; their reason is left as it is.
        """
        before = await self._look(node)
        if before.held_by == hold.incident_id:
            return f"{node} is {_drained(before)} in Slurm for {hold.incident_id} already."
        _refuse_unless_free(before)
        reserved = await self._reserved(node)
        self._refuse_in_maintenance(node, reserved)
        reason = understood(lambda: slurm_view.reason_text(hold.incident_id, hold.reason))
        await self.access.drain_node(node, reason)
        after = await self._look(node)
        if after.held_by == hold.incident_id:
            return f"{node} is {_drained(after)} in Slurm for {hold.incident_id}.{_wanted_by(node, reserved)}"
        _refuse_unless_free(after)
        raise Retryable(f"Slurm accepted the drain of {node}, which is {after.state} all the same", after_s=1.0)

    async def drain(self, node: str, hold: Hold, *, jobs: str) -> tuple[str, ...]:
        """Requeue or cancel the jobs on the node, or leave them, and return those still there.

        A job is left to end by itself when Slurm will not requeue it, when a rule says so, and while people work at the
        node: then it may be theirs.

        Raises:
            Refused: the node is not held by this incident, so its jobs are not ours to move.
        """
        if jobs not in WAYS:
            raise Permanent(f"drain: jobs is {jobs!r}, it must be one of {', '.join(WAYS)}")
        _refuse_unless_ours(await self._look(node), hold)
        present = await self._jobs(node)
        asked = [job for job in present if self._may_ask(job, hold, jobs)]
        if asked and (theirs := self._maintenance(await self._reserved(node))) is not None:
            self._waiting[node] = Waiting(f"Moves no job of {node}: it is in {theirs.words}.", theirs.ends_at)
            return slurm_view.in_order(job.id for job in present)
        for job in asked:
            await self._ask_to_go(job, jobs, hold)
        return self._left(node, await self._jobs(node) if asked else present, jobs)

    def waits_for(self, node: str) -> Waiting:
        """Return what the last step of the node's drain left to be waited for."""
        return self._waiting.get(node, Waiting(""))

    async def reboot(self, node: str, hold: Hold) -> str:
        """Have slurmd reboot the node, which stays drained for this incident until it is given back.

        The key is written with the reason, by the same request, so that a repetition finds it there.

        Raises:
            Refused: the node is not held by this incident, or its slurmd does not answer: Slurm would keep the request
                and reboot the node whenever that comes back.
            Retryable: a job is on it, or people work at it; nothing was asked for.
        """
        before = await self._look(node)
        _refuse_unless_ours(before, hold)
        if slurm_view.carries(before.reason, hold.key) or before.rebooting:
            return f"Slurm was asked already to reboot {node}, which is {before.state}."
        await self._refuse_to_reboot(before)
        reason = understood(lambda: slurm_view.reason_text(hold.incident_id, hold.reason, mark=hold.key))
        if not before.drained:
            # What is down after a reboot that took too long has lost its drain, and would come back in service.
            await self.access.drain_node(node, reason.removesuffix(f" ({hold.key})"))
        await self.access.reboot_node(node, reason)
        after = await self._look(node)
        if not slurm_view.carries(after.reason, hold.key):
            raise Retryable(f"Slurm accepted the reboot of {node}, which is {after.state} all the same", after_s=1.0)
        return f"Slurm reboots {node}, which is {after.state}."

    async def uncordon(self, node: str, hold: Hold) -> str:
        """Resume the node in Slurm, if it is this incident's drain that is on it.

        Raises:
            Refused: somebody else holds it.
        """
        before = await self._look(node)
        if not before.taken_out:
            return f"{node} is {before.state} in Slurm: nobody holds it."
        _refuse_unless_ours(before, hold)
        await self.access.resume_node(node)
        after = await self._look(node)
        if after.held_by == hold.incident_id:
            raise Retryable(f"Slurm accepted the resume of {node}, which is {after.state} all the same", after_s=1.0)
        return f"{node} is given back to Slurm, which has it as {after.state}."

    def _may_ask(self, job: SlurmJob, hold: Hold, jobs: str) -> bool:
        goes_by_itself = job.state == slurm_view.COMPLETING or (hold.key, job.id) in self._kept
        return not goes_by_itself and way_of(self.rules, job, jobs) != "wait"

    async def _ask_to_go(self, job: SlurmJob, jobs: str, hold: Hold) -> None:
        if way_of(self.rules, job, jobs) == "cancel":
            await self.access.cancel_job(job.id)
            return
        kept = await self.access.requeue_job(job.id, held=is_held(self.rules, job))
        if kept:
            log.info("job.kept", job=job.id, nodes=job.nodes, incident_id=hold.incident_id, because=kept)
            self._kept.add((hold.key, job.id))

    def _left(self, node: str, left: Sequence[SlurmJob], jobs: str) -> tuple[str, ...]:
        self._waiting.pop(node, None)
        if left:
            spared = [job for job in left if jobs != "wait" and way_of(self.rules, job, jobs) == "wait"]
            self._waiting[node] = waiting_for(left, spared)
        return slurm_view.in_order(job.id for job in left)

    async def _refuse_to_reboot(self, node: SlurmNode) -> None:
        if "NOT_RESPONDING" in node.flags:
            raise Refused(f"slurmd on {node.name} does not answer ({node.state}), so Slurm cannot reboot it")
        theirs = self._maintenance(await self._reserved(node.name))
        if theirs is not None:
            raise Retryable(f"{node.name} is not rebooted now: it is in {theirs.words}", after_s=MAINTENANCE_S)
        present = await self._jobs(node.name)
        if present:
            named = ", ".join(slurm_view.in_order(job.id for job in present))
            raise Retryable(f"{node.name} is not rebooted now: there is still work on it, job {named}", after_s=BUSY_S)

    async def _look(self, node: str) -> SlurmNode:
        """Return one node. Nothing else than one node's very name passes: to Slurm `ALL` is every node, and
        `n[1-4]` are four."""
        if not NAME.fullmatch(node):
            raise Permanent(f"{node!r} is not the name of one node: letters, digits and ._- are")
        found = await self.access.nodes(node)
        if [known.name for known in found] != [node]:
            raise Permanent(f"Slurm knows no node {node!r}: it showed {[known.name for known in found]}")
        return found[0]

    async def _jobs(self, node: str) -> list[SlurmJob]:
        """Return the jobs on a node. A filter that a release ignored would have jobs moved from other nodes."""
        return [job for job in await self.access.jobs(node) if node in understood(partial(expand, job.nodes))]

    async def _reserved(self, node: str) -> list[SlurmReservation]:
        """Return the reservations that the node is in, now or later, soonest first."""
        found = [r for r in await self.access.reservations() if node in understood(partial(expand, r.nodes))]
        return sorted(found, key=lambda each: (each.starts_at, each.name))

    def _maintenance(self, reserved: Sequence[SlurmReservation]) -> SlurmReservation | None:
        return next((each for each in reserved if each.maintains(self.clock())), None)

    def _refuse_in_maintenance(self, node: str, reserved: Sequence[SlurmReservation]) -> None:
        theirs = self._maintenance(reserved)
        if theirs is not None:
            raise InMaintenance(f"{node} is held in Slurm by somebody else: {theirs.words}")


def _refuse_unless_free(node: SlurmNode) -> None:
    if node.held_by and not node.taken_out_by_check:
        raise Refused(f"{node.name} is held in Slurm for another incident of fleetmend: {node.held_by}")
    if node.foreign_reason:
        raise Refused(f"{node.name} is held in Slurm by somebody else: {node.foreign_reason}")


def _refuse_unless_ours(node: SlurmNode, hold: Hold) -> None:
    if node.held_by == hold.incident_id:
        return
    _refuse_unless_free(node)
    raise Refused(f"{node.name} is not held in Slurm for {hold.incident_id}: it is {node.state}")


def _drained(node: SlurmNode) -> str:
    """The state as sinfo says it: a node still drains while a job is on it."""
    busy = node.base in {"ALLOCATED", "MIXED"} or "COMPLETING" in node.flags
    return "draining" if busy else "drained"


def _wanted_by(node: str, reserved: Sequence[SlurmReservation]) -> str:
    """Return who will lack the node, for people who read the timeline."""
    return f" {node} is in {reserved[0].words}." if reserved else ""
