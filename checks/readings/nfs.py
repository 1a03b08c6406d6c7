"""NFS mounts as the kernel's RPC client counts what it does for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class NfsMount:
    """One NFS mount. Counters begin at its mount.

    Attributes:
        device: as mounted, e.g. `storage:/home`.
        operations: requests, all kinds together.
        transmissions: how often these were sent; more than `operations` means that some were sent again.
        timeouts: major timeouts: a request was not answered within `timeo` and its repeats.
        connections: how often the transport connected, all connections together; `None` for one that does not count it.
    """

    mount: str
    device: str = ""
    kind: str = ""
    age_s: int | None = None
    operations: int = 0
    transmissions: int = 0
    timeouts: int = 0
    connections: int | None = None


@dataclass(frozen=True, slots=True)
class NfsReading:
    """Every NFS mount of the host at one moment."""

    SOURCE: ClassVar[str] = "nfs"
    PARTS: ClassVar[str] = "mounts"

    at_s: float
    mounts: tuple[NfsMount, ...] = ()
