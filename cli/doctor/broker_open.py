"""`broker_open`: whether the broker lets in whom nobody knows, and what they may write.

Tried without harm: somebody without a name and somebody with a name of nobody come, and where they are let in write an
empty message below the cell's branch, where nobody listens.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass

from cli.broker_trial import Seen, Visitor, try_writing
from cli.doctor.diagnosis import DAEMONS, Check, Diagnosis, Role, advice, fine, unknown, unsafe
from cli.doctor.patient import Patient

ANYBODY = "whoever gives no name"
NOBODY = "whoever gives a name that nobody has"


@dataclass(frozen=True, slots=True)
class Visit:
    """How one broker took one visitor."""

    who: str
    seen: Seen


def read(patient: Patient) -> list[Visit]:
    """Return how each broker takes strangers."""
    found = dict[tuple[str, str], Visit]()
    for role in patient.daemons:
        for who, visitor in _visitors(patient, role):
            for seen in _tried(patient, role, visitor):
                found[who, seen.address] = Visit(who, seen)
    return list(found.values())


def _visitors(patient: Patient, role: Role) -> tuple[tuple[str, Visitor], ...]:
    ca_file = str(patient.broker(role).get("ca_file", ""))
    stranger = f"doctor-{secrets.token_hex(4)}"
    return (
        (ANYBODY, Visitor(ca_file=ca_file)),
        (NOBODY, Visitor(stranger, secrets.token_hex(16), ca_file=ca_file)),
    )


def _tried(patient: Patient, role: Role, visitor: Visitor) -> list[Seen]:
    cell = str(patient.documents[role].get("cell", "main"))
    try:
        return try_writing(patient.broker_urls(role), visitor, cell=cell)
    except ValueError:
        return []


def judge(facts: list[Visit]) -> Iterator[Diagnosis]:
    """Say who gets in that should not."""
    wrong = [diagnosis for visit in facts if (diagnosis := _judged(visit)) is not None]
    yield from dict.fromkeys(wrong)
    closed = sorted({visit.seen.address for visit in facts if visit.seen.reached and not visit.seen.let_in})
    if closed and not wrong:
        yield fine(f"The broker at {', '.join(closed)} lets no stranger in.")


def _judged(visit: Visit) -> Diagnosis | None:
    seen = visit.seen
    if not seen.reached:
        return unknown(f"No broker answers at {seen.address}: {seen.because}.", "Look again when it is up.")
    if not seen.let_in:
        return None
    remedy = "Set allow_anonymous false, password_file and acl_file in mosquitto.conf (systemd/fleetmend-broker.conf)."
    if seen.may_write is False:
        return advice(f"The broker at {seen.address} lets in {visit.who}, who may write nothing of the cell.", remedy)
    may = "may write what a controller believes" if seen.may_write else "may do what the broker does not tell"
    return unsafe(f"The broker at {seen.address} lets in {visit.who}, who {may}.", remedy)


CHECK = Check("broker_open", "Strangers at the broker.", DAEMONS, read, judge, needs_live=True)
