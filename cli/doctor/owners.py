"""`owners`: whether secrets belong to those who read them, and settings to root."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cli.doctor.diagnosis import ALL, Check, Diagnosis, Role, fine, unsafe
from cli.doctor.patient import FILES, SERVICES, Patient
from cli.place import CREDENTIALS
from cli.setting_up import broker, controller
from cli.setting_up.plan import ROOT, Owners


@dataclass(frozen=True, slots=True)
class Owned:
    """One file that is there: whose it is, and whose it may be."""

    path: str
    owner: str
    allowed: tuple[str, ...]


def read(patient: Patient) -> list[Owned]:
    """Return the files whose owner matters.

    Raises:
        OSError: a folder may not be looked into.
    """
    names = {**{number: name for name, number in Owners.of(patient.place).users.items()}, 0: ROOT}
    return [
        Owned(str(path), names.get(path.stat().st_uid, str(path.stat().st_uid)), allowed)
        for path, allowed in _paths(patient)
        if path.exists()
    ]


def _paths(patient: Patient) -> Iterator[tuple[Path, tuple[str, ...]]]:
    place = patient.place
    yield place.at("/etc/fleetmend"), (ROOT,)
    for role in patient.roles:
        yield place.at(FILES[role]), (ROOT,)
        folder = place.at(f"{CREDENTIALS}/{SERVICES[role]}")
        yield folder, (ROOT,)
        yield from ((path, (ROOT,)) for path in (sorted(folder.iterdir()) if folder.is_dir() else ()))
    if Role.CONTROLLER in patient.roles:
        yield patient.state(Role.CONTROLLER), (controller.USER,)
        yield patient.state(Role.CONTROLLER) / "signing-key.pem", (controller.USER,)
    if Role.BROKER in patient.roles:
        yield from ((place.at(path), (ROOT, broker.SERVICE)) for path in (broker.USERS, broker.RULES))


def judge(facts: list[Owned]) -> Iterator[Diagnosis]:
    """Say what belongs to somebody else."""
    wrong = [each for each in facts if each.owner not in each.allowed]
    for each in wrong:
        right = each.allowed[0]
        yield unsafe(f"{each.path} belongs to {each.owner}, and should to {right}.", f"chown {right} {each.path}")
    if not wrong:
        yield fine(f"{len(facts)} files and folders belong to whom they should.")


CHECK = Check("owners", "Whose settings and secrets are.", ALL, read, judge)
