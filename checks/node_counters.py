"""Numbers of a node that are drawn over time while it is well: how hot, how busy, how many errors so far.

Each is one number a node, over all of its devices, so that the controller can keep a day of it for every node; what a
single device says is for Prometheus (agent/metrics/catalogue.py). All of them are read anyway; none costs a reading of
its own. What is compared with other nodes is in checks/measures.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from checks.rdma import ACTIVE
from checks.readings import (
    AcceleratorReading,
    AmdReading,
    AscendReading,
    GpuReading,
    NvlinkCounters,
    NvmlReading,
    PlatformReading,
    PortCounters,
    RdmaCountersReading,
    RdmaPort,
    RdmaReading,
    Reading,
)

LINK_ACTIVE: Final = frozenset({1, 2})
"""States of an NVLink that is up, a sleeping one included. Source: checks/readings/nvlink.py."""

NVLINK_ERRORS: Final = (
    *("replays", "recoveries", "crc_errors", "malformed_packets", "buffer_overruns", "receive_errors"),
    *("remote_errors", "general_errors", "integrity_errors", "transmit_discards", "recoveries_failed"),
)
"""Fields of `checks.readings.NvlinkCounters` of which a good link has none. Source: our choice; symbols and blocks that
forward error correction mends, and that the physical layer sends again, belong to every link of 200 Gbit/s a lane."""

PORT_ERRORS: Final = (
    *("symbol_error", "link_error_recovery", "port_rcv_errors", "port_rcv_remote_physical_errors"),
    *("local_link_integrity_errors", "excessive_buffer_overrun_errors", "rx_icrc_encapsulated"),
)
"""Counters of a bad cable, module or port. Source: checks/fabric/rdma_errors.py."""

SEQUENCE_ERRORS: Final = ("out_of_sequence", "packet_seq_err")
"""Source: kernel, drivers/infiniband/hw/mlx5/counters.c; both are totals since the driver was loaded."""

RECENT_S: Final = 120.0
"""What the newest reading does not tell is taken from one that is older by so much at the most. Source: our choice;
the counters of links are asked for once in a minute (agent/sources/nvml_links.py)."""

NANOSECONDS: Final = 1e9

Values = Iterable[float | None]


class Kind(StrEnum):
    """What a number does over time."""

    LEVEL = "level"
    """It goes up and down."""
    TOTAL = "total"
    """It only grows, until it begins anew."""


@dataclass(frozen=True, slots=True)
class NodeCounter:
    """One number.

    Attributes:
        unit: as in its name, empty for a plain count.
        join: makes one number of those of all devices that told any.
        takes: kind of reading → the numbers of its devices. Of a total, `None` for any of them means that there is no
            number now: a sum without one device falls, and rises again by all that the device has ever counted.
    """

    name: str
    summary: str
    unit: str
    kind: Kind
    join: Callable[[Iterable[float]], float]
    takes: Mapping[type[Reading], Callable[[Any], Values]]

    def of(self, reading: Reading) -> float | None:
        """Return the number that a reading tells, `None` where it tells none."""
        take = self.takes.get(type(reading))
        values = list(take(reading)) if take is not None else []
        known = [float(value) for value in values if value is not None]
        if not known or (self.kind is Kind.TOTAL and len(known) < len(values)):
            return None
        return self.join(known)


def _gpus(take: Callable[[GpuReading], float | None]) -> Callable[[NvmlReading], Values]:
    return lambda reading: (take(gpu) for gpu in reading.gpus)


def _all_gpus(take: Callable[[GpuReading], float | None]) -> Callable[[NvmlReading], Values]:
    """Return what gives `None` also for GPUs that ought to be there and are not."""

    def values(reading: NvmlReading) -> Values:
        missing = max(0, len(reading.known_gpus) - len(reading.gpus))
        return [*(take(gpu) for gpu in reading.gpus), *[None] * missing]

    return values


def _mean(values: Iterable[float]) -> float:
    known = list(values)
    return sum(known) / len(known)


def _scaled(value: float | None, per: float) -> float | None:
    return None if value is None else value / per


def _known_sum(values: Values) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _links_active(gpu: GpuReading) -> float | None:
    if gpu.nvlink is None or not gpu.nvlink.states:
        return None
    return sum(state in LINK_ACTIVE for state in gpu.nvlink.states)


def _nvlink_errors(reading: NvmlReading) -> Values:
    """Return the errors of each GPU that has links; their counters are not asked for with every reading."""
    links = (gpu.nvlink for gpu in reading.gpus if gpu.nvlink is not None and gpu.nvlink.states)
    return (None if each.counters is None else _errors_of(each.counters) for each in links)


def _errors_of(counters: NvlinkCounters) -> float | None:
    return _known_sum(count for name in NVLINK_ERRORS for count in getattr(counters, name))


def _slowed_s(gpu: GpuReading) -> float | None:
    """Return how long heat has slowed a GPU; drivers tell it as one time, or by who slowed it, or both."""
    known = [each for each in (gpu.thermal_ns, gpu.sw_thermal_ns, gpu.hw_thermal_ns) if each is not None]
    return max(known) / NANOSECONDS if known else None


def _remapped(gpu: GpuReading) -> float | None:
    return _known_sum((gpu.remapped_correctable, gpu.remapped_uncorrectable))


def _downs(port: RdmaPort) -> float | None:
    """Return how often a link went down. The network interface behind a port counts it, too, and never stops at 255."""
    known = [each for each in (port.carrier_downs, port.link_downed) if each is not None]
    return max(known) if known else None


def _of_ports(names: tuple[str, ...]) -> Callable[[RdmaCountersReading], Values]:
    def told(port: PortCounters) -> float | None:
        return _known_sum(port.counters.get(name) for name in names)

    return lambda reading: (None if port.unread else told(port) for port in reading.ports)


def _ports_active(reading: RdmaReading) -> Values:
    return (None if port.state is None else float(port.state == ACTIVE) for port in reading.ports)


def _sensors(reading: AcceleratorReading) -> Values:
    return (each.celsius for device in reading.devices for each in device.temperatures)


def _device_powers(reading: AcceleratorReading) -> Values:
    return (device.power_watts for device in reading.devices)


def _device_errors(severity: str) -> Callable[[AcceleratorReading], Values]:
    return lambda reading: (getattr(block, severity) for device in reading.devices for block in device.ecc)


def _pci_errors(reading: PlatformReading) -> Values:
    return (sum(device.correctable.values()) for device in reading.devices if device.correctable is not None)


def _accelerators(take: Callable[[AcceleratorReading], Values]) -> dict[type[Reading], Callable[[Any], Values]]:
    return {AscendReading: take, AmdReading: take}


NODE_COUNTERS: Final = (
    NodeCounter(
        "gpu_temperature_celsius",
        "temperature of the hottest GPU",
        "°C",
        Kind.LEVEL,
        max,
        {NvmlReading: _gpus(lambda gpu: gpu.temperature_celsius), **_accelerators(_sensors)},
    ),
    NodeCounter(
        "gpu_memory_temperature_celsius",
        "temperature of the hottest memory of a GPU",
        "°C",
        Kind.LEVEL,
        max,
        {NvmlReading: _gpus(lambda gpu: gpu.memory_temperature_celsius)},
    ),
    NodeCounter(
        "gpu_power_watts",
        "power of all GPUs",
        "W",
        Kind.LEVEL,
        sum,
        {NvmlReading: _gpus(lambda gpu: _scaled(gpu.power_milliwatts, 1_000)), **_accelerators(_device_powers)},
    ),
    NodeCounter(
        "gpu_utilization_percent",
        "use of the GPUs, on average",
        "%",
        Kind.LEVEL,
        _mean,
        {NvmlReading: _gpus(lambda gpu: gpu.utilization_percent)},
    ),
    NodeCounter(
        "gpu_sm_clock_mhz",
        "clock of the slowest GPU",
        "MHz",
        Kind.LEVEL,
        min,
        {NvmlReading: _gpus(lambda gpu: gpu.sm_clock_mhz)},
    ),
    NodeCounter(
        "nvlinks_active", "active NVLinks of all GPUs", "", Kind.LEVEL, sum, {NvmlReading: _gpus(_links_active)}
    ),
    NodeCounter("rdma_ports_active", "active RDMA ports", "", Kind.LEVEL, sum, {RdmaReading: _ports_active}),
    NodeCounter(
        "gpu_corrected_errors",
        "corrected memory errors of all GPUs",
        "",
        Kind.TOTAL,
        sum,
        {
            NvmlReading: _all_gpus(lambda gpu: gpu.ecc_corrected_volatile),
            **_accelerators(_device_errors("corrected")),
        },
    ),
    NodeCounter(
        "gpu_uncorrected_errors",
        "uncorrected memory errors of all GPUs",
        "",
        Kind.TOTAL,
        sum,
        {
            NvmlReading: _all_gpus(lambda gpu: gpu.ecc_uncorrected_volatile),
            **_accelerators(_device_errors("uncorrected")),
        },
    ),
    NodeCounter(
        "gpu_remapped_rows",
        "rows of GPU memory that were replaced",
        "",
        Kind.TOTAL,
        sum,
        {NvmlReading: _all_gpus(_remapped)},
    ),
    NodeCounter(
        "gpu_pcie_replays",
        "packets that GPUs sent again over PCI Express",
        "",
        Kind.TOTAL,
        sum,
        {NvmlReading: _all_gpus(lambda gpu: gpu.details.pcie_errors.get("replays"))},
    ),
    NodeCounter(
        "gpu_slowed_s",
        "time for which heat slowed the GPU that it slowed most",
        "s",
        Kind.TOTAL,
        max,
        {NvmlReading: _all_gpus(_slowed_s)},
    ),
    NodeCounter("nvlink_errors", "errors of all NVLinks", "", Kind.TOTAL, sum, {NvmlReading: _nvlink_errors}),
    NodeCounter(
        "rdma_link_downs",
        "times that an RDMA link went down",
        "",
        Kind.TOTAL,
        sum,
        {RdmaReading: lambda reading: (_downs(port) for port in reading.ports)},
    ),
    NodeCounter(
        "rdma_port_errors",
        "errors on the wires of all RDMA ports",
        "",
        Kind.TOTAL,
        sum,
        {RdmaCountersReading: _of_ports(PORT_ERRORS)},
    ),
    NodeCounter(
        "rdma_sequence_errors",
        "RDMA packets that came out of order or were asked for again",
        "",
        Kind.TOTAL,
        sum,
        {RdmaCountersReading: _of_ports(SEQUENCE_ERRORS)},
    ),
    NodeCounter(
        "pcie_corrected_errors",
        "corrected errors on the PCI bus, of GPUs, adapters, disks and the ports above them",
        "",
        Kind.TOTAL,
        sum,
        {PlatformReading: _pci_errors},
    ),
    NodeCounter(
        "memory_corrected_errors",
        "corrected errors of the host's memory",
        "",
        Kind.TOTAL,
        sum,
        {PlatformReading: lambda reading: (module.corrected for module in reading.modules)},
    ),
)
"""What an agent says in its level, and the most that a controller keeps of a node."""

BY_NAME: Final[Mapping[str, NodeCounter]] = MappingProxyType({each.name: each for each in NODE_COUNTERS})

COUNTED: Final = tuple(dict.fromkeys(reading.SOURCE for each in NODE_COUNTERS for reading in each.takes))
"""The sources that they are taken from."""


def counters_of(recent: Iterable[Reading]) -> dict[str, float]:
    """Return every number that these readings tell.

    Args:
        recent: the newest of each source, each before the ones that are older; one that failed tells nothing.
    """
    readings = [each for each in recent if not getattr(each, "failure", "")]
    found = {}
    for counter in NODE_COUNTERS:
        value = next((told for each in readings if (told := counter.of(each)) is not None), None)
        if value is not None:
            found[counter.name] = value
    return found
