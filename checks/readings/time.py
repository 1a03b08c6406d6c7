"""How well the host's clock is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class TimeReading:
    """What the daemon that keeps the clock says of it.

    Attributes:
        daemon: `chrony`, `systemd` (timedated speaks for whatever daemon there is), or empty where none can be asked.
        synchronised: whether the clock follows a source.
        offset_s: how far the clock is from what the daemon takes for the true time, with the sign that it gives.
        stratum: how many steps away the reference clock is.
        failure: why the daemon did not answer, empty when it did.
    """

    SOURCE: ClassVar[str] = "time"
    PARTS: ClassVar[str] = ""

    at_s: float
    daemon: str = ""
    synchronised: bool | None = None
    offset_s: float | None = None
    stratum: int | None = None
    failure: str = ""
