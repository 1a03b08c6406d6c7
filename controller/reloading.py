"""Reads the configuration and the playbooks anew while the controller goes on.

What decides is taken over at once: playbooks, budgets, limits, modes. What something was put together from (the broker,
the store, the scheduler, where notices go) is not: the controller names what waits for a restart. A file that is wrong
changes nothing.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from controller.assembly import rules_of
from controller.playbooks import PlaybookErrors
from controller.policy.rules import Rules
from controller.service import Controller
from controller.settings import ControllerSettings, SettingsError, load
from wire.logs import set_level

log = structlog.get_logger()

TAKEN_OVER: Final = frozenset(
    {
        "approvals",
        "bench",
        "breakers",
        "budget",
        "domains",
        "freezes",
        "limits",
        "log_level",
        "modes",
        "playbooks",
        "rollout",
        "silence",
        "simulated_speedup",
    }
)
"""Keys and tables of the file that need no restart."""


@dataclass(slots=True)
class Reloading:
    """Who reads anew when somebody asks for it; one time after the other."""

    config: Path
    controller: Controller
    _task: asyncio.Task[None] | None = None
    _again: bool = field(default=False)

    def ask(self) -> None:
        """Read anew, or once more after the reading that is under way."""
        self._again = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._read(), name="reloading")

    async def _read(self) -> None:
        while self._again:
            self._again = False
            await self._once()

    async def _once(self) -> None:
        vitals = self.controller.vitals
        vitals.reloading()
        try:
            settings, rules, waiting = await asyncio.to_thread(_read_anew, self.config, self.controller.settings)
        except (SettingsError, PlaybookErrors) as error:
            self.controller.front.settings_error = str(error)
            log.error("settings.refused", because=str(error))
            vitals.reloaded("The settings were read anew and refused: the ones from before hold. The log says why.")
            return
        self.controller.front.settings_error = ""
        self.controller.follow(settings, rules)
        set_level(settings.log_level)
        log.info("settings.reloaded", rules=rules.digest(), waiting=waiting)
        vitals.reloaded(_told(waiting))


def _read_anew(config: Path, before: ControllerSettings) -> tuple[ControllerSettings, Rules, list[str]]:
    """Return the settings that hold from here on, the rules by them, and the keys that wait for a restart.

    Raises:
        SettingsError, PlaybookErrors: with every problem.
    """
    read = load(config)
    settings = before.model_copy(update={key: getattr(read, key) for key in TAKEN_OVER})
    others = ControllerSettings.model_fields.keys() - TAKEN_OVER
    return settings, rules_of(settings), sorted(key for key in others if getattr(read, key) != getattr(before, key))


def _told(waiting: list[str]) -> str:
    if waiting:
        return f"The settings were read anew; these wait for a restart: {', '.join(waiting)}."
    return "The settings were read anew."
