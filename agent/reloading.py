"""Reads the configuration anew while the agent goes on: whom it obeys, in what, and what it logs.

What it is put together from (sources, checks, the broker) waits for a restart, and the agent names it. A file that is
wrong changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import structlog

from agent.orders import HOLDS, Orders, Rules
from agent.runner import Runner
from agent.settings import Settings, SettingsError, load_settings
from wire.logs import set_level
from wire.readiness import READY, RELOADING, Readiness, status

log = structlog.get_logger()

TAKEN_OVER: Final = ("log_level", "orders_allowed", "trusted_keys")
"""Keys and tables of the file that need no restart."""

REFUSED: Final = "The settings were read anew and refused: the ones from before hold. The log says why."


def rules_of(settings: Settings) -> Rules:
    """Return whom a node with these settings obeys."""
    trusted = {key_id: key.load() for key_id, key in settings.trusted_keys.items()}
    return Rules(settings.node, trusted, settings.orders_allowed)


@dataclass(slots=True)
class Reloading:
    """Reads anew when somebody asks for it.

    Attributes:
        settings: those that hold.
        can_hold: whether the agent was put together so that it can keep work off its node.
        tell: has the level sent.
    """

    config: Path
    settings: Settings
    orders: Orders
    runner: Runner
    can_hold: bool
    tell: Callable[[], None]
    readiness: Readiness

    def ask(self) -> None:
        """Read anew. It is two small files, read at once."""
        self.readiness.tell(RELOADING)
        try:
            read = load_settings(self.config)
        except SettingsError as error:
            log.error("settings.refused", because=str(error))
            self.readiness.tell(READY, status(REFUSED))
            return
        waiting = self._take_over(read)
        log.info("settings.reloaded", waiting=waiting)
        waits = f"; these wait for a restart: {', '.join(waiting)}" if waiting else ""
        self.readiness.tell(READY, status(f"The settings were read anew{waits}."))

    def _take_over(self, read: Settings) -> list[str]:
        """Return what waits for a restart."""
        waiting = [key for key in _keys() if getattr(read, key) != getattr(self.settings, key)]
        allowed = read.orders_allowed
        if not self.can_hold and allowed & HOLDS:
            allowed -= HOLDS
            waiting.append("orders_allowed (hold and release)")
        taken = {key: getattr(read, key) for key in TAKEN_OVER} | {"orders_allowed": allowed}
        self.settings = msgspec.structs.replace(self.settings, **taken)
        set_level(self.settings.log_level)
        self.orders.follow(rules_of(self.settings))
        self.runner.allow(allowed)
        self.tell()
        return waiting


def _keys() -> list[str]:
    return [key for key in Settings.__struct_fields__ if key not in TAKEN_OVER]
