"""What the drivers of RDMA adapters say of their adapters' health."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class HealthReporter:
    """One thing whose health a driver watches.

    Attributes:
        name: e.g. `fw`, `fw_fatal`, `tx`, `rx`, `vnic` of mlx5.
        state: `healthy`, `error`, or anything else that the tool prints.
        errors, recoveries: how many were reported and how many mended, as totals since the driver was loaded.
        dumped: date and time of the last dump that the driver kept, empty without one.
    """

    name: str
    state: str
    errors: int | None = None
    recoveries: int | None = None
    dumped: str = ""


@dataclass(frozen=True, slots=True)
class AdapterHealth:
    """One adapter. `name`: the RDMA device, e.g. `mlx5_0`; `address`: its PCI address with function."""

    name: str
    address: str = ""
    node_guid: str = ""
    pci: str = ""
    reporters: tuple[HealthReporter, ...] = ()


@dataclass(frozen=True, slots=True)
class DevlinkReading:
    """All RDMA adapters of the host whose drivers watch their health.

    Attributes:
        missing_tools: programs that are not installed and would be asked: no adapter is listed then.
    """

    SOURCE: ClassVar[str] = "devlink"
    PARTS: ClassVar[str] = "adapters"

    at_s: float
    adapters: tuple[AdapterHealth, ...] = ()
    missing_tools: tuple[str, ...] = ()
