"""`playbooks`: whether the controller can load the site's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cli.doctor.diagnosis import CONTROLLER, Check, Diagnosis, Role, fine, missing
from cli.doctor.patient import Patient
from controller.playbooks import lint


@dataclass(frozen=True, slots=True)
class Playbooks:
    """The folder that the settings name, empty for those that come with fleetmend."""

    directory: str
    is_there: bool
    problems: tuple[str, ...]


def read(patient: Patient) -> Playbooks:
    """Return what is wrong with them."""
    named = patient.documents[Role.CONTROLLER].get("playbooks")
    if not named:
        return Playbooks("", is_there=True, problems=())
    directory = Path(named)
    if not directory.is_dir():
        return Playbooks(str(directory), is_there=False, problems=())
    return Playbooks(str(directory), is_there=True, problems=tuple(map(str, lint([directory]))))


def judge(facts: Playbooks) -> Iterator[Diagnosis]:
    """Say what keeps the controller from starting."""
    if not facts.is_there:
        yield missing(
            f"The settings name {facts.directory}, and there is no such folder.", "Make it, or take `playbooks` out."
        )
    for problem in facts.problems:
        yield missing(problem, f"fleetmend playbook lint {facts.directory}")
    if facts.is_there and not facts.problems:
        whose = f"The playbooks in {facts.directory}" if facts.directory else "The playbooks that come with fleetmend"
        yield fine(f"{whose} are right.")


CHECK = Check("playbooks", "The site's playbooks.", CONTROLLER, read, judge)
