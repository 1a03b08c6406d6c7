"""What a check of the doctor says: how bad it is, in a sentence, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from cli.doctor.patient import Patient

F = TypeVar("F")


class Severity(StrEnum):
    """How bad it is, worst first."""

    UNSAFE = "unsafe"
    """Somebody may do or read what they should not."""
    MISSING = "missing"
    """Something does not work, or will not."""
    UNKNOWN = "unknown"
    """It could not be looked at. That is never fine."""
    ADVICE = "advice"
    """It works; better is possible."""
    FINE = "fine"


WORST_FIRST: Final = tuple(Severity)


class Role(StrEnum):
    """What a host is to fleetmend; it may be several."""

    AGENT = "agent"
    CONTROLLER = "controller"
    BROKER = "broker"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One sentence of the doctor's.

    Attributes:
        remedy: what to do, as a sentence or a command; empty where nothing has to be done.
    """

    severity: Severity
    sentence: str
    remedy: str = ""


def fine(sentence: str) -> Diagnosis:
    """Return that something is as it should be."""
    return Diagnosis(Severity.FINE, sentence)


def advice(sentence: str, remedy: str) -> Diagnosis:
    """Return that something could be better."""
    return Diagnosis(Severity.ADVICE, sentence, remedy)


def missing(sentence: str, remedy: str) -> Diagnosis:
    """Return that something does not work, or will not."""
    return Diagnosis(Severity.MISSING, sentence, remedy)


def unsafe(sentence: str, remedy: str) -> Diagnosis:
    """Return that somebody may do or read what they should not."""
    return Diagnosis(Severity.UNSAFE, sentence, remedy)


def unknown(sentence: str, remedy: str = "") -> Diagnosis:
    """Return that something could not be looked at."""
    return Diagnosis(Severity.UNKNOWN, sentence, remedy)


class CannotLook(Exception):
    """Facts cannot be read; the text says why."""


@dataclass(frozen=True, slots=True)
class Check(Generic[F]):
    """One thing that the doctor looks at.

    Attributes:
        id: as its file is called.
        summary: what it looks at, in one line.
        roles: of which hosts.
        read: returns the facts; whatever it raises of OSError and CannotLook is told as `unknown`.
        judge: returns what they come to. Pure.
        needs_live: whether only a running host can be asked, and no image.
    """

    id: str
    summary: str
    roles: frozenset[Role]
    read: Callable[[Patient], F]
    judge: Callable[[F], Iterable[Diagnosis]]
    needs_live: bool = False


AGENT: Final = frozenset({Role.AGENT})
CONTROLLER: Final = frozenset({Role.CONTROLLER})
DAEMONS: Final = AGENT | CONTROLLER
BROKER: Final = frozenset({Role.BROKER})
ALL: Final = frozenset(Role)
