"""`settings`: whether each daemon can use what is written for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from agent.settings import SettingsError as AgentError
from agent.settings import read_document as read_agent
from cli.doctor.diagnosis import DAEMONS, Check, Diagnosis, Role, fine, missing
from cli.doctor.patient import FILES, SERVICES, Patient
from cli.setting_up import agent, controller
from controller.settings import SettingsError as ControllerError
from controller.settings import read_document as read_controller


@dataclass(frozen=True, slots=True)
class Written:
    """One file of settings. `problems`: all that its daemon would refuse it for, one a line."""

    role: Role
    file: str
    is_there: bool
    problems: str


def read(patient: Patient) -> list[Written]:
    """Return how each daemon takes its settings."""
    return [_written(patient, role) for role in patient.daemons]


def _written(patient: Patient, role: Role) -> Written:
    path = patient.place.at(FILES[role])
    if not path.exists():
        return Written(role, FILES[role], is_there=False, problems="")
    try:
        if role is Role.AGENT:
            agent.read_back(read_agent(path), patient.place)
        else:
            controller.read_back(read_controller(path), patient.place)
    except (AgentError, ControllerError) as error:
        return Written(role, FILES[role], is_there=True, problems=str(error))
    return Written(role, FILES[role], is_there=True, problems="")


def judge(facts: list[Written]) -> Iterator[Diagnosis]:
    """Say what is wrong with them."""
    for each in facts:
        if not each.is_there:
            yield missing(f"There is no {each.file}.", f"fleetmend setup {each.role}")
        elif each.problems:
            yield from (missing(line, _remedy(each)) for line in each.problems.splitlines())
        else:
            yield fine(f"{each.file} is right.")


def _remedy(each: Written) -> str:
    return f"Correct {each.file}; {SERVICES[each.role]} --config {each.file} --check says whether it is right."


CHECK = Check("settings", "Settings that their daemons can use.", DAEMONS, read, judge)
