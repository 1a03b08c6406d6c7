"""NVIDIA GPUs as NVML, the driver's management library, tells them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final

from checks.readings.nvlink import FabricReading, NvlinkReading


@dataclass(frozen=True, slots=True)
class RemapBanks:
    """How many banks of memory have how many spare rows left: all of them, many, some, few, none."""

    max: int = 0
    high: int = 0
    partial: int = 0
    low: int = 0
    none: int = 0


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process that computes on a GPU, by its number on the host.

    Attributes:
        memory_bytes: GPU memory that it holds.
        state: letter of its state in /proc, empty when there is no such process, `None` when that cannot be told.
        parent_pid: 1 for a process that nobody waits for but init.
        unit: the service of systemd that it belongs to, empty for any other.
        is_benchmark: whether it belongs to a benchmark that the agent itself runs, which is no job.
    """

    pid: int
    memory_bytes: int | None = None
    state: str | None = None
    name: str = ""
    parent_pid: int | None = None
    unit: str = ""
    is_benchmark: bool = False


@dataclass(frozen=True, slots=True)
class GpuDetails:
    """What is asked of a GPU once in one or five minutes, and kept in between.

    Attributes:
        counted_at_s: when the counters in here were read; 0.0 before that.
        pcie_errors: counter → total: `replays`, `replay_rollovers`, `retrains`, `correctable`, `naks_received`,
            `receiver_errors`, `bad_tlps`, `naks_sent`, `bad_dllps`, `non_fatal`, `fatal`, `unsupported_requests`,
            `lcrc_errors`, `lane_errors`; those that the GPU has.
        ecc_mode, mig_mode: 1 for on; `..._pending` after the next reset.
        application_...: clocks that the GPU is set to under load.
        slowdown_temperature_celsius, max_temperature_celsius, max_memory_temperature_celsius: limits before Ada.
        slowdown_margin_celsius, max_margin_celsius: the same limits of later GPUs, on the scale of
            `temperature_margin_celsius`.
        gsp_default: whether this GPU runs its system processor's firmware unless told otherwise.
        retired_...: pages of memory taken out of use, of GPUs before Ampere.
    """

    counted_at_s: float = 0.0
    remap_banks: RemapBanks | None = None
    pcie_errors: dict[str, int] = field(default_factory=dict)
    processes: tuple[GpuProcess, ...] | None = None
    persistence: bool | None = None
    ecc_mode: int | None = None
    ecc_mode_pending: int | None = None
    mig_mode: int | None = None
    mig_mode_pending: int | None = None
    channel_repair_pending: bool | None = None
    tpc_repair_pending: bool | None = None
    unrepairable_memory: bool | None = None
    power_limit_milliwatts: int | None = None
    default_power_limit_milliwatts: int | None = None
    application_sm_clock_mhz: int | None = None
    application_memory_clock_mhz: int | None = None
    max_sm_clock_mhz: int | None = None
    max_memory_clock_mhz: int | None = None
    max_pcie_generation: int | None = None
    max_pcie_width: int | None = None
    slowdown_temperature_celsius: int | None = None
    max_temperature_celsius: int | None = None
    max_memory_temperature_celsius: int | None = None
    slowdown_margin_celsius: int | None = None
    max_margin_celsius: int | None = None
    vbios_version: str | None = None
    inforom_version: str | None = None
    inforom_corrupt: bool | None = None
    gsp_version: str | None = None
    gsp_enabled: bool | None = None
    gsp_default: bool | None = None
    retired_single_bit: int | None = None
    retired_double_bit: int | None = None
    retired_double_bit_last_week: int | None = None
    retirement_pending: bool | None = None


NO_DETAILS: Final = GpuDetails()


@dataclass(frozen=True, slots=True)
class GpuReading:
    """One GPU as NVML tells it. Counters are totals; rates are the checks' work.

    Attributes:
        pci: `dddd:bb:dd`, lower case, no function.
        lost: NVML answered GPU_IS_LOST for this GPU.
        reset_required: NVML answered RESET_REQUIRED.
        power_cable_missing: NVML answered INSUFFICIENT_POWER.
        errors: field name (of this class or of GpuDetails) → NVML error text for what could not be read
            (NOT_SUPPORTED is left out: it is `None` only).
        temperature_margin_celsius: how far the GPU is from slowing itself down; negative when it is beyond that.
        dram_..., sram_...: since the last reset of the GPU, except `sram_uncorrected_aggregate`: of its whole life.
            What is known of the SRAM is told to root only.
        recovery_action: NVML field 230: 0 none, 1 reset, 2 reboot, 3 drain P2P, 4 drain and reset, 5 recover IMEX,
            6 bus reset, 7 system reboot.
        nvlink: `None` without NVLink.
        fabric: `None` where driver or GPU know of no NVLink fabric.
        clock_event_reasons: NVML's bits of what keeps the clocks down now.
        ..._ns: time for which this kept the clocks down since the driver was loaded.
        performance_state: 0 for the fastest to 15.
    """

    index: int
    uuid: str
    pci: str
    serial: str = ""
    name: str = ""
    lost: bool = False
    reset_required: bool = False
    power_cable_missing: bool = False
    temperature_celsius: int | None = None
    temperature_margin_celsius: int | None = None
    memory_temperature_celsius: int | None = None
    ecc_uncorrected_volatile: int | None = None
    ecc_corrected_volatile: int | None = None
    dram_corrected_volatile: int | None = None
    dram_uncorrected_volatile: int | None = None
    sram_corrected_volatile: int | None = None
    sram_uncorrected_volatile: int | None = None
    sram_uncorrected_aggregate: int | None = None
    sram_threshold_exceeded: bool | None = None
    remapped_correctable: int | None = None
    remapped_uncorrectable: int | None = None
    remap_pending: bool | None = None
    remap_failed: bool | None = None
    recovery_action: int | None = None
    nvlink: NvlinkReading | None = None
    fabric: FabricReading | None = None
    clock_event_reasons: int | None = None
    power_cap_ns: int | None = None
    thermal_ns: int | None = None
    board_limit_ns: int | None = None
    reliability_ns: int | None = None
    sw_thermal_ns: int | None = None
    hw_thermal_ns: int | None = None
    power_brake_ns: int | None = None
    performance_state: int | None = None
    utilization_percent: int | None = None
    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    power_milliwatts: int | None = None
    pcie_generation: int | None = None
    pcie_width: int | None = None
    details: GpuDetails = NO_DETAILS
    errors: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NvmlReading:
    """All GPUs of the host, or why NVML could not be asked.

    Attributes:
        expected: whether this host has NVIDIA hardware or a recorded inventory that says so.
        failure: empty when NVML answered; else one of `library_not_found`, `driver_not_loaded`, `version_mismatch`,
            `timeout`, `stuck`, `error`. `timeout`: the child missed its deadline and was killed. `stuck`: the child
            could not be killed (D state).
        detail: the error's text.
        missed_deadlines: consecutive deadlines missed up to and including this reading.
        known_gpus: UUID → PCI of every GPU that has to answer: those that were approved, else all that ever did here.
        approved_gpus: PCI → UUID of the GPUs that a person approved for this host, empty when nobody did.
    """

    SOURCE: ClassVar[str] = "nvml"
    PARTS: ClassVar[str] = "gpus"

    at_s: float
    gpus: tuple[GpuReading, ...] = ()
    driver_version: str = ""
    expected: bool = True
    failure: str = ""
    detail: str = ""
    missed_deadlines: int = 0
    known_gpus: dict[str, str] = field(default_factory=dict)
    approved_gpus: dict[str, str] = field(default_factory=dict)
