"""NVIDIA GPUs as NVML, the driver's management library, tells them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class GpuReading:
    """One GPU as NVML tells it. Counters are totals; rates are the checks' work.

    Attributes:
        pci: `dddd:bb:dd`, lower case, no function.
        lost: NVML answered GPU_IS_LOST for this GPU.
        reset_required: NVML answered RESET_REQUIRED.
        errors: field name → NVML error text for what could not be read (NOT_SUPPORTED is left out: it is `None` only).
        recovery_action: NVML field 230: 0 none, 1 reset, 2 reboot, 3 drain P2P, 4 drain and reset, 5 recover IMEX,
            6 bus reset, 7 system reboot.
        nvlink_states: link index → active.
    """

    index: int
    uuid: str
    pci: str
    serial: str = ""
    name: str = ""
    lost: bool = False
    reset_required: bool = False
    temperature_celsius: int | None = None
    ecc_uncorrected_volatile: int | None = None
    ecc_corrected_volatile: int | None = None
    remapped_correctable: int | None = None
    remapped_uncorrectable: int | None = None
    remap_pending: bool | None = None
    remap_failed: bool | None = None
    recovery_action: int | None = None
    nvlink_states: dict[int, bool] = field(default_factory=dict)
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
        known_gpus: UUID → PCI of every GPU ever seen on this boot or recorded in the inventory.
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
