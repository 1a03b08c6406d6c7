"""NVLinks of a GPU and its place in the NVLink fabric, as NVML tells them.

Most hosts have more than a hundred links with some thirty counters each, and an hour of readings is remembered. So what
is known of links is held by counter and not by link: in each tuple, the place is the number of the link. A tuple is
empty where the GPU, its driver or its generation of NVLink does not have the counter, and holds `None` for a link that
does not tell it.
"""

from __future__ import annotations

from dataclasses import dataclass

PerLink = tuple[int | None, ...]
"""One value for each link of a GPU."""


@dataclass(frozen=True, slots=True)
class NvlinkCounters:
    """Error counters of all links of one GPU, as totals since the driver was loaded or the GPU was reset.

    Attributes:
        replays, recoveries, crc_errors: up to NVLink 4: fields 161 to 163, or what nvmlDeviceGetNvLinkErrorCounter
            tells; CRC errors of flits and of data together.
        malformed_packets, buffer_overruns, receive_errors, remote_errors, general_errors, integrity_errors,
            transmit_discards: NVLink 5: fields 206 to 212.
        recoveries_succeeded, recoveries_failed, recovery_events: NVLink 5: fields 213 to 215.
        effective_errors, effective_ber, symbol_errors, symbol_ber: NVLink 5: fields 219 to 222; the rates as NVML
            encodes them (checks/nvlink.py).
        fec_history: NVLink 5: fields 235 to 250: in place N how many blocks needed N symbols corrected.
        plr_blocks, plr_retries: NVLink 5: fields 294 and 295: blocks sent by the physical layer, and sent again.
    """

    replays: PerLink = ()
    recoveries: PerLink = ()
    crc_errors: PerLink = ()
    malformed_packets: PerLink = ()
    buffer_overruns: PerLink = ()
    receive_errors: PerLink = ()
    remote_errors: PerLink = ()
    general_errors: PerLink = ()
    integrity_errors: PerLink = ()
    transmit_discards: PerLink = ()
    recoveries_succeeded: PerLink = ()
    recoveries_failed: PerLink = ()
    recovery_events: PerLink = ()
    effective_errors: PerLink = ()
    effective_ber: PerLink = ()
    symbol_errors: PerLink = ()
    symbol_ber: PerLink = ()
    fec_history: tuple[PerLink, ...] = ()
    plr_blocks: PerLink = ()
    plr_retries: PerLink = ()


@dataclass(frozen=True, slots=True)
class NvlinkReading:
    """All NVLinks of one GPU.

    Attributes:
        mig: whether MIG is on, which takes the links away for good reason.
        states: 0 inactive, 1 active, 2 sleep, 3 active but traffic disabled; empty without NVLink.
        counters: `None` in a reading for which they were not asked; they are asked more rarely than the states.
        counters_unreadable: why they could not be read though they were asked.
    """

    mig: bool = False
    states: PerLink = ()
    counters: NvlinkCounters | None = None
    counters_unreadable: str = ""


@dataclass(frozen=True, slots=True)
class FabricReading:
    """What nvmlDeviceGetGpuFabricInfoV says of one GPU.

    Attributes:
        state: 0 not supported, 1 not started, 2 in progress, 3 completed.
        status: NVML's return code of the registration, which counts once the state is completed.
        cluster_uuid: 32 hexadecimal digits; all zero on a GPU that shares no memory with other hosts.
        health_mask: groups of bits, as nvml.h names them (checks/fabric/fabric_state.py).
        health_summary: 0 not supported, 1 healthy, 2 unhealthy, 3 limited capacity; `None` where the driver only
            knows the second version of the structure.
    """

    state: int
    status: int = 0
    cluster_uuid: str = ""
    clique_id: int = 0
    health_mask: int = 0
    health_summary: int | None = None
