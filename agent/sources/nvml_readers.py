"""What NVML is asked of one GPU, how, and how often; for the process that asks (agent/sources/nvml_child.py).

What moves is asked each time. What hardly changes, or is slow to tell, is asked once a minute or once in five, and kept
between. A reader that the GPU or its driver does not have is not asked again for five minutes.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import pynvml

from agent.sources.nvml_fields import ABSENT, NO_SUCH_FIELD, fields
from agent.sources.nvml_links import LinkReader, read_fabric

MINUTE_S: Final = 60.0
RARELY_S: Final = 300.0
"""Source: our choice; none of it is worth acting upon sooner, and many of these calls ask the hardware."""

WEEK_S: Final = 7 * 86400
PROCESS_NONE: Final = 2**64 - 1
"""NVML_VALUE_NOT_AVAILABLE of nvmlProcessInfo_t.usedGpuMemory. Source: nvml.h."""

PCIE_ERRORS: Final = {
    "replays": pynvml.NVML_FI_DEV_PCIE_REPLAY_COUNTER,
    "replay_rollovers": pynvml.NVML_FI_DEV_PCIE_REPLAY_ROLLOVER_COUNTER,
    "retrains": pynvml.NVML_FI_DEV_PCIE_L0_TO_RECOVERY_COUNTER,
    "correctable": pynvml.NVML_FI_DEV_PCIE_COUNT_CORRECTABLE_ERRORS,
    "naks_received": pynvml.NVML_FI_DEV_PCIE_COUNT_NAKS_RECEIVED,
    "receiver_errors": pynvml.NVML_FI_DEV_PCIE_COUNT_RECEIVER_ERROR,
    "bad_tlps": pynvml.NVML_FI_DEV_PCIE_COUNT_BAD_TLP,
    "naks_sent": pynvml.NVML_FI_DEV_PCIE_COUNT_NAKS_SENT,
    "bad_dllps": pynvml.NVML_FI_DEV_PCIE_COUNT_BAD_DLLP,
    "non_fatal": pynvml.NVML_FI_DEV_PCIE_COUNT_NON_FATAL_ERROR,
    "fatal": pynvml.NVML_FI_DEV_PCIE_COUNT_FATAL_ERROR,
    "unsupported_requests": pynvml.NVML_FI_DEV_PCIE_COUNT_UNSUPPORTED_REQ,
    "lcrc_errors": pynvml.NVML_FI_DEV_PCIE_COUNT_LCRC_ERROR,
    "lane_errors": pynvml.NVML_FI_DEV_PCIE_COUNT_LANE_ERROR,
}
"""Counter → its field. Source: nvml.h, fields 94, 95, 169 and 173 to 183."""

MOMENTARY_FIELDS: Final = {
    "recovery_action": pynvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION,
    "memory_temperature_celsius": pynvml.NVML_FI_DEV_MEMORY_TEMP,
    "power_cap_ns": pynvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_POWER_CAP,
    "thermal_ns": pynvml.NVML_FI_DEV_PERF_POLICY_THERMAL,
    "board_limit_ns": pynvml.NVML_FI_DEV_PERF_POLICY_BOARD_LIMIT,
    "reliability_ns": pynvml.NVML_FI_DEV_PERF_POLICY_RELIABILITY,
    "sw_thermal_ns": pynvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN,
    "hw_thermal_ns": pynvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN,
    "power_brake_ns": pynvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN,
}

LIMIT_FIELDS: Final = {
    "slowdown_margin_celsius": pynvml.NVML_FI_DEV_TEMPERATURE_SLOWDOWN_TLIMIT,
    "max_margin_celsius": pynvml.NVML_FI_DEV_TEMPERATURE_GPU_MAX_TLIMIT,
}

LINKS: Final = LinkReader()

Values = tuple[Any, ...]


class Reader(NamedTuple):
    """How some fields of a GPU are asked.

    Attributes:
        names: of the fields: of GpuReading when they are asked each time, of GpuDetails otherwise.
        read: returns a value for each.
        every_s: seconds between two askings, 0 for each time.
    """

    names: tuple[str, ...]
    read: Callable[[Any], Values]
    every_s: float = 0.0


def _one(name: str, call: Callable[..., Any], *arguments: Any, every_s: float = 0.0) -> Reader:
    return Reader((name,), lambda handle: (call(handle, *arguments),), every_s)


def _flag(name: str, call: Callable[[Any], Any], *, every_s: float) -> Reader:
    return Reader((name,), lambda handle: (bool(call(handle)),), every_s)


def _batch(wanted: dict[str, int], *, every_s: float = 0.0) -> Reader:
    scoped = [(number, 0) for number in wanted.values()]
    return Reader(tuple(wanted), lambda handle: tuple(fields(handle, scoped)), every_s)


def _pci(handle: Any) -> Values:
    info = pynvml.nvmlDeviceGetPciInfo(handle)
    return (f"{info.domain:04x}:{info.bus:02x}:{info.device:02x}",)


def _temperature(handle: Any) -> Values:
    try:
        return (pynvml.nvmlDeviceGetTemperatureV(handle, pynvml.NVML_TEMPERATURE_GPU),)
    except pynvml.NVMLError as error:
        if error.value not in ABSENT:
            raise
    return (pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU),)


def _reasons(handle: Any) -> Values:
    try:
        return (pynvml.nvmlDeviceGetCurrentClocksEventReasons(handle),)
    except pynvml.NVMLError as error:
        if error.value != pynvml.NVML_ERROR_FUNCTION_NOT_FOUND:
            raise
    return (pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle),)


def _remapped_rows(handle: Any) -> Values:
    correctable, uncorrectable, pending, failed = pynvml.nvmlDeviceGetRemappedRows(handle)
    return correctable, uncorrectable, bool(pending), bool(failed)


def _sram(handle: Any) -> Values:
    """Return what only root is told; NVML answers others that they may not, and then there is nothing to judge."""
    status = pynvml.c_nvmlEccSramErrorStatus_v1_t()
    try:
        pynvml.nvmlDeviceGetSramEccErrorStatus(handle, ctypes.byref(status))
    except pynvml.NVMLError as error:
        if error.value == pynvml.NVML_ERROR_NO_PERMISSION:
            return (None,) * 4
        raise
    return (
        status.volatileCor,
        status.volatileUncParity + status.volatileUncSecDed,
        status.aggregateUncParity + status.aggregateUncSecDed,
        bool(status.bThresholdExceeded),
    )


def _remap_banks(handle: Any) -> Values:
    banks = pynvml.nvmlDeviceGetRowRemapperHistogram(handle)
    return ({name: getattr(banks, name) for name in ("max", "high", "partial", "low", "none")},)


def _pcie_errors(handle: Any) -> Values:
    values = fields(handle, [(number, 0) for number in PCIE_ERRORS.values()])
    return ({name: value for name, value in zip(PCIE_ERRORS, values, strict=True) if value is not None},)


def _processes(handle: Any) -> Values:
    running = pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
    return ([{"pid": process.pid, "memory_bytes": _memory(process.usedGpuMemory)} for process in running],)


def _memory(used: int | None) -> int | None:
    return None if used == PROCESS_NONE else used


def _repairs(handle: Any) -> Values:
    channel, tpc = pynvml.nvmlDeviceGetRepairStatus(handle)
    return bool(channel), bool(tpc)


def _inforom_is_corrupt(handle: Any) -> Values:
    try:
        pynvml.nvmlDeviceValidateInforom(handle)
    except pynvml.NVMLError as error:
        if error.value != pynvml.NVML_ERROR_CORRUPTED_INFOROM:
            raise
        return (True,)
    return (False,)


def _thresholds(handle: Any) -> Values:
    """Return the limits in degrees, as GPUs before Ada tell them; `None` for those that a GPU does not tell."""
    wanted = (
        pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN,
        pynvml.NVML_TEMPERATURE_THRESHOLD_GPU_MAX,
        pynvml.NVML_TEMPERATURE_THRESHOLD_MEM_MAX,
    )
    return tuple(_supported(pynvml.nvmlDeviceGetTemperatureThreshold, handle, each) for each in wanted)


def _supported(call: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except pynvml.NVMLError as error:
        if error.value in NO_SUCH_FIELD:
            return None
        raise


def _retired_pages(handle: Any) -> Values:
    """Return pages retired for single-bit errors, for double-bit errors, and of the latter those of the last week."""
    causes = (
        pynvml.NVML_PAGE_RETIREMENT_CAUSE_MULTIPLE_SINGLE_BIT_ECC_ERRORS,
        pynvml.NVML_PAGE_RETIREMENT_CAUSE_DOUBLE_BIT_ECC_ERROR,
    )
    single, double = (pynvml.nvmlDeviceGetRetiredPages_v2(handle, cause) for cause in causes)
    week_ago = time.time() - WEEK_S
    return len(single), len(double), sum(page["timestamp"] > week_ago for page in double)


def _gsp_version(handle: Any) -> Values:
    version = pynvml.nvmlDeviceGetGspFirmwareVersion(handle)
    return (version.decode("utf-8", "replace") if isinstance(version, bytes) else version,)


def _gsp_mode(handle: Any) -> Values:
    enabled, default = pynvml.nvmlDeviceGetGspFirmwareMode(handle)
    return bool(enabled), bool(default)


def _ecc(name: str, kind: int) -> Reader:
    return _one(name, pynvml.nvmlDeviceGetTotalEccErrors, kind, pynvml.NVML_VOLATILE_ECC)


def _dram(name: str, kind: int) -> Reader:
    volatile_dram = (pynvml.NVML_VOLATILE_ECC, pynvml.NVML_MEMORY_LOCATION_DRAM)
    return _one(name, pynvml.nvmlDeviceGetMemoryErrorCounter, kind, *volatile_dram)


IDENTITY: Final = (
    Reader(("pci",), _pci),
    _one("uuid", pynvml.nvmlDeviceGetUUID),
    _one("serial", pynvml.nvmlDeviceGetSerial),
    _one("name", pynvml.nvmlDeviceGetName),
)
"""Asked first, so that a GPU that is lost midway has a name."""

MOMENTARY: Final = (
    Reader(("temperature_celsius",), _temperature),
    _one("temperature_margin_celsius", pynvml.nvmlDeviceGetMarginTemperature),
    _ecc("ecc_corrected_volatile", pynvml.NVML_MEMORY_ERROR_TYPE_CORRECTED),
    _ecc("ecc_uncorrected_volatile", pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED),
    _dram("dram_corrected_volatile", pynvml.NVML_MEMORY_ERROR_TYPE_CORRECTED),
    _dram("dram_uncorrected_volatile", pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED),
    Reader(
        (
            "sram_corrected_volatile",
            "sram_uncorrected_volatile",
            "sram_uncorrected_aggregate",
            "sram_threshold_exceeded",
        ),
        _sram,
    ),
    Reader(("remapped_correctable", "remapped_uncorrectable", "remap_pending", "remap_failed"), _remapped_rows),
    _batch(MOMENTARY_FIELDS),
    Reader(("nvlink",), lambda handle: (LINKS.read(handle),)),
    Reader(("fabric",), lambda handle: (read_fabric(handle),)),
    Reader(("clock_event_reasons",), _reasons),
    _one("performance_state", pynvml.nvmlDeviceGetPerformanceState),
    Reader(("utilization_percent",), lambda handle: (pynvml.nvmlDeviceGetUtilizationRates(handle).gpu,)),
    _one("sm_clock_mhz", pynvml.nvmlDeviceGetClockInfo, pynvml.NVML_CLOCK_SM),
    _one("memory_clock_mhz", pynvml.nvmlDeviceGetClockInfo, pynvml.NVML_CLOCK_MEM),
    _one("power_milliwatts", pynvml.nvmlDeviceGetPowerUsage),
    _one("pcie_generation", pynvml.nvmlDeviceGetCurrPcieLinkGeneration),
    _one("pcie_width", pynvml.nvmlDeviceGetCurrPcieLinkWidth),
)

BY_THE_MINUTE: Final = (
    Reader(("remap_banks",), _remap_banks, MINUTE_S),
    Reader(("pcie_errors",), _pcie_errors, MINUTE_S),
    Reader(("processes",), _processes, MINUTE_S),
    _flag("persistence", pynvml.nvmlDeviceGetPersistenceMode, every_s=MINUTE_S),
    Reader(("ecc_mode", "ecc_mode_pending"), lambda handle: tuple(pynvml.nvmlDeviceGetEccMode(handle)), MINUTE_S),
    Reader(("mig_mode", "mig_mode_pending"), lambda handle: tuple(pynvml.nvmlDeviceGetMigMode(handle)), MINUTE_S),
    Reader(("channel_repair_pending", "tpc_repair_pending"), _repairs, MINUTE_S),
    _flag("unrepairable_memory", pynvml.nvmlDeviceGetUnrepairableMemoryFlag_v1, every_s=MINUTE_S),
    _one("power_limit_milliwatts", pynvml.nvmlDeviceGetEnforcedPowerLimit, every_s=MINUTE_S),
    _one("application_sm_clock_mhz", pynvml.nvmlDeviceGetApplicationsClock, pynvml.NVML_CLOCK_SM, every_s=MINUTE_S),
    _one(
        "application_memory_clock_mhz", pynvml.nvmlDeviceGetApplicationsClock, pynvml.NVML_CLOCK_MEM, every_s=MINUTE_S
    ),
)

RARELY: Final = (
    _one("vbios_version", pynvml.nvmlDeviceGetVbiosVersion, every_s=RARELY_S),
    _one("inforom_version", pynvml.nvmlDeviceGetInforomImageVersion, every_s=RARELY_S),
    Reader(("inforom_corrupt",), _inforom_is_corrupt, RARELY_S),
    Reader(("gsp_version",), _gsp_version, RARELY_S),
    Reader(("gsp_enabled", "gsp_default"), _gsp_mode, RARELY_S),
    Reader(
        ("slowdown_temperature_celsius", "max_temperature_celsius", "max_memory_temperature_celsius"),
        _thresholds,
        RARELY_S,
    ),
    _batch(LIMIT_FIELDS, every_s=RARELY_S),
    _one("default_power_limit_milliwatts", pynvml.nvmlDeviceGetPowerManagementDefaultLimit, every_s=RARELY_S),
    _one("max_pcie_generation", pynvml.nvmlDeviceGetMaxPcieLinkGeneration, every_s=RARELY_S),
    _one("max_pcie_width", pynvml.nvmlDeviceGetMaxPcieLinkWidth, every_s=RARELY_S),
    _one("max_sm_clock_mhz", pynvml.nvmlDeviceGetMaxClockInfo, pynvml.NVML_CLOCK_SM, every_s=RARELY_S),
    _one("max_memory_clock_mhz", pynvml.nvmlDeviceGetMaxClockInfo, pynvml.NVML_CLOCK_MEM, every_s=RARELY_S),
    Reader(("retired_single_bit", "retired_double_bit", "retired_double_bit_last_week"), _retired_pages, RARELY_S),
    _flag("retirement_pending", pynvml.nvmlDeviceGetRetiredPagesPendingStatus, every_s=RARELY_S),
)

READERS: Final = (*IDENTITY, *MOMENTARY, *BY_THE_MINUTE, *RARELY)
