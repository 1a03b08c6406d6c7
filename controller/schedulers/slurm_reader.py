"""How Slurm is read: by the JSON of its programs where they have it, else by their text. Both give the same values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from controller.schedulers.slurm_view import SlurmJob, SlurmNode, SlurmReservation


class SlurmReader(Protocol):
    """One of the two forms in which Slurm prints: what to run for it, and what was printed, as values. Pure."""

    @property
    def form(self) -> str:
        """`json` or `text`, as the setting names it."""

    def nodes_command(self, *only: str) -> tuple[str, ...]:
        """Return the command that prints these nodes, or all."""

    def jobs_command(self, states: Iterable[str], node: str = "") -> tuple[str, ...]:
        """Return the command that prints the jobs in these states, on this node if one is named."""

    def reservations_command(self) -> tuple[str, ...]:
        """Return the command that prints the reservations."""

    def parse_nodes(self, output: str) -> list[SlurmNode]:
        """Return the nodes that were printed.

        Raises:
            ValueError: it is not understood; the text says where.
        """

    def parse_jobs(self, output: str) -> list[SlurmJob]:
        """Return the jobs that were printed and occupy nodes.

        Raises:
            ValueError: it is not understood; the text says where.
        """

    def parse_reservations(self, output: str) -> list[SlurmReservation]:
        """Return the reservations that were printed and have nodes.

        Raises:
            ValueError: it is not understood; the text says where.
        """
