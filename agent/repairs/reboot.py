"""A reboot: in order through systemd, and, where the order says so, without order when that does not work.

The agent is ended by the reboot. That it is still there minutes later says that nothing came of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Never

from agent.machine import ActionFailed, ActionRefused
from agent.repairs.programs import SYSTEMCTL, Programs, said
from agent.repairs.units import Units

ASK_LIMIT_S: Final = 30.0
"""Source: our choice, above the 25 s after which systemctl itself gives a silent systemd up (D-Bus, DBUS_TIMEOUT)."""

DOWN_LIMIT_S: Final = 300.0
"""So long after systemd took the reboot up, this process is ended. Source: our choice; 90 s for a service that does not
stop (DefaultTimeoutStopSec=), three times over for those that wait for each other."""

SYSRQ: Final = "proc/sysrq-trigger"
SYNC_AND_READ_ONLY: Final = ("s", "u")
AT_ONCE: Final = "b"
"""Source: kernel, admin-guide/sysrq.rst: s writes out, u remounts read-only, b reboots at once."""

SYSRQ_PAUSE_S: Final = 5.0
"""Between writing out and going down. Source: our choice; s and u only begin their work."""


class Reboot:
    """Reboots the host."""

    def __init__(
        self, programs: Programs, units: Units, *, root: Path, sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        """Reboot nothing yet."""
        self._programs, self._units, self._root, self._sleep = programs, units, root, sleep

    async def run(self, *, force: bool) -> Never:
        """Reboot; when it works, this process does not live to see it return.

        Args:
            force: when systemd does not end the services in order, go down without: first by systemd, which still
                unmounts, then by the kernel alone. What the file systems have not written yet may be lost.

        Raises:
            ActionRefused: this host was not booted with systemd.
            ActionFailed: it is still up.
        """
        self._units.refuse_without_systemd()
        problems: list[str] = []
        for options in ((), ("--force",)) if force else ((),):
            problem = await self._ask(options)
            if not problem:
                await self._sleep(DOWN_LIMIT_S)
                problem = f"still up {DOWN_LIMIT_S:g} s after {' '.join(_command(options))} was taken up"
            problems.append(problem)
        if force:
            problems.append(await self._by_the_kernel())
        raise ActionFailed("; ".join(problems))

    async def _ask(self, options: tuple[str, ...]) -> str:
        """Have systemd reboot; return why that did not work, empty when it was taken up."""
        command = _command(options)
        try:
            ended = await self._programs.run(*command, limit_s=ASK_LIMIT_S)
        except (ActionFailed, ActionRefused) as error:
            return str(error)
        return f"{' '.join(command)} ended with code {ended.code}: {said(ended)}" if ended.code else ""

    async def _by_the_kernel(self) -> str:
        """Have the kernel reboot at once; return why that did not work."""
        trigger = self._root / SYSRQ
        try:
            for key in SYNC_AND_READ_ONLY:
                trigger.write_text(key)
            await self._sleep(SYSRQ_PAUSE_S)
            trigger.write_text(AT_ONCE)
        except OSError as error:
            return f"cannot write to {trigger}: {error.strerror}"
        return "the kernel did not reboot at once either"


def _command(options: tuple[str, ...]) -> tuple[str, ...]:
    return (SYSTEMCTL, "--no-wall", *options, "reboot")
