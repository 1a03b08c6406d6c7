"""`scheduler`: whether the controller can ask its scheduler, and may change nodes there."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from cli.doctor.diagnosis import CONTROLLER, CannotLook, Check, Diagnosis, Role, fine, missing, unknown
from cli.doctor.patient import Patient
from cli.setting_up import controller
from controller.errors import Permanent, Retryable
from controller.schedulers.choosing import close, outside_scheduler_of
from controller.settings import SettingsError

ASKED = ("slurm", "kubernetes", "command")
"""Kinds that are somewhere else."""

LIMIT_S = 30.0
ASK_S = 15.0
ADMINISTRATOR = "Administrator"
"""Source: sacctmgr(1), AdminLevel."""


@dataclass(frozen=True, slots=True)
class Scheduler:
    """The scheduler of the settings.

    Attributes:
        nodes: how many it knows, `None` where it is not asked or does not answer.
        failure: why it does not answer.
        is_administrator: whether the controller's user may change nodes, `None` where nobody says.
    """

    kind: str
    nodes: int | None = None
    failure: str = ""
    is_administrator: bool | None = None


def read(patient: Patient) -> Scheduler:
    """Ask the scheduler as the controller would.

    Raises:
        CannotLook: the settings cannot be used.
    """
    table = patient.documents[Role.CONTROLLER].get("scheduler", {})
    kind = str(table.get("kind", "none"))
    if kind not in ASKED:
        return Scheduler(kind)
    may = _is_administrator() if kind == "slurm" else None
    try:
        return Scheduler(kind, asyncio.run(_count(patient)), is_administrator=may)
    except (Permanent, Retryable, OSError, TimeoutError) as error:
        return Scheduler(kind, failure=str(error) or type(error).__name__, is_administrator=may)


async def _count(patient: Patient) -> int:
    """Return how many nodes the scheduler knows.

    Raises:
        CannotLook: the settings cannot be used.
        Permanent, Retryable, OSError, TimeoutError: it does not answer.
    """
    try:
        scheduler = outside_scheduler_of(controller.read_back(patient.documents[Role.CONTROLLER], patient.place))
    except SettingsError as error:
        raise CannotLook(str(error)) from error
    try:
        async with asyncio.timeout(LIMIT_S):
            return len(await scheduler.observe())
    finally:
        await close(scheduler)


def _is_administrator() -> bool | None:
    """Return whether Slurm lets the controller's user change nodes, `None` where it keeps no accounts to ask."""
    if f"SlurmUser={controller.USER}" in _asked("scontrol", "show", "config").replace(" ", ""):
        return True
    level = _asked("sacctmgr", "--noheader", "--parsable2", "show", "user", controller.USER, "format=AdminLevel")
    return level.strip() == ADMINISTRATOR if level.strip() else None


def _asked(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=ASK_S).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def judge(facts: Scheduler) -> Iterator[Diagnosis]:
    """Say what keeps the controller from cordoning."""
    if facts.kind not in ASKED:
        yield fine(f"No scheduler is asked (scheduler.kind = {facts.kind!r}).")
        return
    if facts.failure:
        yield missing(
            f"The scheduler ({facts.kind}) does not answer: {facts.failure.rstrip('.')}.",
            f"Nodes can be neither cordoned nor returned until it does: docs/how-to/{HOW_TO[facts.kind]}",
        )
    elif facts.nodes == 0:
        yield missing(f"The scheduler ({facts.kind}) knows no node.", "Is it the cluster that you mean?")
    else:
        yield fine(f"The scheduler ({facts.kind}) knows {facts.nodes} nodes.")
    if facts.kind == "slurm" and facts.is_administrator is False:
        remedy = f"sacctmgr modify user {controller.USER} set adminlevel=admin"
        yield missing(f"Slurm does not let the user {controller.USER} change nodes: no cordon will hold.", remedy)
    elif facts.kind == "slurm" and facts.is_administrator is None and not facts.failure:
        sentence = f"Slurm does not say whether the user {controller.USER} may change nodes"
        yield unknown(f"{sentence}; the first cordon will.", "docs/how-to/slurm.md")


HOW_TO = {"slurm": "slurm.md", "kubernetes": "kubernetes.md", "command": "no-scheduler.md"}

CHECK = Check("scheduler", "A scheduler that answers and obeys.", CONTROLLER, read, judge, needs_live=True)
