"""Asks every check that fits a host, and gathers what they say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cli.client import Failed
from cli.doctor.diagnosis import CannotLook, Check, Diagnosis, Severity, missing, unknown
from cli.doctor.patient import Patient
from cli.doctor.registry import CHECKS


@dataclass(frozen=True, slots=True)
class Told:
    """What one check said."""

    check: str
    diagnosis: Diagnosis


def examine(patient: Patient) -> Iterator[Told]:
    """Yield what each check says, as it is known."""
    if not patient.roles:
        nothing = missing(
            "fleetmend is not set up on this host.", "fleetmend setup agent, or fleetmend setup controller"
        )
        yield Told("settings", nothing)
    for check in CHECKS:
        if check.roles & set(patient.roles) and (patient.place.is_live or not check.needs_live):
            yield from (Told(check.id, diagnosis) for diagnosis in _told(check, patient))


def _told(check: Check[Any], patient: Patient) -> list[Diagnosis]:
    """Return what a check says; that it could not look is said, too, and never fine."""
    try:
        return list(check.judge(check.read(patient)))
    except PermissionError as error:
        return [unknown(f"Could not look: {error.filename}: {error.strerror}.", "Run it as root.")]
    except (OSError, CannotLook, Failed) as error:
        return [unknown(f"Could not look: {str(error).rstrip('.')}.")]


def code_of(told: list[Told]) -> int:
    """Return the exit code: 2 for anything unsafe, 1 for what is missing or could not be looked at, else 0."""
    found = {each.diagnosis.severity for each in told}
    if Severity.UNSAFE in found:
        return 2
    return 1 if found & {Severity.MISSING, Severity.UNKNOWN} else 0
