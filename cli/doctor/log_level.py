"""`log_level`: whether somebody left a daemon telling everything, or too little."""

from __future__ import annotations

from collections.abc import Iterator

from cli.doctor.diagnosis import DAEMONS, Check, Diagnosis, advice, fine
from cli.doctor.patient import FILES, SERVICES, Patient

USUAL = "info"


def read(patient: Patient) -> list[tuple[str, str, str]]:
    """Return file, service and level of each daemon."""
    levels = ((role, str(patient.documents[role].get("log_level", USUAL))) for role in patient.daemons)
    return [(FILES[role], SERVICES[role], level) for role, level in levels]


def judge(facts: list[tuple[str, str, str]]) -> Iterator[Diagnosis]:
    """Say who logs otherwise than usual."""
    for file, service, level in facts:
        if level == USUAL:
            yield fine(f"{service} logs what it does (log_level {USUAL}).")
        else:
            more = "everything, which fills the journal" if level == "debug" else "too little to follow what it does"
            remedy = f'Take log_level = "{level}" from {file}; systemctl reload {service}'
            yield advice(f"{service} logs {more} (log_level {level}).", remedy)


CHECK = Check("log_level", "A level of logging that somebody left behind.", DAEMONS, read, judge)
