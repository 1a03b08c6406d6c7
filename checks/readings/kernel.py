"""What the kernel log says, and how well it is being read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class KernelRecord:
    """One record of the kernel log.

    Attributes:
        at_s: seconds since boot, as the kernel stamped it; 0.0 when the line carried no such stamp.
        facility: syslog facility; 0 is the kernel itself, 1 is what any process can write to /dev/kmsg.
            `None` when the line's form does not tell.
        severity: syslog severity 0 (emergency) to 7 (debug), `None` when the line's form does not tell.
        sequence: the kernel's own record number, `None` outside /dev/kmsg.
        text: the message alone, without time stamp or prefix.
    """

    at_s: float
    text: str
    facility: int | None = None
    severity: int | None = None
    sequence: int | None = None


@dataclass(frozen=True, slots=True)
class KernelLogState:
    """How well the kernel log is being read.

    Attributes:
        lost_records: records overwritten before they were read (EPIPE), since the agent started.
        lost_recently: of those, how many in the last interval.
        readable: whether the log could be opened at all.
        because: why not, when it is not readable.
    """

    SOURCE: ClassVar[str] = "kernel_log"
    PARTS: ClassVar[str] = ""

    at_s: float
    readable: bool
    because: str = ""
    lost_records: int = 0
    lost_recently: int = 0
