"""What checks judge: plain facts taken from a host by the agent's sources, with no judgement in them.

`None` always means "not readable or not supported here", never zero. Every reading carries `at_s`, seconds on the
host's monotonic clock, so that checks judge rates without knowing any clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class KernelRecord:
    """One record of the kernel log.

    Attributes:
        at_s: seconds since boot, as the kernel stamped it; 0.0 when the line carried no such stamp.
        facility: syslog facility; 0 is the kernel itself, 1 is what any process can write to /dev/kmsg.
            `None` when the line's form does not tell.
        severity: syslog severity 0 (emergency) to 7 (debug), `None` when the line's form does not tell.
        sequence: the kernel's own record number, `None` outside /dev/kmsg.
        text: the message alone, without time stamp or prefix.
    """

    at_s: float
    text: str
    facility: int | None = None
    severity: int | None = None
    sequence: int | None = None


@dataclass(frozen=True, slots=True)
class KernelLogState:
    """How well the kernel log is being read.

    Attributes:
        lost_records: records overwritten before they were read (EPIPE), since the agent started.
        lost_recently: of those, how many in the last interval.
        readable: whether the log could be opened at all.
        because: why not, when it is not readable.
    """

    at_s: float
    readable: bool
    because: str = ""
    lost_records: int = 0
    lost_recently: int = 0


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

    at_s: float
    gpus: tuple[GpuReading, ...] = ()
    driver_version: str = ""
    expected: bool = True
    failure: str = ""
    detail: str = ""
    missed_deadlines: int = 0
    known_gpus: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RdmaPort:
    """One port under /sys/class/infiniband, as its files say.

    Attributes:
        name: `<device>/<port>`, e.g. `mlx5_0/1`.
        state: number of the file `state` (4 = ACTIVE), `None` when unreadable.
        phys_state: number of the file `phys_state` (5 = LinkUp).
        rate_gbit_per_s: speed in Gb/s as the driver states it.
        link_downed: the 8-bit saturating IB counter `link_downed`.
        carrier_changes: of the netdev behind the port, where there is one.
    """

    name: str
    link_layer: str = ""
    state: int | None = None
    phys_state: int | None = None
    rate_gbit_per_s: float | None = None
    link_downed: int | None = None
    carrier_changes: int | None = None
    node_guid: str = ""
    pci: str = ""
    firmware: str = ""


@dataclass(frozen=True, slots=True)
class RdmaReading:
    """All RDMA ports of the host at one moment.

    Attributes:
        known_ports: name → highest rate in Gb/s ever seen on this host while ACTIVE (from the agent's recorded
            inventory), so that a port that vanished or came up slow is seen.
    """

    at_s: float
    ports: tuple[RdmaPort, ...] = ()
    known_ports: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FilesystemReading:
    """Space on one mounted file system. `unreadable` holds why it could not be asked (e.g. `timeout`)."""

    mount: str
    device: str = ""
    kind: str = ""
    read_only: bool = False
    total_bytes: int | None = None
    free_bytes: int | None = None
    total_inodes: int | None = None
    free_inodes: int | None = None
    unreadable: str = ""


@dataclass(frozen=True, slots=True)
class HostReading:
    """The host itself: memory, load, processes, file systems."""

    at_s: float
    memory_total_bytes: int | None = None
    memory_available_bytes: int | None = None
    load_1min: float | None = None
    cpu_count: int | None = None
    uptime_s: float | None = None
    zombies: int | None = None
    uninterruptible: tuple[str, ...] = ()
    filesystems: tuple[FilesystemReading, ...] = ()


Reading = KernelRecord | KernelLogState | NvmlReading | RdmaReading | HostReading
