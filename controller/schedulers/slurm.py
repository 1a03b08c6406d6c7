"""Slurm, by its command-line programs: they are wherever Slurm is, and they bring its authentication along.

Slurm keeps one reason per node, and whoever writes last overwrites it. So every effect looks first, writes, and reads
back. Slurm has no compare-and-set: a drain by hand that falls within the few milliseconds between the look and the
write loses its reason to ours.

The controller must be allowed to change nodes and to see everybody's jobs: AdminLevel Operator, root or SlurmUser.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import structlog

from controller.adapters import Hold, NodeSchedule
from controller.errors import Permanent, Refused, Retryable
from controller.schedulers import slurm_json, slurm_view
from controller.schedulers.commands import Ended, Limits, run
from controller.schedulers.hostlist import expand
from controller.schedulers.slurm_json import JsonReader
from controller.schedulers.slurm_reader import SlurmReader
from controller.schedulers.slurm_text import TextReader
from controller.schedulers.slurm_view import OCCUPYING, SlurmJob, SlurmNode
from wire.topics import NAME

log = structlog.get_logger()
T = TypeVar("T")

JOBS = ("wait", "requeue", "cancel")

MAX_OUTPUT_BYTES = 268_435_456
"""5,000 nodes print 2.7 MB."""

RETRY_AFTER_S = 2.0

PASSING = (
    "Unable to contact slurm controller",
    "Socket timed out",
    "Zero Bytes were transmitted",
    "Connection refused",
    "connect failure",
    "Communication connection failure",
    "Communication shutdown failure",
    "backup controller in standby mode",
    "Resource temporarily unavailable",
    "temporarily unable",
    "Munge encode failed",
    "If munged is up",
)
"""Errors that pass: slurmctld or munged restarts, or is too busy. Source: slurm_errno.c."""

NOT_REQUEUEABLE = ("Requested operation is presently disabled", "Only batch jobs are accepted")
"""Slurm's answers for a job submitted with --no-requeue, and for one that is not a batch job. Source: seen in 22.05."""

ALREADY_GONE = (
    "Invalid job id",
    "Job is pending execution",
    "Job/step already completing or completed",
)
"""Slurm's answers for a job that left the node by itself meanwhile. Source: slurm_errno.c, and seen in 22.05."""

NO_REASON = "Reason= "
"""Said with a resume. 22.05 forgets the reason by itself; 24.11 keeps it on the node, where it would be read as today's
when the node goes down for something else, and takes an empty one for none given. Source: seen in both."""

READERS: Mapping[str, SlurmReader | None] = {"auto": None, "json": JsonReader(), "text": TextReader()}
"""What the setting `slurm_form` means; `None` leaves it to what Slurm offers."""


@dataclass(slots=True)
class SlurmScheduler:
    """A Slurm cluster.

    Attributes:
        deadline_s: limit for each single command. With slurmctld down Slurm's own gives up after 9 s.
        environment: added to ours, e.g. SLURM_CONF.
        reader: how Slurm's answers are read; `None` has Slurm itself asked once, before the first look.
    """

    deadline_s: float = 15.0
    environment: Mapping[str, str] = field(default_factory=dict)
    name: str = "slurm"
    reader: SlurmReader | None = None
    _kept: set[tuple[str, str]] = field(default_factory=set)

    async def observe(self) -> Mapping[str, NodeSchedule]:
        """Return every node of the cluster, by two processes in all."""
        await self._reading()
        nodes, jobs = await asyncio.gather(self.nodes(), self._jobs())
        return _understood(lambda: slurm_view.schedules(nodes, slurm_view.jobs_by_node(jobs)))

    async def nodes(self, *only: str) -> list[SlurmNode]:
        """Return these nodes, or all, as slurmctld sees them."""
        reader = await self._reading()
        text = await self._done(*reader.nodes_command(*only))
        return _understood(lambda: reader.parse_nodes(text))

    async def cordon(self, node: str, hold: Hold) -> str:
        """Drain the node in Slurm, which lets its jobs go on. What the node's own health check holds is taken over.

        Raises:
            Refused: somebody else holds it; their reason is left as it is.
        """
        before = await self._look(node)
        if before.held_by == hold.incident_id:
            return f"{node} is {_drained(before)} in Slurm for {hold.incident_id} already."
        _refuse_unless_free(before)
        reason = _understood(lambda: slurm_view.reason_text(hold.incident_id, hold.reason))
        await self._done("scontrol", "update", f"NodeName={node}", "State=DRAIN", f"Reason={reason}")
        after = await self._look(node)
        if after.held_by == hold.incident_id:
            return f"{node} is {_drained(after)} in Slurm for {hold.incident_id}."
        _refuse_unless_free(after)
        raise Retryable(f"Slurm accepted the drain of {node}, which is {after.state} all the same", after_s=1.0)

    async def drain(self, node: str, hold: Hold, *, jobs: str) -> tuple[str, ...]:
        """Requeue or cancel the jobs on the node, or leave them, and return those still there.

        A job that Slurm will not requeue is left to end by itself.

        Raises:
            Refused: the node is not held by this incident, so its jobs are not ours to move.
        """
        if jobs not in JOBS:
            raise Permanent(f"drain: jobs is {jobs!r}, it must be one of {', '.join(JOBS)}")
        _refuse_unless_ours(await self._look(node), hold)
        present = await self._jobs(node)
        asked = [job for job in present if jobs != "wait" and self._may_ask(job, hold)]
        for job in asked:
            await self._ask_to_go(job, jobs, hold)
        return slurm_view.in_order(job.id for job in (await self._jobs(node) if asked else present))

    async def uncordon(self, node: str, hold: Hold) -> str:
        """Resume the node in Slurm, if it is this incident's drain that is on it.

        Raises:
            Refused: somebody else holds it.
        """
        before = await self._look(node)
        if not before.taken_out:
            return f"{node} is {before.state} in Slurm: nobody holds it."
        _refuse_unless_ours(before, hold)
        await self._done("scontrol", "update", f"NodeName={node}", "State=RESUME", NO_REASON)
        after = await self._look(node)
        if after.held_by == hold.incident_id:
            raise Retryable(f"Slurm accepted the resume of {node}, which is {after.state} all the same", after_s=1.0)
        return f"{node} is given back to Slurm, which has it as {after.state}."

    def _may_ask(self, job: SlurmJob, hold: Hold) -> bool:
        return job.state != slurm_view.COMPLETING and (hold.key, job.id) not in self._kept

    async def _ask_to_go(self, job: SlurmJob, jobs: str, hold: Hold) -> None:
        ended = await self._run(*(("scancel", job.id) if jobs == "cancel" else ("scontrol", "requeue", job.id)))
        if ended.code == 0 or _says(ended, ALREADY_GONE):
            return
        if not _says(ended, NOT_REQUEUEABLE):
            raise _failure(ended)
        log.info("job.kept", job=job.id, nodes=job.nodes, incident_id=hold.incident_id, because=ended.last_words)
        self._kept.add((hold.key, job.id))

    async def _look(self, node: str) -> SlurmNode:
        """Return one node. Nothing else than one node's very name passes: to Slurm `ALL` is every node, and
        `n[1-4]` are four."""
        if not NAME.fullmatch(node):
            raise Permanent(f"{node!r} is not the name of one node: letters, digits and ._- are")
        found = await self.nodes(node)
        if [known.name for known in found] != [node]:
            raise Permanent(f"Slurm knows no node {node!r}: scontrol showed {[known.name for known in found]}")
        return found[0]

    async def _jobs(self, node: str = "") -> list[SlurmJob]:
        """Return the jobs that occupy nodes. A filter that a release ignored would have jobs moved from other nodes."""
        reader = await self._reading()
        text = await self._done(*reader.jobs_command(OCCUPYING, node))
        jobs = _understood(lambda: reader.parse_jobs(text))
        return [job for job in jobs if not node or node in _understood(partial(expand, job.nodes))]

    async def _reading(self) -> SlurmReader:
        if self.reader is None:
            self.reader = await self._recognized()
            log.info("slurm.recognized", form=self.reader.form)
        return self.reader

    async def _recognized(self) -> SlurmReader:
        ended = await self._run(*slurm_json.PROBE)
        if ended.code == 0:
            return JsonReader() if slurm_json.offers_json(_text(ended)) else TextReader()
        failure = _failure(ended)
        if isinstance(failure, Retryable):
            raise failure
        return TextReader()

    async def _done(self, *command: str) -> str:
        ended = await self._run(*command)
        if ended.code != 0:
            raise _failure(ended)
        return _text(ended)

    async def _run(self, *command: str) -> Ended:
        return await run(command, Limits(self.deadline_s, MAX_OUTPUT_BYTES, RETRY_AFTER_S), self.environment)


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


def _text(ended: Ended) -> str:
    return ended.output.decode(errors="replace")


def _says(ended: Ended, texts: tuple[str, ...]) -> bool:
    return any(text in ended.last_words for text in texts)


def _failure(ended: Ended) -> Retryable | Permanent:
    """Return what a command's failure means; one that is not known to pass does not."""
    sentence = f"{ended.command}: {ended.last_words} (exit code {ended.code})"
    passing = any(text in ended.errors for text in PASSING)
    return Retryable(sentence, after_s=RETRY_AFTER_S) if passing else Permanent(sentence)


def _understood(read: Callable[[], T]) -> T:
    try:
        return read()
    except ValueError as error:
        raise Permanent(f"Slurm: {error}") from error
