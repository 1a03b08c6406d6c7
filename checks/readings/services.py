"""The services of a host that its GPUs and its jobs need, as systemd tells them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class ServiceUnit:
    """One unit that is installed, in systemd's own words.

    Attributes:
        name: without `.service`.
        enabled: UnitFileState, e.g. `enabled`, `disabled`, `static`.
        active: ActiveState, e.g. `active`, `activating`, `inactive`, `failed`.
        sub: SubState, e.g. `running`, `dead`, `auto-restart`.
        result: why it ended, e.g. `success`, `exit-code`, `start-limit-hit`.
        restarts: how often systemd started it again by itself since somebody last did, `None` before systemd 235.
        skipped: it was not started because a condition of its own was not met.
    """

    name: str
    enabled: str = ""
    active: str = ""
    sub: str = ""
    result: str = ""
    restarts: int | None = None
    skipped: bool = False


@dataclass(frozen=True, slots=True)
class ServicesReading:
    """All of them that are installed.

    Attributes:
        units: empty on a host that was not booted with systemd.
        nvlink_fabric: whether the host has NVSwitches of its own, which do nothing without Fabric Manager.
        driver_version: of the NVIDIA driver that is loaded, empty without one.
        fabric_manager_version: of the program that is installed, empty where it is not or does not tell.
    """

    SOURCE: ClassVar[str] = "services"
    PARTS: ClassVar[str] = "units"

    at_s: float
    units: tuple[ServiceUnit, ...] = ()
    nvlink_fabric: bool = False
    driver_version: str = ""
    fabric_manager_version: str = ""
