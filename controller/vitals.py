"""What systemd is told of a controller: that it serves and in which part, that it gets on, that it ends.

The watchdog is fed for rounds that were made, not because time went by: a controller whose event loop still turns and
whose cell no longer thinks is as dead to its nodes as one that hangs.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final

from wire.readiness import READY, RELOADING, STOPPING, WATCHDOG, Readiness, of_this_process, status

LOOKS_PER_FEED: Final = 2
"""So often it is looked whether a round was made while systemd wants to hear once: what takes as long as that is fed
late and not too late. Source: our choice."""


@dataclass(slots=True)
class Vitals:
    """One controller's signs of life.

    Attributes:
        rounds: how often the cell has thought, or the standby has read on; it grows while the controller gets on.
    """

    readiness: Readiness = field(default_factory=of_this_process)
    rounds: int = 0
    _is_ready: bool = False
    _said: str = ""

    def came_round(self) -> None:
        """Another round was made."""
        self.rounds += 1

    def ready(self, sentence: str) -> None:
        """The controller serves, in the part that the sentence says; from the first time on it counts as started."""
        if not self._is_ready:
            self._is_ready = True
            self.readiness.tell(READY)
        self.say(sentence)

    def say(self, sentence: str) -> None:
        """Show a sentence; a controller that was not ready before still is not."""
        if sentence != self._said:
            self._said = sentence
            self.readiness.tell(status(sentence))

    def reloading(self) -> None:
        """The settings are read anew. `reloaded` has to follow."""
        self.readiness.tell(RELOADING, status("Reads its settings anew."))

    def reloaded(self, sentence: str) -> None:
        """The settings were read anew, or were refused, as the sentence says."""
        self._said = sentence
        self.readiness.tell(READY, status(sentence))

    def stopping(self) -> None:
        """The controller ends."""
        self.readiness.tell(STOPPING)

    async def feed(self) -> None:
        """Feed the watchdog while rounds are made, until cancelled."""
        fed_at = 0
        while self.readiness.watchdog_interval_s:
            await asyncio.sleep(self.readiness.watchdog_interval_s / LOOKS_PER_FEED)
            if self.rounds != fed_at:
                self.readiness.tell(WATCHDOG)
                fed_at = self.rounds
