"""The node as its agent can see it, derived from the ground truth: an 8-GPU H100 host with 8 network adapters.

Pure: the same state gives the same hardware.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from agent.simulation.drill_fault import DrillFault, Effect, Target
from agent.simulation.faults import FAULTS
from agent.simulation.states import ActiveFault, MachineState, draw, draw_uuid

GPU_BUSES: Final = ("1b", "43", "52", "61", "9d", "c3", "d1", "df")
PORT_BUSES: Final = ("18", "40", "4f", "5e", "9a", "c0", "ce", "dc")
"""Source: our choice, in the manner of an HGX H100 host: each GPU beside its adapter behind one PCIe switch."""

SWITCH_BUSES: Final = ("05", "06", "07", "08")
"""Of the four NVSwitches. Source: our choice, in the manner of an HGX H100 host."""

GPU_MODEL: Final = "NVIDIA H100 80GB HBM3"
DRIVER_VERSION: Final = "550.127.05"
NVLINKS: Final = 18
"""Source: NVIDIA H100 datasheet; NVML shows as many."""

PORT_RATE_GBIT_PER_S: Final = 400.0
ACTIVE, LINK_UP = 4, 5
BOOT_CARRIER_CHANGES: Final = 2

MEMORY_BYTES: Final = 2 << 40
ROOT_BYTES: Final = 894 << 30
SCRATCH_BYTES: Final = 27 << 40
SHARED_MEMORY_BYTES: Final = 1 << 40
INODE_BYTES: Final = 16_384
USED_PERCENT: Final = 31.0

BY_NAME: Final = {fault.name: fault for fault in FAULTS}


@dataclass(frozen=True, slots=True)
class SimulatedGpu:
    """One GPU.

    Attributes:
        returns: what every NVML call about it returns, 0 for success.
        link_share, compute_share, memory_share: what a benchmark finds of its NVLinks, its speed and its memory.
        computes_wrong: its sums and products are not what they should be.
    """

    index: int
    uuid: str
    pci: str
    serial: str
    temperature_celsius: int
    remapped_rows: int = 0
    ecc_uncorrected: int = 0
    remap_pending: bool = False
    remap_failed: bool = False
    recovery_action: int = 0
    broken_links: tuple[int, ...] = ()
    returns: int = 0
    is_listed: bool = True
    link_share: float = 1.0
    compute_share: float = 1.0
    memory_share: float = 1.0
    computes_wrong: bool = False


@dataclass(frozen=True, slots=True)
class SimulatedPort:
    """One adapter with its one port.

    Attributes:
        is_flapping: it goes down and up between any two looks.
        share: what a benchmark finds of its rate.
    """

    number: int
    pci: str
    guid: str
    state: int = ACTIVE
    phys_state: int = LINK_UP
    rate_gbit_per_s: float = PORT_RATE_GBIT_PER_S
    link_downed: int = 0
    carrier_changes: int = BOOT_CARRIER_CHANGES
    is_flapping: bool = False
    is_listed: bool = True
    share: float = 1.0

    @property
    def name(self) -> str:
        """How findings call it."""
        return port_name(self.number)


@dataclass(frozen=True, slots=True)
class SimulatedHost:
    """The host around them.

    Attributes:
        driver_returns: what every NVML call returns, 0 for success.
        hangs: no NVML call ever returns.
        used_percent, is_read_only: of the root file system.
        hung_mount: the mount point of a file system that never answers, empty for none.
        failed_service: the unit that has failed, empty for none.
        multicast_share: what a benchmark finds of the NVSwitches' multicast, 0 where NCCL cannot use it.
        scratch_share: the same of reading the scratch file system.
        job_bytes: of each GPU's memory that a job holds, 0 while there is none.
    """

    driver_returns: int = 0
    hangs: bool = False
    used_percent: float = USED_PERCENT
    is_read_only: bool = False
    hung_mount: str = ""
    failed_service: str = ""
    multicast_share: float = 1.0
    scratch_share: float = 1.0
    job_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Hardware:
    """All of it."""

    gpus: tuple[SimulatedGpu, ...]
    ports: tuple[SimulatedPort, ...]
    host: SimulatedHost


T = TypeVar("T", SimulatedGpu, SimulatedPort, SimulatedHost)


def derive(state: MachineState) -> Hardware:
    """Return the hardware with everything that its faults do to it."""
    return Hardware(
        gpus=tuple(_broken(_gpu(state, index), str(index), state.faults) for index in range(len(GPU_BUSES))),
        ports=tuple(_broken(_port(state, index), port_name(index), state.faults) for index in range(len(PORT_BUSES))),
        host=_broken(SimulatedHost(), Target.HOST, state.faults),
    )


def port_name(number: int) -> str:
    """Return what the port of an adapter is called."""
    return f"mlx5_{number}/1"


def effect_of(fault: ActiveFault) -> Effect:
    """Return what the fault does now."""
    kind = BY_NAME[fault.name]
    return kind.effect_after_boot or kind.effect if fault.is_after_boot else kind.effect


def kind_of(fault: ActiveFault) -> DrillFault:
    """Return the fault's entry in the catalogue."""
    return BY_NAME[fault.name]


def _broken(part: T, name: str, faults: Iterable[ActiveFault]) -> T:
    """Return the part with what its faults do to it; where two say something, the later one counts."""
    for fault in faults:
        if fault.part == name:
            part = replace(part, **effect_of(fault).part)
    return part


def _gpu(state: MachineState, index: int) -> SimulatedGpu:
    return SimulatedGpu(
        index=index,
        uuid=f"GPU-{draw_uuid(state.name, 'gpu', index)}",
        pci=f"0000:{GPU_BUSES[index]}:00",
        serial=f"1653{int(draw(state.name, 'serial', index) * 10**9):09d}",
        temperature_celsius=34 + int(draw(state.name, "temperature", index) * 8),
        remapped_rows=state.remapped_rows.get(str(index), 0),
    )


def _port(state: MachineState, index: int) -> SimulatedPort:
    flaps = state.flaps.get(port_name(index), 0)
    tail = f"{int(draw(state.name, 'guid', index) * 2**48):012x}"
    return SimulatedPort(
        number=index,
        pci=f"0000:{PORT_BUSES[index]}:00",
        guid=f"a088:{tail[:4]}:{tail[4:8]}:{tail[8:]}",
        link_downed=flaps,
        carrier_changes=BOOT_CARRIER_CHANGES + 2 * flaps,
    )
