"""What the baseboard management controller measures and remembers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class BmcSensor:
    """One sensor.

    Attributes:
        status: `ok`, `nc` (non-critical), `cr` (critical), `nr` (non-recoverable), `ns` (no reading), `us`
            (unspecified).
        text: the reading with its unit, or the states that hold, as `ipmitool` says them.
    """

    name: str
    status: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class BmcEvent:
    """One entry of the system event log. `record` is its number, `asserted` false when it says that a state is over."""

    record: int
    sensor: str
    event: str
    asserted: bool = True


@dataclass(frozen=True, slots=True)
class BmcReading:
    """All sensors, and the entries that came into the event log within a day.

    Attributes:
        events: oldest first.
        present: whether there is a BMC that can be asked from this host.
        failure: why it could not be asked, empty when it answered.
    """

    SOURCE: ClassVar[str] = "bmc"
    PARTS: ClassVar[str] = "sensors"

    at_s: float
    present: bool = False
    sensors: tuple[BmcSensor, ...] = ()
    events: tuple[BmcEvent, ...] = ()
    failure: str = ""
