"""What the baseboard management controller measures and remembers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class BmcSensor:
    """One sensor.

    Attributes:
        status: `ok`, `nc` (non-critical), `cr` (critical), `nr` (non-recoverable), `ns` (no reading), `us`
            (unspecified); in Redfish's words OK, Warning and Critical are the first three.
        text: the reading with its unit, or the states that hold, as the BMC says them.
        kind: `supply`, `fan`, `temperature`, `voltage`, `processor` or `system`; empty where it is not told, as by
            IPMI.
        serial: of the part, empty where it is not told.
    """

    name: str
    status: str
    text: str = ""
    kind: str = ""
    serial: str = ""


@dataclass(frozen=True, slots=True)
class BmcEvent:
    """One entry of the system event log.

    Attributes:
        record: its number.
        asserted: false when it says that a state is over.
        severity: `ok`, `warning` or `critical`, empty where it is not told, as by IPMI.
    """

    record: int
    sensor: str
    event: str
    asserted: bool = True
    severity: str = ""


@dataclass(frozen=True, slots=True)
class BmcReading:
    """All sensors, and the entries that came into the event log within a day.

    Attributes:
        events: oldest first.
        present: whether there is a BMC that can be asked from this host.
        failure: why it, or some of it, could not be asked, empty when all was answered.
    """

    SOURCE: ClassVar[str] = "bmc"
    PARTS: ClassVar[str] = "sensors"

    at_s: float
    present: bool = False
    sensors: tuple[BmcSensor, ...] = ()
    events: tuple[BmcEvent, ...] = ()
    failure: str = ""
