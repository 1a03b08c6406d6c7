"""What checks judge: plain facts taken from a host by the agent's sources, with no judgement in them.

`None` always means "not readable or not supported here", never zero. Every reading carries `at_s`, seconds on the
host's monotonic clock, which begins at the boot, so that checks judge rates and youth without knowing any clock. One
file a source; a source takes one type of reading, and the type names it:

- `SOURCE`: name of the agent's source (agent/sources/registry.py) that takes it.
- `PARTS`: name of the field that holds the like devices among which faults are compared, empty without any.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

from checks.readings.accelerator import (
    AcceleratorDevice,
    AcceleratorReading,
    AmdReading,
    AscendNetworkReading,
    AscendReading,
)
from checks.readings.agent import AgentReading, LastEnd, SourceState
from checks.readings.bmc import BmcReading
from checks.readings.cable import CableModule, CableReading, ModuleMeasure
from checks.readings.devlink import AdapterHealth, DevlinkReading, HealthReporter
from checks.readings.disks import DisksReading
from checks.readings.gpfs import GpfsReading
from checks.readings.host import HostReading
from checks.readings.inventory import InventoryReading
from checks.readings.kernel import KernelLogState, KernelRecord
from checks.readings.lldp import LldpNeighbour, LldpReading
from checks.readings.lustre import (
    LustreReading,
    LustreTarget,
)
from checks.readings.mounts import (
    ExpectedMount,
    FilesystemReading,
    MountsReading,
)
from checks.readings.nfs import (
    NfsMount,
    NfsReading,
)
from checks.readings.nvlink import (
    FabricReading,
    NvlinkCounters,
    NvlinkReading,
)
from checks.readings.nvml import GpuDetails, GpuProcess, GpuReading, NvmlReading, RemapBanks
from checks.readings.platform import PlatformReading
from checks.readings.rdma import RdmaPort, RdmaReading
from checks.readings.rdma_adapters import (
    AdapterPort,
    Gid,
    PcieLink,
    RdmaAdapter,
    RdmaAdaptersReading,
)
from checks.readings.rdma_congestion import PortCongestion, RdmaCongestionReading
from checks.readings.rdma_counters import (
    PortCounters,
    RdmaCountersReading,
)
from checks.readings.services import (
    ServicesReading,
    ServiceUnit,
)
from checks.readings.site import SiteReading
from checks.readings.smart import (
    DiskSmart,
    SmartReading,
)
from checks.readings.time import TimeReading

__all__ = [
    "READINGS",
    "AcceleratorDevice",
    "AcceleratorReading",
    "AdapterHealth",
    "AdapterPort",
    "AgentReading",
    "AmdReading",
    "AscendNetworkReading",
    "AscendReading",
    "BmcReading",
    "CableModule",
    "CableReading",
    "DevlinkReading",
    "DiskSmart",
    "DisksReading",
    "ExpectedMount",
    "FabricReading",
    "FilesystemReading",
    "Gid",
    "GpfsReading",
    "GpuDetails",
    "GpuProcess",
    "GpuReading",
    "HealthReporter",
    "HostReading",
    "InventoryReading",
    "KernelLogState",
    "KernelRecord",
    "LastEnd",
    "LldpNeighbour",
    "LldpReading",
    "LustreReading",
    "LustreTarget",
    "ModuleMeasure",
    "MountsReading",
    "NfsMount",
    "NfsReading",
    "NvlinkCounters",
    "NvlinkReading",
    "NvmlReading",
    "PcieLink",
    "PlatformReading",
    "PortCongestion",
    "PortCounters",
    "RdmaAdapter",
    "RdmaAdaptersReading",
    "RdmaCongestionReading",
    "RdmaCountersReading",
    "RdmaPort",
    "RdmaReading",
    "Reading",
    "RemapBanks",
    "ServiceUnit",
    "ServicesReading",
    "SiteReading",
    "SmartReading",
    "SourceState",
    "TimeReading",
]


class Reading(Protocol):
    """What every reading of a polled source has."""

    SOURCE: ClassVar[str]
    PARTS: ClassVar[str]

    @property
    def at_s(self) -> float:
        """When it was taken."""
        ...


READINGS: tuple[type[Reading], ...] = (
    NvmlReading,
    RdmaReading,
    RdmaCountersReading,
    RdmaAdaptersReading,
    RdmaCongestionReading,
    CableReading,
    DevlinkReading,
    LldpReading,
    HostReading,
    PlatformReading,
    MountsReading,
    NfsReading,
    LustreReading,
    GpfsReading,
    DisksReading,
    SmartReading,
    TimeReading,
    ServicesReading,
    BmcReading,
    AscendReading,
    AscendNetworkReading,
    AmdReading,
    InventoryReading,
    KernelLogState,
    AgentReading,
)
"""Every type of reading that level checks judge, one a source."""
