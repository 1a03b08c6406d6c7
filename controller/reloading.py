"""Reads the configuration, the playbooks and the key that signs anew while the controller goes on.

What decides is taken over at once: playbooks, budgets, limits, modes; and so is the key that signs. What something was
put together from (the broker, the store, the scheduler, where notices go) is not: the controller names what waits for a
restart. A file that is wrong changes nothing.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from controller.access.choosing import access_of, is_alike
from controller.assembly import rules_of
from controller.keys import KeyFileError
from controller.playbooks import PlaybookErrors
from controller.service import Anew, Controller
from controller.settings import ControllerSettings, SettingsError, load
from controller.store.signing import signer_of
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
        "report",
        "rollout",
        "silence",
        "simulated_speedup",
    }
)
"""Keys and tables of the file that need no restart; nor does [access], unless it, or its provider, comes or goes."""


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
            anew, waiting = await asyncio.to_thread(_read_anew, self.config, self.controller)
        except (SettingsError, PlaybookErrors, KeyFileError, OSError) as error:
            self.controller.front.settings_error = str(error)
            log.error("settings.refused", because=str(error))
            vitals.reloaded("The settings were read anew and refused: the ones from before hold. The log says why.")
            return
        self.controller.front.settings_error = ""
        key_before = self.controller.desk.key_id
        self.controller.follow(anew)
        set_level(anew.settings.log_level)
        if anew.signer.key_id != key_before:
            log.info("signing_key.changed", key_id=anew.signer.key_id, before=key_before)
        log.info("settings.reloaded", rules=anew.rules.digest(), waiting=waiting)
        vitals.reloaded(_told(waiting))


def _read_anew(config: Path, controller: Controller) -> tuple[Anew, list[str]]:
    """Return what the files say now, and the keys of the settings that wait for a restart.

    Raises:
        SettingsError, PlaybookErrors, KeyFileError: with every problem.
        OSError: a file that is not there cannot be made.
    """
    before = controller.settings
    read = load(config)
    taken_over = TAKEN_OVER | ({"access"} if is_alike(before.access, read.access) else set())
    settings = before.model_copy(update={key: getattr(read, key) for key in taken_over})
    others = ControllerSettings.model_fields.keys() - taken_over
    waiting = sorted(key for key in others if getattr(read, key) != getattr(before, key))
    access = access_of(settings) if settings.access is not None else controller.access
    return Anew(settings, rules_of(settings), signer_of(settings), access), waiting


def _told(waiting: list[str]) -> str:
    if waiting:
        return f"The settings were read anew; these wait for a restart: {', '.join(waiting)}."
    return "The settings were read anew."
