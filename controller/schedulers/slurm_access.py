"""How Slurm is asked: by its programs, or by slurmrestd. Either reads, and makes changes without a look of its own."""

from __future__ import annotations

from typing import Protocol

from controller.schedulers.slurm_view import SlurmJob, SlurmNode, SlurmReservation


class SlurmAccess(Protocol):
    """One way to ask a cluster.

    Every call has a deadline, and raises Retryable or Permanent.
    """

    async def nodes(self, *only: str) -> list[SlurmNode]:
        """Return these nodes, or all, as slurmctld sees them; a node that it does not know is left out or an error."""

    async def jobs(self, node: str = "") -> list[SlurmJob]:
        """Return the jobs that occupy nodes; those of other nodes may be among them."""

    async def reservations(self) -> list[SlurmReservation]:
        """Return every reservation that is not over."""

    async def drain_node(self, node: str, reason: str) -> None:
        """Set a node to drain. Whatever reason stood on it is lost."""

    async def resume_node(self, node: str) -> None:
        """Resume a node and empty its reason."""

    async def reboot_node(self, node: str, reason: str) -> None:
        """Have slurmd reboot the node once it is idle, and set the reason with it. What is drained comes back so."""

    async def requeue_job(self, job: str, *, held: bool) -> str:
        """Put a job back into the queue, `held` until somebody releases it; return why Slurm will not, else nothing."""

    async def cancel_job(self, job: str) -> None:
        """End a job."""
