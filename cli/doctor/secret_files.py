"""`secret_files`: whether passwords, tokens and keys are there, and can be read by those alone whom they are for."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cli.doctor.diagnosis import ALL, Check, Diagnosis, Role, fine, missing, unsafe
from cli.doctor.patient import FILES, SERVICES, Patient, files_named
from cli.place import CREDENTIALS
from cli.setting_up import broker

PUBLIC = ("ca_file", "certificate_file")
"""Settings of files that everybody may read."""

BESIDE_STATE = ("signing-key.pem", "signing-key.next.pem", "access-tokens.json", "session-key")
OWN = ("/etc/fleetmend/agent/key.pem", "/etc/fleetmend/controller/key.pem", "/etc/fleetmend/pki/ca-key.pem")
OTHERS = 0o077
NOT_THE_GROUP = 0o007
WRITERS = 0o022


@dataclass(frozen=True, slots=True)
class Seen:
    """One file.

    Attributes:
        why: what it is, or which setting names it.
        mode: `None` when it is not there.
        owner: number of its owner.
        forbidden: bits that its mode must not have.
        remedy_mode: what its mode should be.
    """

    path: str
    why: str
    mode: int | None
    forbidden: int
    remedy_mode: int
    must_be: bool = False


def read(patient: Patient) -> list[Seen]:
    """Return every file that holds a secret, and every file of settings.

    Raises:
        OSError: a folder may not be looked into.
    """
    return list({each.path: each for each in _all(patient)}.values())


def _all(patient: Patient) -> Iterator[Seen]:
    place = patient.place
    for role in patient.roles:
        settings = place.at(FILES[role])
        if place.has(FILES[role]):
            yield _seen(settings, "settings", WRITERS, 0o644)
        for key, path in files_named(patient.documents[role]):
            if not key.endswith(PUBLIC):
                yield _seen(Path(path), f"[{key}]", OTHERS, 0o600, must_be=True)
        yield from _there(_credentials(place.at(f"{CREDENTIALS}/{SERVICES[role]}")), "a credential")
    if Role.CONTROLLER in patient.roles:
        yield from _there(
            (patient.state(Role.CONTROLLER) / name for name in BESIDE_STATE), "a secret of the controller"
        )
    yield from _there((place.at(path) for path in OWN), "a private key")
    if Role.BROKER in patient.roles:
        for path in (broker.USERS, broker.RULES):
            yield _seen(place.at(path), "of the broker", NOT_THE_GROUP, 0o640, must_be=True)


def _credentials(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield folder.parent
        yield folder
        yield from sorted(folder.iterdir())


def _there(paths: Iterator[Path], why: str) -> Iterator[Seen]:
    for path in paths:
        if path.exists():
            yield _seen(path, why, OTHERS, 0o700 if path.is_dir() else 0o600)


def _seen(path: Path, why: str, forbidden: int, remedy_mode: int, *, must_be: bool = False) -> Seen:
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else None
    return Seen(str(path), why, mode, forbidden, remedy_mode, must_be)


def judge(facts: list[Seen]) -> Iterator[Diagnosis]:
    """Say which are missing, and which others can read or write."""
    wrong = [diagnosis for each in facts if (diagnosis := _judged(each)) is not None]
    yield from wrong or [fine(f"{len(facts)} files of settings and secrets are there and closed to others.")]


def _judged(each: Seen) -> Diagnosis | None:
    if each.mode is None:
        return missing(f"{each.path} ({each.why}) is not there.", f"Write it, mode {each.remedy_mode:04o}.")
    if not each.mode & each.forbidden:
        return None
    may = "be changed by others than root" if each.forbidden == WRITERS else "be read by others"
    return unsafe(
        f"{each.path} ({each.why}) can {may}: its mode is {each.mode:04o}.", f"chmod {each.remedy_mode:o} {each.path}"
    )


CHECK = Check("secret_files", "Passwords, tokens and keys, and who can read them.", ALL, read, judge)
