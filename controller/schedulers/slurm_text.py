"""Slurm read by its text, which every release prints: `scontrol show node -o` and `squeue -o`.

The only way up to 22.05, where scontrol has no JSON and `squeue --json` ignores -t and -w: with 3,000 pending jobs that
is 9.3 MB and 0.38 s of CPU a look, against 0.016 s for the few that occupy nodes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from controller.schedulers.slurm_failures import HalfWritten
from controller.schedulers.slurm_view import OCCUPYING, SlurmJob, SlurmNode, SlurmReservation, end_of_job

JOB_FIELDS = ("job", "state", "nodes", "partition", "account", "qos", "start", "end")
JOB_FORMAT = "%i|%T|%N|%P|%a|%q|%S|%e"
NO_RESERVATIONS = "No reservations in the system"
MOST_DIGITS = 12
"""Of a time in seconds; a thousand years have eleven."""

_NOTHING = frozenset({"(null)", "N/A", ""})
_RESERVATION = re.compile(
    r"^ReservationName=(?P<name>\S+) StartTime=(?P<starts>\S+) EndTime=(?P<ends>\S+) .*?(?<= )Nodes=(?P<nodes>\S*) "
    r".*?(?<= )Flags=(?P<flags>\S*)",
    re.DOTALL,
)
_OLD_SUFFIXES = "*~#!%$@^-"
_NODE = re.compile(r"^NodeName=(?P<name>\S+) .*?(?<= )State=(?P<state>\S+)(?P<rest>.*)", re.DOTALL)
_REASON = re.compile(r" Reason=(?P<reason>.*?)(?: \[[^\[\]\s]+@[0-9T:-]+\]|$)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class TextReader:
    """Slurm's text, one line a node or a job."""

    form: str = "text"

    def nodes_command(self, *only: str) -> tuple[str, ...]:
        """Return the command that prints these nodes, or all."""
        return ("scontrol", "-a", "-o", "show", "node", *only)

    def jobs_command(self, states: Iterable[str], node: str = "") -> tuple[str, ...]:
        """Return the command that prints the jobs in these states, on this node if one is named."""
        only = ("-w", node) if node else ()
        return ("squeue", "-h", "-a", *only, "-t", ",".join(sorted(states)), "-o", JOB_FORMAT)

    def reservations_command(self) -> tuple[str, ...]:
        """Return the command that prints the reservations."""
        return ("scontrol", "-o", "show", "reservation")

    def parse_nodes(self, output: str) -> list[SlurmNode]:
        """Return the nodes that `scontrol show node -o` printed.

        Raises:
            ValueError: a line is not one, with its number.
        """
        return [_parse_node(number, line) for number, line in enumerate(_lines(output), 1) if line.strip()]

    def parse_jobs(self, output: str) -> list[SlurmJob]:
        """Return the jobs that squeue printed in `JOB_FORMAT` and that occupy nodes.

        Raises:
            ValueError: a line has not so many fields, with its number.
        """
        jobs = [_parse_job(number, line) for number, line in enumerate(_lines(output), 1)]
        return [job for job in jobs if job.nodes and job.state in OCCUPYING]

    def parse_reservations(self, output: str) -> list[SlurmReservation]:
        """Return the reservations that `scontrol show reservation -o` printed and that have nodes.

        Raises:
            ValueError: a line is not one, with its number.
        """
        if output.strip() == NO_RESERVATIONS:
            return []
        found = [_parse_reservation(number, line) for number, line in enumerate(_lines(output), 1) if line.strip()]
        return [each for each in found if each.nodes]


def _lines(output: str) -> list[str]:
    """Return the lines; Slurm ends each with a line feed."""
    if output and not output.endswith("\n"):
        raise HalfWritten(f"the output ends in the middle of a line: {output[-60:]!r}")
    return output.split("\n")[:-1]


def _parse_node(number: int, line: str) -> SlurmNode:
    match = _NODE.match(line)
    if match is None:
        raise ValueError(f"line {number} of scontrol is not 'NodeName=... State=...': {line[:120]!r}")
    base, *flags = match["state"].split("+")
    if base.endswith("*"):
        flags.append("NOT_RESPONDING")
    reason = _REASON.search(match["rest"])
    return SlurmNode(
        match["name"], base.rstrip(_OLD_SUFFIXES), frozenset(flags), reason["reason"].strip() if reason else ""
    )


def _parse_job(number: int, line: str) -> SlurmJob:
    fields = line.split("|")
    if len(fields) != len(JOB_FIELDS):
        raise ValueError(f"line {number} of squeue is not {'|'.join(JOB_FIELDS)!r}: {line[:120]!r}")
    name, state, nodes, *belonging, starts, ends = fields
    partition, account, qos = ("" if each in _NOTHING else each for each in belonging)
    ends_at = end_of_job(_seconds(starts), _seconds(ends))
    return SlurmJob(name, state, nodes, partition, account, qos, ends_at)


def _parse_reservation(number: int, line: str) -> SlurmReservation:
    match = _RESERVATION.match(line)
    if match is None:
        right = "ReservationName=... StartTime=... EndTime=... Nodes=... Flags=..."
        raise ValueError(f"line {number} of scontrol is not {right!r}: {line[:120]!r}")
    nodes = "" if match["nodes"] in _NOTHING else match["nodes"]
    starts_at, ends_at = _seconds(match["starts"]), _seconds(match["ends"])
    return SlurmReservation(match["name"], starts_at, ends_at, nodes, frozenset(match["flags"].split(",")))


def _seconds(text: str) -> float:
    """Return a time that Slurm printed in seconds, 0 for `N/A`, `Unknown` and `NONE`."""
    return float(text) if text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS else 0.0
