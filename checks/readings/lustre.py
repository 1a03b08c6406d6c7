"""The Lustre client as it tells about itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class LustreTarget:
    """One server target that the client is to be connected to.

    Attributes:
        name: e.g. `fs-OST0001` or `MGC10.0.0.1@o2ib`.
        state: the client's word: `FULL`, `IDLE`, `DISCONN`, `CONNECTING`, `EVICTED`, ...; empty when unreadable.
        active: whether an administrator wants it used; `None` when it is not told.
        connection: the server's address that it uses.
    """

    name: str
    state: str = ""
    active: bool | None = None
    connection: str = ""


@dataclass(frozen=True, slots=True)
class LustreReading:
    """The Lustre client at one moment.

    Attributes:
        present: whether the client's modules are loaded.
        health: what it says of itself, `healthy` or what is wrong; empty when unreadable.
    """

    SOURCE: ClassVar[str] = "lustre"
    PARTS: ClassVar[str] = "targets"

    at_s: float
    present: bool = False
    health: str = ""
    targets: tuple[LustreTarget, ...] = ()
