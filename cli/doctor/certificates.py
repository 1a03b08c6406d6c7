"""`certificates`: how long those are good that this host shows and trusts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509

from cli.doctor.diagnosis import DAEMONS, Check, Diagnosis, advice, fine, missing
from cli.doctor.patient import Patient, files_named

NAMED = ("certificate_file", "ca_file", "client_ca_file")
SOON = timedelta(days=7)
LATER = timedelta(days=21)
"""Source: our choice; an agent's certificate is good for 30 days, and renewed after 20."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """One file of certificates.

    Attributes:
        left: until the first of them is good no longer; `None` where the file cannot be read.
        failure: why not.
    """

    path: str
    key: str
    left: timedelta | None
    failure: str = ""


def read(patient: Patient) -> list[Certificate]:
    """Return every file of certificates that the settings name."""
    now = datetime.now(UTC)
    found = {path: key for role in patient.daemons for key, path in _named(patient.documents[role])}
    return [_of(path, key, now) for path, key in found.items()]


def _named(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    return ((key, path) for key, path in files_named(document) if key.rpartition(".")[2] in NAMED)


def _of(path: str, key: str, now: datetime) -> Certificate:
    try:
        chain = x509.load_pem_x509_certificates(Path(path).read_bytes())
    except OSError as error:
        return Certificate(path, key, None, error.strerror or str(error))
    except (ValueError, x509.InvalidVersion) as error:
        return Certificate(path, key, None, str(error))
    return Certificate(path, key, min(each.not_valid_after_utc for each in chain) - now)


def judge(facts: list[Certificate]) -> Iterator[Diagnosis]:
    """Say which ends soon."""
    for each in facts:
        yield _judged(each)
    if not facts:
        yield fine("No certificate is used.")


def _judged(each: Certificate) -> Diagnosis:
    if each.left is None:
        return missing(
            f"{each.path} ({each.key}) cannot be used: {each.failure}.", f"Write it anew, in PEM: {each.path}"
        )
    renew = f"Have it renewed and written to {each.path}; it is taken up without a restart."
    days = each.left / timedelta(days=1)
    if each.left <= timedelta():
        return missing(f"{each.path} ({each.key}) is good no longer, since {-days:.0f} days.", renew)
    if each.left < SOON:
        return missing(f"{each.path} ({each.key}) is good for {days:.1f} days only.", renew)
    if each.left < LATER and "ca_file" in each.key:
        return advice(f"{each.path} ({each.key}) is good for {days:.0f} days.", renew)
    return fine(f"{each.path} ({each.key}) is good for {days:.0f} days.")


CHECK = Check("certificates", "How long certificates are good.", DAEMONS, read, judge)
