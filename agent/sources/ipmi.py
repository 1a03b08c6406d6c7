"""The baseboard management controller, asked in band by `ipmitool` through the kernel's IPMI driver.

A sick BMC answers after minutes or never, so it is asked seldom and by processes that can be killed. Its event log is
read and never cleared: it is evidence, and others read it too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from agent.plain_text import printable
from agent.sources.bmc_log import kept_of, with_news
from agent.sources.source import Surroundings
from agent.sources.tool import Time, Tool
from checks.errors import CannotObserve
from checks.readings import BmcReading
from checks.readings.bmc import BmcEvent, BmcSensor

DEVICES: Final = ("dev/ipmi0", "dev/ipmi/0", "dev/ipmidev/0")
"""Source: ipmitool(1), `open` interface."""

SENSORS: Final = ("sdr", "elist")
EVENTS: Final = ("-c", "sel", "elist", "last", "100")
"""Source: ipmitool(1). A BMC logs some events a day; a hundred within one interval are a fault of its own."""

ONE_S: Final = 45.0
"""For one question. Source: our choice; a repository of 200 sensors takes a slow BMC some 20 s over KCS."""

STATUSES: Final = frozenset({"ok", "nc", "cr", "nr", "ns", "us"})
"""Source: ipmitool 1.8.19, lib/ipmi_sdr.c, `ipmi_sdr_get_status`."""

_SENSOR = re.compile(r"(.{1,32}?)\s*\| [0-9A-Fa-f]{1,3}h \| (\w\w) {1,2}\| {0,2}\d{1,3}\.\d{1,3} \| ?(.{0,200})")
_EVENT = re.compile(r"([0-9a-f]{1,4}),[^,]{0,40},[^,]{0,40},([^,]{1,80}),([^,]{0,120}),(Asserted|Deasserted)", re.ASCII)


class IpmiBmc:
    """The BMC of the host, by IPMI."""

    def __init__(self, surroundings: Surroundings) -> None:
        """Ask nothing yet."""
        self._root, self._monotonic = surroundings.root, surroundings.monotonic
        self._store = surroundings.store("bmc")
        self._ipmitool = Tool(surroundings.find("ipmitool"))

    async def read(self, deadline_s: float) -> BmcReading:
        """Return one reading, which says so where there is no BMC to ask.

        Raises:
            CannotObserve: a process that asked cannot be killed.
        """
        at_s = self._monotonic()
        if not self._ipmitool.is_installed or not any((self._root / device).exists() for device in DEVICES):
            return BmcReading(at_s)
        time = Time(deadline_s, ONE_S, monotonic=self._monotonic)
        try:
            sensors = tuple(parse_sensors(await self._ask(time, *SENSORS)))
            events = tuple(parse_events(await self._ask(time, *EVENTS)))
        except CannotObserve as error:
            if error.stuck:
                raise
            return BmcReading(at_s, present=True, failure=str(error))
        return BmcReading(at_s, present=True, sensors=sensors, events=self._recent(events, at_s))

    async def close(self) -> None:
        """End what still runs."""
        await self._ipmitool.close()

    async def _ask(self, time: Time, *arguments: str) -> str:
        ended = await self._ipmitool.run(*arguments, deadline_s=time.left_s())
        if ended.code:
            said = next((line.strip() for line in ended.text.splitlines() if line.strip()), "it said nothing")
            raise CannotObserve(f"ipmitool {' '.join(arguments)} ended with code {ended.code}: {said[:200]}")
        return ended.text

    def _recent(self, events: Iterable[BmcEvent], at_s: float) -> tuple[BmcEvent, ...]:
        kept = kept_of(self._store.load())
        now = with_news(kept, events, at_s)
        if now != kept:
            self._store.save(msgspec.to_builtins(now))
        return now.told


def parse_sensors(text: str) -> Iterator[BmcSensor]:
    """Yield every sensor of `ipmitool sdr elist`; a line of another form is left out."""
    for line in text.splitlines():
        match = _SENSOR.fullmatch(line.rstrip())
        if match is not None and match[2] in STATUSES:
            yield BmcSensor(printable(match[1]), match[2], printable(match[3]))


def parse_events(text: str) -> Iterator[BmcEvent]:
    """Yield every entry of `ipmitool -c sel elist`; a line of another form is left out."""
    for line in text.splitlines():
        match = _EVENT.fullmatch(line.strip())
        if match is not None:
            is_asserted = match[4] == "Asserted"
            yield BmcEvent(int(match[1], 16), printable(match[2]), printable(match[3]), is_asserted)
