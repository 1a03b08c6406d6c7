"""The host's baseboard management controller, asked in one of two ways: by Redfish where the settings name it, by IPMI
otherwise.

Never both: the same sensors and the same log stand behind them, so that every fault would be told twice, and a BMC is
slow enough with one who asks. Redfish wins because somebody wrote it down; it also names the part that failed, with its
serial number. When it fails, IPMI does not take its place in silence: the check is `unknown` until that is mended.
"""

from __future__ import annotations

from typing import Final, Protocol

from agent.sources.ipmi import IpmiBmc
from agent.sources.redfish import RedfishBmc
from agent.sources.source import Cost, Declaration, Privilege, Surroundings, Timing
from checks.readings import BmcReading


class Way(Protocol):
    """One way to ask a BMC."""

    async def read(self, deadline_s: float) -> BmcReading:
        """Return one reading, which says so where there is no BMC to ask, or why it did not answer.

        Raises:
            CannotObserve: a process that asked cannot be killed.
        """
        ...

    async def close(self) -> None:
        """End what still runs."""
        ...


class BmcSource:
    """The BMC of the host."""

    name = "bmc"

    def __init__(self, surroundings: Surroundings, timing: Timing) -> None:
        """Ask nothing yet."""
        self.timing = timing
        access = surroundings.redfish
        self._way: Way = IpmiBmc(surroundings) if access is None else RedfishBmc(surroundings, access)

    async def read(self) -> BmcReading:
        """Return one reading, which says so where there is no BMC to ask.

        Raises:
            CannotObserve: a process that asked cannot be killed.
        """
        return await self._way.read(self.timing.deadline_s)

    async def close(self) -> None:
        """End what still runs."""
        await self._way.close()


SOURCE: Final = Declaration(
    name=BmcSource.name,
    summary="Sensors and event log of the baseboard management controller, by Redfish where `[redfish]` names it, else "
    "from `ipmitool`.",
    reading=BmcReading,
    timing=Timing(interval_s=600.0, fast_interval_s=300.0, deadline_s=100.0),
    cost=Cost.HIGH,
    privilege=Privilege.ROOT,
    hangs_with="the BMC",
    make=BmcSource,
)
