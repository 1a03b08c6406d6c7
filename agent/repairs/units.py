"""Units of systemd, stopped, started and restarted, and looked at afterwards: that systemctl ended well proves nothing.

A service that ends seconds after its start is restarted by systemd, again and again, and every single start succeeds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.machine import ActionFailed, ActionRefused
from agent.repairs.programs import SYSTEMCTL, Programs, said

BOOTED: Final = "run/systemd/system"
"""There when systemd is the host's first process. Source: sd_booted(3)."""

CHANGE_LIMIT_S: Final = 120.0
"""Source: our choice; systemd gives a unit 90 s to stop, and as long to start (DefaultTimeoutStopSec=)."""

SETTLE_S: Final = 5.0
"""So long a unit has to stay as it is after a start. Source: our choice; a daemon that cannot work where it is, for
want of a driver or a port, ends within a second or two."""

PROPERTIES: Final = ("LoadState", "ActiveState", "SubState", "Type", "Result", "NRestarts", "InvocationID")
"""Source: org.freedesktop.systemd1(5)."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit as `systemctl show` tells of it. `invocation`: another one means that it was started again."""

    name: str
    load: str = ""
    active: str = ""
    sub: str = ""
    type: str = ""
    result: str = ""
    restarts: str = ""
    invocation: str = ""

    @property
    def is_active(self) -> bool:
        """Whether it does what it is for. A oneshot that ended well has."""
        return self.active == "active" or (
            self.type == "oneshot" and self.active == "inactive" and self.result == "success"
        )

    def __str__(self) -> str:
        """Return it as people read it."""
        result = f", result {self.result}" if self.result not in ("", "success") else ""
        return f"{self.active or 'unknown'} ({self.sub or 'unknown'}{result})"


class Units:
    """The host's units."""

    def __init__(self, programs: Programs, *, root: Path, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Ask nothing yet."""
        self._programs, self._root, self._sleep = programs, root, sleep

    def refuse_without_systemd(self) -> None:
        """Return on a host that was booted with systemd.

        Raises:
            ActionRefused: on any other.
        """
        if not (self._root / BOOTED).is_dir():
            raise ActionRefused("this host was not booted with systemd")

    async def look(self, name: str) -> Unit:
        """Return how a unit is.

        Raises:
            ActionFailed: systemd does not say.
        """
        ended = await self._programs.ask(SYSTEMCTL, "show", f"--property={','.join(PROPERTIES)}", "--", name)
        unit = parse_unit(name, ended.text)
        if ended.code or not unit.load:
            raise ActionFailed(f"systemctl show {name} ended with code {ended.code}: {said(ended)}")
        return unit

    async def active(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return those of the units that run, or are about to."""
        units = [await self.look(name) for name in names]
        return tuple(unit.name for unit in units if unit.active in ("active", "activating", "reloading"))

    async def stop(self, name: str) -> None:
        """Stop a unit.

        Raises:
            ActionFailed: it runs on.
        """
        ended = await self._change("stop", name)
        unit = await self.look(name)
        if ended or unit.active not in ("inactive", "failed"):
            raise ActionFailed(f"{name} does not stop: it is {unit}. {ended}".strip())

    async def start(self, name: str) -> None:
        """Start a unit that was stopped, and see that it stays up.

        Raises:
            ActionFailed: it does not.
        """
        await self._up("start", name)

    async def restart(self, name: str) -> None:
        """Restart a unit, and see that it stays up.

        Raises:
            ActionRefused: it is not installed, or must not be started.
            ActionFailed: it does not stay up.
        """
        unit = await self.look(name)
        if unit.load == "masked":
            raise ActionRefused(f"{name} is masked: whoever masked it wants it not to run")
        if unit.load != "loaded":
            raise ActionRefused(f"{name} is not installed here: systemd calls it {unit.load}")
        if unit.active == "failed":
            # One that has failed too often is not started, however often it is asked, before this is forgotten.
            await self._programs.ask(SYSTEMCTL, "reset-failed", name)
        await self._up("restart", name)

    async def _up(self, verb: str, name: str) -> None:
        refusal = await self._change(verb, name)
        first = await self.look(name)
        if refusal or not first.is_active:
            raise ActionFailed(f"{name} is {first} after a {verb}. {refusal or _see(name)}")
        await self._sleep(SETTLE_S)
        then = await self.look(name)
        if not then.is_active:
            raise ActionFailed(f"{name} is {then} {SETTLE_S:g} s after a {verb}. {_see(name)}")
        if then.invocation != first.invocation:
            raise ActionFailed(f"{name} is crash-looping: it ended within {SETTLE_S:g} s of a {verb}. {_see(name)}")

    async def _change(self, verb: str, name: str) -> str:
        """Return what systemctl said when it did not end well, empty when it did."""
        ended = await self._programs.run(SYSTEMCTL, verb, name, limit_s=CHANGE_LIMIT_S)
        return f"systemctl {verb} {name} ended with code {ended.code}: {said(ended)}" if ended.code else ""


def parse_unit(name: str, text: str) -> Unit:
    """Return the unit in what `systemctl show` printed; what it does not hold stays empty."""
    pairs = (line.partition("=") for line in text.splitlines())
    facts = {key: "".join(filter(str.isprintable, value))[:200] for key, separator, value in pairs if separator}
    return Unit(name, *(facts.get(each, "") for each in PROPERTIES))


def full_name(name: str) -> str:
    """Return the unit's name with its kind."""
    return name if "." in name else f"{name}.service"


def _see(name: str) -> str:
    return f"`journalctl -u {name}` on the node says why."
