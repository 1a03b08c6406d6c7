"""When a latched fault is over: never by silence alone where a repair is needed, never without a look at the GPU."""

from __future__ import annotations

from dataclasses import replace

import pytest

from checks.amd import kernel as amd_kernel
from checks.check import LatchedCheck, Recovery
from checks.fabric import rdma_kernel, sxid
from checks.finding import Finding
from checks.gpu import xid
from checks.host import kernel
from checks.judge import LatchedJudge
from checks.readings import GpuReading, KernelRecord
from checks.storage import kernel as storage_kernel

GPU = GpuReading(index=0, uuid="GPU-0", pci="0000:91:00", recovery_action=0)
NOTHING = Recovery(rebooted=False, device_reset=False, quiet_s=0.0, gpu=None)
QUIET = replace(NOTHING, quiet_s=600.0)
RESET = replace(NOTHING, device_reset=True)
REBOOTED = replace(NOTHING, rebooted=True)


def seen(recovery: Recovery, gpu: GpuReading = GPU) -> Recovery:
    return replace(recovery, gpu=gpu)


def xid_finding(code: int, text: str = "text") -> Finding:
    (found,) = LatchedJudge((xid.CHECK,)).feed(KernelRecord(1.0, f"NVRM: Xid (PCI:0000:91:00): {code}, {text}"))
    return found


def found_by(check: LatchedCheck, text: str) -> Finding:
    (found,) = LatchedJudge((check,)).feed(KernelRecord(1.0, text))
    return found


FALLEN = xid_finding(79)
UNCONTAINED = xid_finding(95)
CONTAINED = xid_finding(94)
REMAPPED = xid_finding(63)
SUPPORT = xid_finding(167)
IMEX = xid_finding(154, "GPU recovery action changed from 0x0 (None) to 0x5 (Recover IMEX Domain)")
SWITCH = "nvidia-nvswitch1: SXid (PCI:0000:06:00.0): {}, Fatal, Link 48"
SWITCH_RESET = found_by(sxid.CHECK, SWITCH.format(20034))
SWITCH_REBOOT = found_by(sxid.CHECK, SWITCH.format(23001))
READ_ONLY = found_by(storage_kernel.CHECK, "EXT4-fs (md0): Remounting filesystem read-only")
HARD_LOCKUP = found_by(kernel.CHECK, "NMI watchdog: Watchdog detected hard LOCKUP on cpu 2")
HUNG_TASK = found_by(kernel.CHECK, "INFO: task jfsmount:136986 blocked for more than 120 seconds.")
STORM = found_by(kernel.CHECK, "mce: CMCI storm detected: switching to poll mode")
OUT_OF_MEMORY = found_by(kernel.CHECK, "Out of memory: Killed process 1 (a)")

AMD = "amdgpu 0000:03:00.0: amdgpu: {}"
AMD_LOST = found_by(amd_kernel.CHECK, AMD.format("device lost from bus!"))
AMD_RESET = found_by(amd_kernel.CHECK, AMD.format("GPU reset(1) succeeded!"))
AMD_PAGES = found_by(amd_kernel.CHECK, AMD.format("RAS records:656 exceed threshold:655"))

MLX5 = "mlx5_core 0000:41:00.0: {}"
FIRMWARE = found_by(rdma_kernel.CHECK, MLX5.format("device's health compromised - reached miss count"))
MODULE_ERROR = found_by(
    rdma_kernel.CHECK, MLX5.format("Port module event[error]: module 0, Cable error, Bad or shorted")
)
MODULE_HOT = found_by(
    rdma_kernel.CHECK, MLX5.format("Port module event[error]: module 0, Cable error, High Temperature")
)

LOST = replace(GPU, lost=True)
UNWELL = replace(GPU, recovery_action=1)
NEEDS_RESET = replace(GPU, reset_required=True)
OLD_DRIVER = replace(GPU, recovery_action=None)

OVER: dict[str, tuple[LatchedCheck, Finding, Recovery]] = {
    "off the bus: rebooted and well": (xid.CHECK, FALLEN, seen(REBOOTED)),
    "off the bus: a driver without field 230": (xid.CHECK, FALLEN, seen(REBOOTED, OLD_DRIVER)),
    "uncontained: reset and well": (xid.CHECK, UNCONTAINED, seen(RESET)),
    "uncontained: rebooted and well": (xid.CHECK, UNCONTAINED, seen(REBOOTED)),
    "contained: quiet and well": (xid.CHECK, CONTAINED, seen(QUIET)),
    "contained: quiet without a reading": (xid.CHECK, CONTAINED, QUIET),
    "remap: reset": (xid.CHECK, REMAPPED, seen(RESET)),
    "remap: none is pending": (xid.CHECK, REMAPPED, seen(NOTHING, replace(GPU, remap_pending=False))),
    "support: rebooted and well": (xid.CHECK, SUPPORT, seen(REBOOTED)),
    "IMEX: the driver wants nothing more": (xid.CHECK, IMEX, seen(NOTHING)),
    "switch: reset": (sxid.CHECK, SWITCH_RESET, RESET),
    "switch: rebooted": (sxid.CHECK, SWITCH_REBOOT, REBOOTED),
    "read-only: rebooted": (storage_kernel.CHECK, READ_ONLY, REBOOTED),
    "AMD lost: rebooted": (amd_kernel.CHECK, AMD_LOST, REBOOTED),
    "AMD was reset: quiet": (amd_kernel.CHECK, AMD_RESET, QUIET),
    "AMD pages: rebooted, and the driver says it again": (amd_kernel.CHECK, AMD_PAGES, REBOOTED),
    "out of memory: quiet": (kernel.CHECK, OUT_OF_MEMORY, QUIET),
    "hung task of a server: quiet": (kernel.CHECK, HUNG_TASK, QUIET),
    "hard lock-up: rebooted": (kernel.CHECK, HARD_LOCKUP, REBOOTED),
    "storm of corrected errors: rebooted": (kernel.CHECK, STORM, REBOOTED),
    "RDMA firmware: rebooted": (rdma_kernel.CHECK, FIRMWARE, REBOOTED),
    "cable not taken: rebooted": (rdma_kernel.CHECK, MODULE_ERROR, REBOOTED),
    "hot module: quiet": (rdma_kernel.CHECK, MODULE_HOT, QUIET),
}

NOT_OVER: dict[str, tuple[LatchedCheck, Finding, Recovery]] = {
    "off the bus: quiet and well": (xid.CHECK, FALLEN, seen(QUIET)),
    "off the bus: reset and well": (xid.CHECK, FALLEN, seen(RESET)),
    "off the bus: rebooted, not seen": (xid.CHECK, FALLEN, REBOOTED),
    "off the bus: rebooted, lost": (xid.CHECK, FALLEN, seen(REBOOTED, LOST)),
    "off the bus: rebooted, the driver wants a reset": (xid.CHECK, FALLEN, seen(REBOOTED, UNWELL)),
    "uncontained: quiet and well": (xid.CHECK, UNCONTAINED, seen(QUIET)),
    "uncontained: reset, not seen": (xid.CHECK, UNCONTAINED, RESET),
    "uncontained: reset, needs one still": (xid.CHECK, UNCONTAINED, seen(RESET, NEEDS_RESET)),
    "contained: not quiet for long enough": (xid.CHECK, CONTAINED, seen(replace(QUIET, quiet_s=599.0))),
    "contained: quiet but unwell": (xid.CHECK, CONTAINED, seen(QUIET, UNWELL)),
    "remap: quiet, not seen": (xid.CHECK, REMAPPED, QUIET),
    "remap: quiet, cannot be read": (xid.CHECK, REMAPPED, seen(QUIET)),
    "remap: quiet, still pending": (xid.CHECK, REMAPPED, seen(QUIET, replace(GPU, remap_pending=True))),
    "support: quiet and well": (xid.CHECK, SUPPORT, seen(QUIET)),
    "support: reset and well": (xid.CHECK, SUPPORT, seen(RESET)),
    "IMEX: wanted still": (xid.CHECK, IMEX, seen(QUIET, replace(GPU, recovery_action=5))),
    "IMEX: cannot be read": (xid.CHECK, IMEX, seen(QUIET, OLD_DRIVER)),
    "switch: quiet": (sxid.CHECK, SWITCH_RESET, QUIET),
    "switch: reset where a reboot is needed": (sxid.CHECK, SWITCH_REBOOT, RESET),
    "read-only: quiet": (storage_kernel.CHECK, READ_ONLY, QUIET),
    "AMD lost: quiet": (amd_kernel.CHECK, AMD_LOST, QUIET),
    "AMD lost: reset": (amd_kernel.CHECK, AMD_LOST, RESET),
    "AMD was reset: not quiet": (amd_kernel.CHECK, AMD_RESET, NOTHING),
    "AMD pages: quiet": (amd_kernel.CHECK, AMD_PAGES, QUIET),
    "hard lock-up: quiet": (kernel.CHECK, HARD_LOCKUP, QUIET),
    "storm of corrected errors: quiet": (kernel.CHECK, STORM, QUIET),
    "out of memory: not quiet": (kernel.CHECK, OUT_OF_MEMORY, NOTHING),
    "RDMA firmware: quiet": (rdma_kernel.CHECK, FIRMWARE, QUIET),
    "cable not taken: quiet": (rdma_kernel.CHECK, MODULE_ERROR, QUIET),
    "hot module: not quiet": (rdma_kernel.CHECK, MODULE_HOT, NOTHING),
}


@pytest.mark.parametrize(("check", "finding", "recovery"), OVER.values(), ids=OVER.keys())
def test_over(check: LatchedCheck, finding: Finding, recovery: Recovery) -> None:
    assert check.released(finding, recovery)


@pytest.mark.parametrize(("check", "finding", "recovery"), NOT_OVER.values(), ids=NOT_OVER.keys())
def test_not_over(check: LatchedCheck, finding: Finding, recovery: Recovery) -> None:
    assert check.released(finding, recovery) == ""
