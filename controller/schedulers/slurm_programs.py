"""Slurm by its command-line programs: they are wherever Slurm is, and they bring its authentication along."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog

from controller.errors import Permanent, Retryable
from controller.schedulers import slurm_json
from controller.schedulers.commands import Ended, Limits, run
from controller.schedulers.slurm_failures import RETRY_AFTER_S, failure, understood
from controller.schedulers.slurm_json import JsonReader
from controller.schedulers.slurm_reader import SlurmReader
from controller.schedulers.slurm_text import TextReader
from controller.schedulers.slurm_view import OCCUPYING, SlurmJob, SlurmNode, SlurmReservation

log = structlog.get_logger()

MAX_OUTPUT_BYTES = 268_435_456
"""5,000 nodes print 2.7 MB."""

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

SECONDS = {"SLURM_TIME_FORMAT": "%s"}
"""Has the programs print times as Unix seconds, in text: as they are by themselves, they lack the time zone."""


@dataclass(slots=True)
class SlurmPrograms:
    """`scontrol`, `squeue` and `scancel`.

    Attributes:
        deadline_s: limit for each single command. With slurmctld down Slurm's own gives up after 9 s.
        environment: added to ours, e.g. SLURM_CONF.
        reader: how Slurm's answers are read; `None` has Slurm itself asked once, before the first look.
    """

    deadline_s: float = 15.0
    environment: Mapping[str, str] = field(default_factory=dict)
    reader: SlurmReader | None = None

    async def nodes(self, *only: str) -> list[SlurmNode]:
        """Return these nodes, or all, as slurmctld sees them."""
        reader = await self._reading()
        text = await self._done(*reader.nodes_command(*only))
        if only and not text:
            # A node that it does not know is an error to scontrol; nothing at all is an answer that was lost.
            raise Retryable("Slurm: scontrol ended well without a word", after_s=RETRY_AFTER_S)
        return understood(lambda: reader.parse_nodes(text))

    async def jobs(self, node: str = "") -> list[SlurmJob]:
        """Return the jobs that occupy nodes, of one node where this release heeds the filter."""
        reader = await self._reading()
        text = await self._done(*reader.jobs_command(OCCUPYING, node))
        return understood(lambda: reader.parse_jobs(text))

    async def reservations(self) -> list[SlurmReservation]:
        """Return every reservation that is not over."""
        reader = await self._reading()
        text = await self._done(*reader.reservations_command())
        return understood(lambda: reader.parse_reservations(text))

    async def drain_node(self, node: str, reason: str) -> None:
        """Set a node to drain."""
        await self._done("scontrol", "update", f"NodeName={node}", "State=DRAIN", f"Reason={reason}")

    async def resume_node(self, node: str) -> None:
        """Resume a node, which ends a reboot that is only asked for, too."""
        await self._done("scontrol", "update", f"NodeName={node}", "State=RESUME", NO_REASON)

    async def reboot_node(self, node: str, reason: str) -> None:
        """Have slurmd reboot the node.

        `ASAP` drains the node first, but 22.05 takes a drain that was there before off again with it, and so does any
        `nextstate`; without them a drained node comes back drained. Source: seen in 22.05, and in 24.11.
        """
        await self._done("scontrol", "reboot", f"reason={reason}", node)

    async def requeue_job(self, job: str, *, held: bool) -> str:
        """Put a job back into the queue; return why Slurm will not, else nothing."""
        ended = await self._run("scontrol", "requeuehold" if held else "requeue", job)
        if ended.code == 0 or _says(ended, ALREADY_GONE):
            return ""
        if _says(ended, NOT_REQUEUEABLE):
            return ended.last_words
        raise _failure(ended)

    async def cancel_job(self, job: str) -> None:
        """End a job."""
        ended = await self._run("scancel", job)
        if ended.code != 0 and not _says(ended, ALREADY_GONE):
            raise _failure(ended)

    async def _reading(self) -> SlurmReader:
        if self.reader is None:
            self.reader = await self._recognized()
            log.info("slurm.recognized", form=self.reader.form)
        return self.reader

    async def _recognized(self) -> SlurmReader:
        ended = await self._run(*slurm_json.PROBE)
        if ended.code == 0:
            return JsonReader() if slurm_json.offers_json(_text(ended)) else TextReader()
        failed = _failure(ended)
        if isinstance(failed, Retryable):
            raise failed
        return TextReader()

    async def _done(self, *command: str) -> str:
        ended = await self._run(*command)
        if ended.code != 0:
            raise _failure(ended)
        return _text(ended)

    async def _run(self, *command: str) -> Ended:
        limits = Limits(self.deadline_s, MAX_OUTPUT_BYTES, RETRY_AFTER_S)
        return await run(command, limits, {**self.environment, **SECONDS})


def _text(ended: Ended) -> str:
    return ended.output.decode(errors="replace")


def _says(ended: Ended, texts: tuple[str, ...]) -> bool:
    return any(text in ended.last_words for text in texts)


def _failure(ended: Ended) -> Retryable | Permanent:
    return failure(f"{ended.command}: {ended.last_words} (exit code {ended.code})", ended.errors)
