"""What the newest readings say of GPUs, links and ports, as metrics. Nothing is read for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from agent.metrics.catalogue import MOST_ACCELERATORS, MOST_GPUS, MOST_PORTS, MOST_SENSORS, NVLINK_ERRORS, RDMA_ERRORS
from checks.readings import (
    AcceleratorDevice,
    AcceleratorReading,
    GpuReading,
    NvlinkCounters,
    NvmlReading,
    RdmaCountersReading,
    RdmaReading,
)
from wire.metrics import LabelValues, Values

ACTIVE: Final = 4
"""State of an RDMA port that carries traffic. Source: kernel, include/rdma/ib_verbs.h, IB_PORT_ACTIVE."""

LINK_ACTIVE: Final = frozenset({1, 2})
"""States of an NVLink that is up, a sleeping one included. Source: checks/readings/nvlink.py."""

_OF_A_GPU: Final[Mapping[str, Callable[[GpuReading], float | None]]] = {
    "fleetmend_agent_gpu_temperature_celsius": lambda gpu: gpu.temperature_celsius,
    "fleetmend_agent_gpu_memory_temperature_celsius": lambda gpu: gpu.memory_temperature_celsius,
    "fleetmend_agent_gpu_power_watts": lambda gpu: _scaled(gpu.power_milliwatts, per=1_000),
    "fleetmend_agent_gpu_utilization_ratio": lambda gpu: _scaled(gpu.utilization_percent, per=100),
    "fleetmend_agent_gpu_sm_clock_hertz": lambda gpu: _scaled(gpu.sm_clock_mhz, times=1_000_000),
    "fleetmend_agent_gpu_lost": lambda gpu: float(gpu.lost),
    "fleetmend_agent_gpu_remap_pending": lambda gpu: _scaled(gpu.remap_pending),
    "fleetmend_agent_gpu_remap_failed": lambda gpu: _scaled(gpu.remap_failed),
    "fleetmend_agent_nvlink_links_active": lambda gpu: _links_active(gpu),
}


def gpu_values(newest: NvmlReading, earlier: Iterable[NvmlReading]) -> Values:
    """Return what NVML says; nothing of a reading that failed.

    Args:
        earlier: readings that are remembered, the newest first: errors of links are asked for more rarely.
    """
    gpus = () if newest.failure else newest.gpus[:MOST_GPUS]
    found: Values = {name: dict(_each(gpus, take)) for name, take in _OF_A_GPU.items()}
    return found | {
        "fleetmend_agent_gpu_info": {(*_gpu(gpu), gpu.name, gpu.serial, gpu.pci): 1.0 for gpu in gpus},
        "fleetmend_agent_gpu_ecc_errors_total": _by_severity(
            gpus, lambda gpu: (gpu.ecc_corrected_volatile, gpu.ecc_uncorrected_volatile)
        ),
        "fleetmend_agent_gpu_remapped_rows_total": _by_severity(
            gpus, lambda gpu: (gpu.remapped_correctable, gpu.remapped_uncorrectable)
        ),
        "fleetmend_agent_nvlink_errors_total": _nvlink_errors(gpus, earlier),
    }


def port_values(reading: RdmaReading) -> Values:
    """Return how RDMA ports are."""
    ports = reading.ports[:MOST_PORTS]
    return {
        "fleetmend_agent_rdma_port_up": {
            (port.name,): float(port.state == ACTIVE) for port in ports if port.state is not None
        },
        "fleetmend_agent_rdma_port_rate_gbits": {
            (port.name,): port.rate_gbit_per_s for port in ports if port.rate_gbit_per_s is not None
        },
    }


def counter_values(reading: RdmaCountersReading) -> Values:
    """Return what RDMA ports count."""
    errors: dict[LabelValues, float] = {
        (port.name, name): port.counters[name]
        for port in reading.ports[:MOST_PORTS]
        for name in RDMA_ERRORS
        if name in port.counters
    }
    return {"fleetmend_agent_rdma_errors_total": errors}


def accelerator_values(readings: Iterable[AcceleratorReading]) -> Values:
    """Return what the tools of other vendors say."""
    devices = [device for reading in readings for device in reading.devices][:MOST_ACCELERATORS]
    return {
        "fleetmend_agent_accelerator_temperature_celsius": {
            (*_device(device), each.sensor): each.celsius
            for device in devices
            for each in device.temperatures[:MOST_SENSORS]
        },
        "fleetmend_agent_accelerator_power_watts": {
            _device(device): device.power_watts for device in devices if device.power_watts is not None
        },
        "fleetmend_agent_accelerator_ecc_errors_total": dict(_accelerator_errors(devices)),
    }


def _each(
    gpus: Iterable[GpuReading], take: Callable[[GpuReading], float | None]
) -> Iterator[tuple[LabelValues, float]]:
    for gpu in gpus:
        value = take(gpu)
        if value is not None:
            yield _gpu(gpu), value


def _by_severity(
    gpus: Iterable[GpuReading], take: Callable[[GpuReading], tuple[int | None, int | None]]
) -> dict[LabelValues, float]:
    counted = ((gpu, zip(("corrected", "uncorrected"), take(gpu), strict=True)) for gpu in gpus)
    return {(*_gpu(gpu), severity): count for gpu, both in counted for severity, count in both if count is not None}


def _nvlink_errors(gpus: tuple[GpuReading, ...], earlier: Iterable[NvmlReading]) -> dict[LabelValues, float]:
    with_links = {gpu.uuid: gpu for gpu in gpus if gpu.nvlink is not None and gpu.nvlink.states}
    counters: dict[str, NvlinkCounters] = {}
    for reading in earlier:
        if counters.keys() >= with_links.keys():
            break
        for gpu in reading.gpus:
            if gpu.nvlink is not None and gpu.nvlink.counters is not None:
                counters.setdefault(gpu.uuid, gpu.nvlink.counters)
    return {
        (*_gpu(gpu), name): float(sum(known))
        for uuid, gpu in with_links.items()
        if uuid in counters
        for name in NVLINK_ERRORS
        if (known := [count for count in getattr(counters[uuid], name) if count is not None])
    }


def _accelerator_errors(devices: Iterable[AcceleratorDevice]) -> Iterator[tuple[LabelValues, float]]:
    for device in devices:
        for severity in ("corrected", "uncorrected"):
            known = [count for block in device.ecc if (count := getattr(block, severity)) is not None]
            if known:
                yield (*_device(device), severity), float(sum(known))


def _links_active(gpu: GpuReading) -> float | None:
    if gpu.nvlink is None or not gpu.nvlink.states:
        return None
    return float(sum(state in LINK_ACTIVE for state in gpu.nvlink.states))


def _scaled(value: int | None, *, times: int = 1, per: int = 1) -> float | None:
    return None if value is None else value * times / per


def _gpu(gpu: GpuReading) -> LabelValues:
    return gpu.uuid or gpu.pci, str(gpu.index)


def _device(device: AcceleratorDevice) -> LabelValues:
    return device.vendor, device.name
