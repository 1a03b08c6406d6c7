"""The host's clock, as the daemon that keeps it sees it: chrony where it is installed, else what systemd says.

A container has neither, and its clock is its host's.
"""

from __future__ import annotations

import re
from typing import Final

from agent.sources.source import Cost, Declaration, Privilege, Surroundings, Timing
from agent.sources.tool import Tool
from checks.errors import CannotObserve
from checks.readings import TimeReading

CHRONY: Final = "chrony"
SYSTEMD: Final = "systemd"
TRACKING: Final = ("-c", "-n", "tracking")
SHOW: Final = ("show", "--property=NTP", "--property=NTPSynchronized")
"""Source: chronyc(1), timedatectl(1)."""

FIELDS: Final = 14
STRATUM, OFFSET, LEAP = 2, 4, 13
"""Places in the line of `chronyc -c tracking`. Source: chronyc(1), `tracking`; chrony 4.3."""

NO_DAEMON: Final = "506 Cannot talk to daemon"
"""Where nothing starts daemons either, as in a container that has the package, none was ever meant to run. Source:
chrony, client.c."""

UNSYNCHRONISED: Final = "Not synchronised"
BOOTED: Final = "run/systemd/system"
"""There when systemd is the host's first process. Source: sd_booted(3)."""

_NUMBER = re.compile(r"[+-]?\d{1,12}(?:\.\d{1,12})?", re.ASCII)


class TimeSource:
    """The host's clock."""

    name = "time"

    def __init__(self, surroundings: Surroundings, timing: Timing) -> None:
        """Ask nothing yet."""
        self.timing = timing
        self._root, self._monotonic = surroundings.root, surroundings.monotonic
        self._chronyc = Tool(surroundings.find("chronyc"))
        self._timedatectl = Tool(surroundings.find("timedatectl"))

    async def read(self) -> TimeReading:
        """Return one reading, without a daemon where there is none to ask.

        Raises:
            CannotObserve: a process that asked cannot be killed.
        """
        at_s = self._monotonic()
        is_booted = (self._root / BOOTED).is_dir()
        if self._chronyc.is_installed:
            said = await self._ask(self._chronyc, *TRACKING)
            return parse_tracking(said, at_s) if is_booted or NO_DAEMON not in said else TimeReading(at_s)
        if self._timedatectl.is_installed and is_booted:
            return parse_timedate(await self._ask(self._timedatectl, *SHOW), at_s)
        return TimeReading(at_s)

    async def close(self) -> None:
        """End what still runs."""
        await self._chronyc.close()
        await self._timedatectl.close()

    async def _ask(self, tool: Tool, *arguments: str) -> str:
        """Return what the program printed; that it is late or ends with an error is a text that says nothing."""
        try:
            return (await tool.run(*arguments, deadline_s=self.timing.deadline_s)).text
        except CannotObserve as error:
            if error.stuck:
                raise
            return str(error)


SOURCE: Final = Declaration(
    name=TimeSource.name,
    summary="The clock's state from `chronyc`, else from `timedatectl`.",
    reading=TimeReading,
    timing=Timing(interval_s=300.0, fast_interval_s=60.0, deadline_s=10.0),
    cost=Cost.LOW,
    privilege=Privilege.NONE,
    hangs_with="the daemon that keeps the time",
    make=TimeSource,
)


def parse_tracking(text: str, at_s: float) -> TimeReading:
    """Return what `chronyc -c tracking` says."""
    fields = text.strip().split(",")
    if len(fields) != FIELDS or not (_NUMBER.fullmatch(fields[STRATUM]) and _NUMBER.fullmatch(fields[OFFSET])):
        return TimeReading(at_s, CHRONY, failure=_said(text))
    is_synchronised = fields[LEAP] != UNSYNCHRONISED
    offset_s = float(fields[OFFSET]) if is_synchronised else None
    return TimeReading(at_s, CHRONY, is_synchronised, offset_s, int(float(fields[STRATUM])))


def parse_timedate(text: str, at_s: float) -> TimeReading:
    """Return what `timedatectl show` says; a host that is told to keep no time is one without a daemon."""
    facts = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    if facts.get("NTP") == "no" and facts.get("NTPSynchronized") == "no":
        return TimeReading(at_s)
    if facts.get("NTPSynchronized") not in ("yes", "no"):
        return TimeReading(at_s, SYSTEMD, failure=_said(text))
    return TimeReading(at_s, SYSTEMD, facts["NTPSynchronized"] == "yes")


def _said(text: str) -> str:
    printable = ("".join(each for each in line if each.isprintable()).strip() for line in text.splitlines())
    return next((line[:200] for line in printable if line), "it said nothing")
