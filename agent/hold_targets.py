"""The two systemd targets that follow the flag file: what belongs to the one is stopped when the other begins.

The agent only writes files and needs no right for more: fleetmend-hold.path, which is systemd's, starts the targets.
Whether it did is looked at, for a path unit that nobody enabled says nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Protocol

from agent.machine import ActionFailed, ActionRefused
from agent.repairs.units import BOOTED, Units

HELD: Final = "fleetmend-held.target"
IN_SERVICE: Final = "fleetmend-in-service.target"
PATH: Final = "fleetmend-hold.path"

LOOKS: Final = 20
LOOK_S: Final = 0.5
NUDGE_EVERY: Final = 4
"""systemd follows within milliseconds; after two seconds it is told again, as it misses what happens while it follows
what happened before. Source: our choice; systemd.path(5)."""

NUDGE: Final = ".changed"


class Targets(Protocol):
    """Who is told that the node is held."""

    async def follow(self, folder: Path, *, held: bool) -> str:
        """Wait until it is so and return a sentence, empty where there is nothing to say.

        Raises:
            ActionFailed: it is not so.
        """
        ...


class NoTargets:
    """A simulated node, which has no systemd."""

    async def follow(self, folder: Path, *, held: bool) -> str:
        """Return nothing."""
        del folder, held
        return ""


class SystemdTargets:
    """The host's targets."""

    def __init__(self, units: Units, *, root: Path, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Ask nothing yet."""
        self._units, self._root, self._sleep = units, root, sleep

    async def follow(self, folder: Path, *, held: bool) -> str:
        """Wait until the target is active that says whether the node is held."""
        wanted = HELD if held else IN_SERVICE
        if not (self._root / BOOTED).is_dir():
            return "This host was not booted with systemd; what starts work has to look at the file."
        try:
            if (await self._units.look(wanted)).load != "loaded":
                return f"{wanted} is not installed; what starts work has to look at the file."
            return await self._until_active(wanted, folder)
        except ActionRefused as refusal:
            raise ActionFailed(str(refusal)) from refusal

    async def _until_active(self, wanted: str, folder: Path) -> str:
        for look in range(LOOKS):
            if (await self._units.look(wanted)).active == "active":
                return f"{wanted} is active."
            if look and look % NUDGE_EVERY == 0:
                _nudge(folder)
            await self._sleep(LOOK_S)
        raise ActionFailed(f"{wanted} did not become active within {LOOKS * LOOK_S:g} s: is {PATH} enabled?")


def _nudge(folder: Path) -> None:
    """Change the folder and nothing in it that counts."""
    try:
        (folder / NUDGE).touch()
        (folder / NUDGE).unlink()
    except OSError as error:
        raise ActionFailed(f"cannot write to {folder}: {error.strerror}") from error
