"""`sight`: which checks of this host come to nothing, asked of the agent's own sources as `fleetmend check` does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from agent.onlooker import look
from agent.settings import Settings, SettingsError
from agent.simulation.states import MachineBroken
from agent.watched import watched
from checks.finding import Verdict
from cli.doctor.diagnosis import AGENT, CannotLook, Check, Diagnosis, Role, advice, fine
from cli.doctor.patient import Patient
from cli.setting_up import agent

LIMIT_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Blind:
    """Checks that are unknown for one reason."""

    because: str
    checks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sight:
    """What a look came to."""

    looked: int
    blind: tuple[Blind, ...]


def read(patient: Patient) -> Sight:
    """Look at this host once.

    Raises:
        CannotLook: the settings cannot be used.
    """
    try:
        settings = agent.read_back(patient.documents[Role.AGENT], patient.place)
    except SettingsError as error:
        raise CannotLook(f"the settings are wrong: {' '.join(str(error).split())}") from error
    return _seen(settings)


def _seen(settings: Settings) -> Sight:
    ours = watched(settings)
    ids = [check.id for check in ours.checks]
    try:
        seen = asyncio.run(look(settings, ours, ids=ids, limit_s=LIMIT_S))
    except MachineBroken as error:
        raise CannotLook(str(error)) from error
    reasons = dict[str, list[str]]()
    for check, level in seen.levels.items():
        if level.verdict == Verdict.UNKNOWN:
            reasons.setdefault(level.because, []).append(check)
    return Sight(len(ids), tuple(Blind(because, tuple(checks)) for because, checks in reasons.items()))


def judge(sight: Sight) -> Iterator[Diagnosis]:
    """Say what is not seen, and why."""
    for each in sight.blind:
        verb = "is" if len(each.checks) == 1 else "are"
        yield advice(
            f"{', '.join(each.checks)} {verb} unknown: {each.because}.",
            f"`fleetmend check --only {each.checks[0]}` asks again; docs/reference/checks.md says what it needs.",
        )
    if not sight.blind:
        yield fine(f"All {sight.looked} checks of this host can be judged.")


CHECK = Check("sight", "Checks that come to nothing.", AGENT, read, judge, needs_live=True)
