"""The explicit list of all checks: a new check is one new file and one line here."""

from __future__ import annotations

from checks.amd import bad_pages, ras, xgmi
from checks.amd import count as amd_count
from checks.amd import kernel as amd_kernel
from checks.amd import pcie as amd_pcie
from checks.amd import temperature as amd_temperature
from checks.amd import throttle as amd_throttle
from checks.check import Check
from checks.fabric import (
    cable,
    fabric_state,
    gpudirect,
    nvlink,
    nvlink_errors,
    rdma_ber,
    rdma_devices,
    rdma_congestion,
    rdma_errors,
    rdma_firmware,
    rdma_flap,
    rdma_gid,
    rdma_pcie,
    rdma_kernel,
    rdma_port,
    sxid,
)
from checks.gpu import (
    clocks,
    count,
    ecc_corrected,
    ecc_mode,
    ecc_uncorrected,
    gsp,
    inforom,
    mig,
    nvml,
    persistence,
    power,
    recovery_action,
    repair,
    retired_pages,
    row_remap,
    temperature,
    throttle,
    vbios,
    xid,
)
from checks.gpu import (
    pcie as gpu_pcie,
)
from checks.gpu import (
    processes as gpu_processes,
)
from checks.host import (
    agent,
    bmc,
    cpu,
    dstate,
    edac,
    hugepages,
    kernel,
    kernel_log,
    memory,
    pcie,
    pressure,
    processes,
    reboot,
    services,
    taint,
    time,
)
from checks.npu import count as npu_count
from checks.npu import ecc as npu_ecc
from checks.npu import faults as npu_faults
from checks.npu import health as npu_health
from checks.npu import link as npu_link
from checks.npu import network as npu_network
from checks.npu import temperature as npu_temperature
from checks.storage import (
    gpfs,
    hang,
    io_stall,
    lustre,
    mounts,
    nfs,
    nvme,
    raid,
    read_only,
    smart,
    space,
)
from checks.storage import kernel as storage_kernel

CHECKS: tuple[Check, ...] = (
    xid.CHECK,
    nvml.CHECK,
    count.CHECK,
    recovery_action.CHECK,
    row_remap.CHECK,
    retired_pages.CHECK,
    repair.CHECK,
    ecc_uncorrected.CHECK,
    ecc_corrected.CHECK,
    temperature.CHECK,
    throttle.CHECK,
    power.CHECK,
    gpu_pcie.CHECK,
    clocks.CHECK,
    persistence.CHECK,
    ecc_mode.CHECK,
    mig.CHECK,
    vbios.CHECK,
    inforom.CHECK,
    gsp.CHECK,
    gpu_processes.CHECK,
    sxid.CHECK,
    nvlink.CHECK,
    nvlink_errors.CHECK,
    fabric_state.CHECK,
    rdma_port.CHECK,
    rdma_flap.CHECK,
    rdma_errors.CHECK,
    rdma_ber.CHECK,
    rdma_devices.CHECK,
    rdma_gid.CHECK,
    rdma_firmware.CHECK,
    rdma_pcie.CHECK,
    gpudirect.CHECK,
    rdma_congestion.CHECK,
    cable.CHECK,
    rdma_kernel.CHECK,
    npu_health.CHECK,
    npu_faults.CHECK,
    npu_count.CHECK,
    npu_ecc.CHECK,
    npu_link.CHECK,
    npu_network.CHECK,
    npu_temperature.CHECK,
    amd_kernel.CHECK,
    amd_count.CHECK,
    ras.CHECK,
    bad_pages.CHECK,
    xgmi.CHECK,
    amd_throttle.CHECK,
    amd_temperature.CHECK,
    amd_pcie.CHECK,
    kernel.CHECK,
    kernel_log.CHECK,
    agent.CHECK,
    reboot.CHECK,
    memory.CHECK,
    hugepages.CHECK,
    pressure.CHECK,
    processes.CHECK,
    dstate.CHECK,
    taint.CHECK,
    edac.CHECK,
    pcie.CHECK,
    cpu.CHECK,
    time.CHECK,
    services.CHECK,
    bmc.CHECK,
    hang.CHECK,
    mounts.CHECK,
    nfs.CHECK,
    lustre.CHECK,
    gpfs.CHECK,
    space.CHECK,
    read_only.CHECK,
    nvme.CHECK,
    smart.CHECK,
    raid.CHECK,
    io_stall.CHECK,
    storage_kernel.CHECK,
)
"""Every check, in the order in which documentation shows them."""
