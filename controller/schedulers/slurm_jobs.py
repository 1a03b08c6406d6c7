"""What may be done to jobs so that a node becomes empty: never more than the site allows for them, whatever a playbook
says; and what a node that is not empty yet waits for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from controller.adapters import Waiting
from controller.schedulers.slurm_view import SlurmJob, moment

WAYS = ("wait", "requeue", "cancel")
"""What may become of a job, mildest first."""

SHOWN_JOBS = 3

MARGIN_S = 300.0
"""How long after its time limit a job is still waited for: Slurm looks at limits each half minute, and waits KillWait
(30 s by default) and the epilog. Source: slurm.conf(5) for KillWait; the sum is our choice."""


@dataclass(frozen=True, slots=True)
class JobRule:
    """What may be done to some jobs at most. All that is given must match; empty matches every job.

    Attributes:
        jobs: one of `WAYS`.
        held: a job that is requeued waits there until a person releases it.
    """

    jobs: str = "cancel"
    held: bool = False
    partition: str = ""
    account: str = ""
    qos: str = ""

    def match(self, job: SlurmJob) -> bool:
        """Return whether the rule is about this job."""
        named = ((self.partition, job.partition), (self.account, job.account), (self.qos, job.qos))
        return all(not wanted or wanted == found for wanted, found in named)


def way_of(rules: Iterable[JobRule], job: SlurmJob, asked: str) -> str:
    """Return what is done to a job: the mildest of what the playbook asks and every rule about it allows."""
    return min([asked, *(rule.jobs for rule in rules if rule.match(job))], key=WAYS.index)


def is_held(rules: Iterable[JobRule], job: SlurmJob) -> bool:
    """Return whether a job that is requeued waits for a person then."""
    return any(rule.held for rule in rules if rule.match(job))


def waiting_for(left: Sequence[SlurmJob], spared: Iterable[SlurmJob]) -> Waiting:
    """Return what a node waits for, and until when its step must last: until the spared jobs' own ends.

    Args:
        left: the jobs that are still there.
        spared: those of them that a rule leaves alone although the playbook would move them.
    """
    shown = ", ".join(map(_shown, left[:SHOWN_JOBS]))
    more = f" and {len(left) - SHOWN_JOBS} more" if len(left) > SHOWN_JOBS else ""
    ends = [job.ends_at for job in spared]
    until = max(ends) + MARGIN_S if ends and all(ends) else 0.0
    return Waiting(f"Waits for {'job' if len(left) == 1 else 'jobs'} {shown}{more}.", until)


def _shown(job: SlurmJob) -> str:
    where = f"partition {job.partition}, " if job.partition else ""
    return f"{job.id} ({where}{_end(job.ends_at)})"


def _end(ends_at: float) -> str:
    return f"ends by {moment(ends_at)}" if ends_at else "without a time limit"
