"""The GPFS (IBM Storage Scale) daemon of this node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class GpfsReading:
    """What `mmgetstate` says of this node.

    Attributes:
        present: whether this node belongs to a GPFS cluster.
        was_active: whether it ever was active on this host.
        state: `active`, `arbitrating`, `down`, `unresponsive`, `unknown`.
    """

    SOURCE: ClassVar[str] = "gpfs"
    PARTS: ClassVar[str] = ""

    at_s: float
    present: bool = False
    was_active: bool = False
    node: str = ""
    state: str = ""
    quorum: str = ""
    nodes_up: str = ""
    nodes: str = ""
