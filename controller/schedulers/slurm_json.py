"""Slurm read by the JSON of `scontrol` and `squeue`, where they have it.

Its shape belongs to the data parser of the release (`data_parser/v0.0.42`), and differs: a state is a list or a word, a
number is itself or `{"set", "infinite", "number"}`. Both are read; whatever else is there is passed over; a document
that lacks what is needed is refused. Tried on 24.11 with its parsers v0.0.40, 41 and 42.

It costs more than the text: 5,000 nodes are 11 MB and 0.5 s of scontrol's CPU a look, against 2.4 MB and 0.03 s.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from controller.schedulers.slurm_failures import HalfWritten
from controller.schedulers.slurm_view import (
    COMPLETING,
    LAST_MOMENT,
    OCCUPYING,
    SlurmJob,
    SlurmNode,
    SlurmReservation,
    end_of_job,
)

PROBE = ("scontrol", "--json=list", "show", "node")
"""Names the data parsers, without asking slurmctld. It fails where scontrol has no JSON, and where the plugin that
writes it is not installed. Where `--json` takes this argument, squeue heeds its filters too. Source: squeue(1) of
22.05 and of 24.11, and seen in both."""

BASE_STATES = frozenset({"UNKNOWN", "DOWN", "IDLE", "ALLOCATED", "ERROR", "MIXED", "FUTURE"})
"""What a node is; every other word in its state is a flag. Source: slurm.h, enum node_states."""


_TRUNCATED = "Input data was truncated"
"""msgspec's words for a document that ends too early."""


class _Problem(msgspec.Struct, frozen=True):
    description: str = ""
    error: str = ""


class _Number(msgspec.Struct, frozen=True):
    """A number that may not be set; Slurm leaves a zero behind then."""

    number: int = 0
    set: bool = True
    infinite: bool = False


class _Node(msgspec.Struct, frozen=True):
    name: str
    state: list[str] | str
    reason: str = ""


class _Job(msgspec.Struct, frozen=True):
    job_id: int
    job_state: list[str] | str
    nodes: str
    array_job_id: int | _Number | None = None
    array_task_id: int | _Number | None = None
    het_job_id: int | _Number | None = None
    het_job_offset: int | _Number | None = None
    partition: str = ""
    account: str = ""
    qos: str = ""
    start_time: int | _Number | None = None
    end_time: int | _Number | None = None


class _Reservation(msgspec.Struct, frozen=True):
    name: str
    node_list: str
    start_time: int | _Number
    end_time: int | _Number
    flags: list[str] | str = ""


class _NodesDocument(msgspec.Struct, frozen=True):
    nodes: list[_Node]
    errors: list[_Problem] = []


class _JobsDocument(msgspec.Struct, frozen=True):
    jobs: list[_Job]
    errors: list[_Problem] = []


class _ReservationsDocument(msgspec.Struct, frozen=True):
    reservations: list[_Reservation]
    errors: list[_Problem] = []


class _ErrorsDocument(msgspec.Struct, frozen=True):
    errors: list[_Problem] = []


Document = TypeVar("Document", _NodesDocument, _JobsDocument, _ReservationsDocument)


@dataclass(frozen=True, slots=True)
class JsonReader:
    """Slurm's JSON, one document a look.

    Attributes:
        by: who said it, for messages, where it was none of the programs.
    """

    form: str = "json"
    by: str = ""

    def nodes_command(self, *only: str) -> tuple[str, ...]:
        """Return the command that prints these nodes, or all."""
        return ("scontrol", "-a", "--json", "show", "node", *only)

    def jobs_command(self, states: Iterable[str], node: str = "") -> tuple[str, ...]:
        """Return the command that prints the jobs in these states, on this node if one is named."""
        only = ("-w", node) if node else ()
        return ("squeue", "-a", *only, "-t", ",".join(sorted(states)), "--json")

    def reservations_command(self) -> tuple[str, ...]:
        """Return the command that prints the reservations."""
        return ("scontrol", "--json", "show", "reservation")

    def parse_nodes(self, output: str) -> list[SlurmNode]:
        """Return the nodes that `scontrol --json show node` printed.

        Raises:
            ValueError: it is not such a document, or has errors in it; the text says where.
        """
        return [_node(node) for node in _document(self.by or "scontrol --json", output, _NodesDocument).nodes]

    def parse_jobs(self, output: str) -> list[SlurmJob]:
        """Return the jobs that `squeue --json` printed and that occupy nodes.

        Raises:
            ValueError: it is not such a document, or has errors in it; the text says where.
        """
        jobs = [_job(job) for job in _document(self.by or "squeue --json", output, _JobsDocument).jobs]
        return [job for job in jobs if job.nodes and job.state in OCCUPYING]

    def parse_reservations(self, output: str) -> list[SlurmReservation]:
        """Return the reservations that `scontrol --json show reservation` printed and that have nodes.

        Raises:
            ValueError: it is not such a document, or has errors in it; the text says where.
        """
        found = _document(self.by or "scontrol --json", output, _ReservationsDocument).reservations
        return [_reservation(each) for each in found if each.node_list]


def offers_json(printed: str) -> bool:
    """Return whether the answer to `PROBE` names a data parser."""
    return any(line.startswith("data_parser/v") for line in printed.splitlines())


def _document(program: str, output: str, kind: type[Document]) -> Document:
    try:
        document = msgspec.json.decode(output, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        if _TRUNCATED in str(error):
            raise HalfWritten(f"what {program} said ends in the middle") from error
        _refuse_if_wrong(program, _errors_alone(output))
        raise ValueError(f"{program} is not understood: {error}") from error
    _refuse_if_wrong(program, document.errors)
    return document


def _refuse_if_wrong(program: str, errors: list[_Problem]) -> None:
    if errors:
        raise ValueError(f"{program} says: {errors[0].description or errors[0].error or 'an error without a word'}")


def _errors_alone(output: str) -> list[_Problem]:
    """Return the errors of a document that holds nothing else, as of a node that nobody knows."""
    try:
        return msgspec.json.decode(output, type=_ErrorsDocument).errors
    except (msgspec.DecodeError, RecursionError):
        return []


def _node(node: _Node) -> SlurmNode:
    words = _words(node.state)
    bases = [word for word in words if word in BASE_STATES]
    if len(bases) != 1:
        raise ValueError(f"scontrol --json: node {node.name!r}: state {words} does not name one state of a node")
    return SlurmNode(node.name, bases[0], frozenset(words) - {bases[0]}, node.reason.strip())


def _job(job: _Job) -> SlurmJob:
    words = _words(job.job_state)
    occupying = [COMPLETING] * (COMPLETING in words) + [word for word in words if word in OCCUPYING]
    ends_at = end_of_job(_seconds(job.start_time), _seconds(job.end_time))
    state = (occupying or words or [""])[0]
    return SlurmJob(_job_name(job), state, job.nodes, job.partition, job.account, job.qos, ends_at)


def _reservation(each: _Reservation) -> SlurmReservation:
    flags = each.flags.split(",") if isinstance(each.flags, str) else each.flags
    starts_at, ends_at = _seconds(each.start_time), _seconds(each.end_time)
    return SlurmReservation(each.name, starts_at, ends_at, each.node_list, frozenset(flags))


def _seconds(number: int | _Number | None) -> float:
    """Return a time, 0 where none is set."""
    return float(max(0, min(_known(number) or 0, int(LAST_MOMENT))))


def _job_name(job: _Job) -> str:
    """Return the id as squeue shows it in its text: of an array's task, of a part of a heterogeneous job, or plain."""
    array, task = _known(job.array_job_id), _known(job.array_task_id)
    if array and task is not None:
        return f"{array}_{task}"
    leader = _known(job.het_job_id)
    return f"{leader}+{_known(job.het_job_offset) or 0}" if leader else str(job.job_id)


def _known(number: int | _Number | None) -> int | None:
    if isinstance(number, _Number):
        return number.number if number.set and not number.infinite else None
    return number


def _words(state: list[str] | str) -> list[str]:
    return state.split("+") if isinstance(state, str) else state
