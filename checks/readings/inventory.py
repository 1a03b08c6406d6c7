"""What a host is made of, beside what was approved for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from checks.manifest import Manifest


@dataclass(frozen=True, slots=True)
class InventoryReading:
    """The two lists at one moment.

    Attributes:
        approved: what a person approved and is in force, `None` when nobody approved anything.
        problem: why the file of it cannot be used, with its name and the place; what was in force before stays so.
        kernel: the release of the running kernel.
        found: what is there, by the newest readings of all sources; the agent's runner puts it in.
    """

    SOURCE: ClassVar[str] = "inventory"
    PARTS: ClassVar[str] = ""

    at_s: float
    approved: Manifest | None = None
    problem: str = ""
    kernel: str = ""
    found: Manifest | None = None
