"""Every fault that a drill can make happen, as data: what it does to a node, and how likely a repair mends it.

The probabilities are those of the fault model (class F1 to F21); they are estimates except where published. Lines are
the kernel's and the driver's own words.
"""

from __future__ import annotations

from typing import Final

from agent.simulation.drill_fault import DrillFault, Effect, Target
from agent.simulation.hidden_faults import HIDDEN_FAULTS

_XID: Final = "NVRM: Xid (PCI:{pci}): "
_NOBODY: Final = "pid='<unknown>', name=<unknown>, "
_JOB: Final = "pid=40211, name=python3, "

_DOUBLE_BIT_ERROR: Final = (
    f"{_XID}48, {_NOBODY}An uncorrectable double bit error (DBE) has been detected on GPU in the framebuffer at "
    "physAddr 0x18f31d80 partition 16, subpartition 3."
)
_REMAP_PENDING: Final = (
    f"{_XID}63, {_NOBODY}Row Remapper: New row (0x0000000018f31d80) marked for remapping, reset gpu to activate."
)
_KERNEL_LOG_AND_NVML: Final = "kernel log and NVML"

GPU_IS_LOST: Final = 15
RESET_REQUIRED: Final = 16
DRIVER_NOT_LOADED: Final = 9
VERSION_MISMATCH: Final = 18
"""Source: nvml.h, nvmlReturn_t."""

DOWN, POLLING, SLOW_GBIT_PER_S = 1, 2, 10.0
"""Of a port without a signal. Source: kernel, sysfs-class-infiniband, `state`, `phys_state` and `rate`."""

BROKEN_LINK: Final = 14
FLAPS: Final = 6
"""At once when the drill begins; then one with every look at the port. Source: above the 5 an hour that
checks/fabric/rdma_flap.py calls failed."""

FULL_PERCENT: Final = 99.2
SCRATCH: Final = "/scratch"

FAULTS: Final[tuple[DrillFault, ...]] = (
    DrillFault(
        name="gpu-off-bus",
        aliases=("xid79", "gpu-lost"),
        title="GPU fallen off the bus",
        what_happens="The driver loses a GPU (Xid 79), NVML says that it is lost; after a reboot it may be missing.",
        fault_class="F1",
        seam=_KERNEL_LOG_AND_NVML,
        expected="Cordon at once, drain, reboot once; hand it to a person when the GPU is still missing afterwards.",
        target=Target.GPU,
        reset_fixes=0.05,
        reboot_fixes=0.35,
        effect=Effect(
            lines=(
                f"{_XID}79, {_NOBODY}GPU has fallen off the bus.",
                "NVRM: GPU {pci}.0: GPU has fallen off the bus.",
                "NVRM: GPU {pci}.0: GPU serial number is {serial}.",
            ),
            part={"returns": GPU_IS_LOST},
        ),
        effect_after_boot=Effect(
            lines=(
                "NVRM: The NVIDIA GPU {pci}.0",
                "NVRM: (PCI ID: 10de:2330) installed in this system has",
                "NVRM: fallen off the bus and is not responding to commands.",
            ),
            part={"is_listed": False},
        ),
    ),
    DrillFault(
        name="ecc-contained",
        aliases=("xid94",),
        title="contained memory error",
        what_happens="A memory error kills one job (Xid 48, 63, 94, 45 at once); a row waits to be remapped.",
        fault_class="F3",
        seam=_KERNEL_LOG_AND_NVML,
        expected="One incident, not four: drain and reset the GPU, so that the row is remapped; no replacement.",
        target=Target.GPU,
        reset_fixes=0.92,
        reboot_fixes=0.92,
        effect=Effect(
            lines=(
                _DOUBLE_BIT_ERROR,
                _REMAP_PENDING,
                f"{_XID}94, {_JOB}Contained: SM (0x1). RST: No, D-RST: No",
                f"{_XID}45, {_JOB}Ch 0000000a",
            ),
            part={"remap_pending": True, "ecc_uncorrected": 1},
        ),
    ),
    DrillFault(
        name="ecc-uncontained",
        aliases=("xid95",),
        title="uncontained memory error",
        what_happens="A memory error could not be contained (Xid 48, 63, 95): every job on the GPU is suspect.",
        fault_class="F3",
        seam=_KERNEL_LOG_AND_NVML,
        expected="Cordon at once, drain, reset the GPU, verify, return.",
        target=Target.GPU,
        reset_fixes=0.92,
        reboot_fixes=0.92,
        effect=Effect(
            lines=(
                _DOUBLE_BIT_ERROR,
                _REMAP_PENDING,
                f"{_XID}95, {_JOB}Uncontained: LTC TAG (0x2, 0x1). RST: Yes, D-RST: No",
            ),
            part={"remap_pending": True, "ecc_uncorrected": 2, "recovery_action": 1},
        ),
    ),
    DrillFault(
        name="row-remap-pending",
        aliases=("xid63",),
        title="row remap pending",
        what_happens="A row of GPU memory is marked for remapping (Xid 63); the GPU serves on until it is reset.",
        fault_class="F3",
        seam=_KERNEL_LOG_AND_NVML,
        expected="No hurry: let the jobs end, then reset the GPU, verify, return.",
        target=Target.GPU,
        reset_fixes=0.92,
        reboot_fixes=0.92,
        effect=Effect(lines=(_REMAP_PENDING,), part={"remap_pending": True}),
    ),
    DrillFault(
        name="row-remap-failed",
        aliases=("xid64",),
        title="row remap failed",
        what_happens="A row of GPU memory could not be remapped, the table is full (Xid 64): replace the GPU.",
        fault_class="F3",
        seam=_KERNEL_LOG_AND_NVML,
        expected="Cordon, drain, collect evidence, hand it to a person for field diagnostics; no repair helps.",
        target=Target.GPU,
        effect=Effect(
            lines=(f"{_XID}64, {_NOBODY}Row Remapper Error: (0x0000000018f31d80) - Row Remapping table is full",),
            part={"remap_failed": True},
        ),
    ),
    DrillFault(
        name="recovery-action",
        aliases=("xid154",),
        title="recovery action changed",
        what_happens="The driver itself asks for a reset of the GPU (Xid 154, NVML field 230).",
        fault_class="F2",
        seam=_KERNEL_LOG_AND_NVML,
        expected="Do what the driver asks for: drain and reset the GPU, verify, return.",
        target=Target.GPU,
        reset_fixes=0.20,
        reboot_fixes=0.32,
        effect=Effect(
            lines=(f"{_XID}154, GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)",),
            part={"recovery_action": 1},
        ),
    ),
    DrillFault(
        name="gpu-halted",
        aliases=("xid62",),
        title="GPU micro-controller halted",
        what_happens="The GPU's micro-controller halts (Xid 62) and the driver asks for a reset.",
        fault_class="F2",
        seam=_KERNEL_LOG_AND_NVML,
        expected="Cordon, drain, reset the GPU; reboot when that does not help, then hand it to a person.",
        target=Target.GPU,
        reset_fixes=0.20,
        reboot_fixes=0.32,
        effect=Effect(lines=(f"{_XID}62, {_JOB}0c83(1870) 00000000 00000000",), part={"recovery_action": 1}),
    ),
    DrillFault(
        name="gsp-timeout",
        aliases=("xid119",),
        title="GSP firmware timeout",
        what_happens="The GPU's firmware no longer answers the driver (Xid 119); NVML says that a reset is required.",
        fault_class="F5",
        seam=_KERNEL_LOG_AND_NVML,
        expected="Cordon, drain, reset the GPU; reboot when that does not help.",
        target=Target.GPU,
        reset_fixes=0.70,
        reboot_fixes=0.95,
        effect=Effect(
            lines=(
                f"{_XID}119, pid=2024380, name=nvidia-smi, Timeout after 6s of waiting for RPC response from "
                "GPU{index} GSP! Expected function 103 (GSP_RM_ALLOC) (0x2081 0x4).",
            ),
            part={"returns": RESET_REQUIRED},
        ),
    ),
    DrillFault(
        name="nvlink-down",
        aliases=("xid74",),
        title="NVLink down",
        what_happens=f"NVLink {BROKEN_LINK} of a GPU fails (Xid 74) and stays inactive.",
        fault_class="F6",
        seam=_KERNEL_LOG_AND_NVML,
        expected="Cordon, drain, reset the GPU, verify that every link is up again; else hand it to a person.",
        target=Target.GPU,
        reset_fixes=0.50,
        reboot_fixes=0.60,
        effect=Effect(
            lines=(
                f"{_XID}74, {_NOBODY}NVLink: fatal error detected on link {BROKEN_LINK}"
                "(0x0, 0x0, 0x10000, 0x0, 0x0, 0x0, 0x0)",
            ),
            part={"broken_links": (BROKEN_LINK,)},
        ),
    ),
    DrillFault(
        name="imex-failure",
        aliases=("imex",),
        title="IMEX domain broken",
        what_happens="The driver asks to recover the IMEX domain (Xid 154 to 5): multi-node NVLink memory is broken.",
        fault_class="F15",
        seam=_KERNEL_LOG_AND_NVML,
        expected="Cordon, drain, restart nvidia-imex, verify, return.",
        target=Target.GPU,
        reboot_fixes=0.85,
        service="nvidia-imex",
        effect=Effect(
            lines=(f"{_XID}154, GPU recovery action changed from 0x0 (None) to 0x5 (Recover IMEX domain)",),
            part={"recovery_action": 5},
        ),
    ),
    DrillFault(
        name="fabric-manager-down",
        aliases=("fabric-manager", "fm-down"),
        title="Fabric Manager down",
        what_happens="The service nvidia-fabricmanager fails: new jobs get CUDA error 802 until it runs again.",
        fault_class="F15",
        seam="systemd",
        expected="Cordon, drain, restart nvidia-fabricmanager, verify, return; reboot when it does not stay up.",
        target=Target.HOST,
        reboot_fixes=0.85,
        service="nvidia-fabricmanager",
        effect=Effect(part={"failed_service": "nvidia-fabricmanager"}),
    ),
    DrillFault(
        name="app-fault",
        aliases=("xid31",),
        title="a job's own fault (decoy)",
        what_happens="A job reads memory that it does not own (Xid 31). The GPU is well.",
        fault_class="F17",
        seam="kernel log",
        expected="Nothing: no incident and no cordon, for it is the job's own fault.",
        is_momentary=True,
        target=Target.GPU,
        effect=Effect(
            lines=(
                f"{_XID}31, pid=626486, name=python3, Ch 00000008, intr 00000000. MMU Fault: ENGINE GRAPHICS "
                "GPCCLIENT_T1_14 faulted @ 0x7f2f_cca58000. Fault is of type FAULT_PDE ACCESS_TYPE_VIRT_READ",
            ),
        ),
    ),
    DrillFault(
        name="nvml-hang",
        aliases=("nvidia-smi-hang",),
        title="NVML hangs for ever",
        what_happens="Every call into the driver hangs and never returns, as nvidia-smi then does.",
        fault_class="F5",
        seam="NVML",
        expected="The agent goes on without the hung process; after two missed deadlines: cordon, drain, reboot.",
        target=Target.HOST,
        reboot_fixes=0.95,
        effect=Effect(part={"hangs": True}),
    ),
    DrillFault(
        name="driver-not-loaded",
        title="driver not loaded",
        what_happens="The driver's kernel module is gone, NVML cannot be asked.",
        fault_class="F15",
        seam="NVML",
        expected="Unknown by itself: no action, until a person looks.",
        target=Target.HOST,
        reboot_fixes=0.85,
        effect=Effect(part={"driver_returns": DRIVER_NOT_LOADED}),
    ),
    DrillFault(
        name="driver-mismatch",
        aliases=("version-mismatch",),
        title="driver upgraded without a reboot",
        what_happens="Library and kernel module of the driver are of different versions; NVML refuses to work.",
        fault_class="none: no hardware is at fault, and a reboot loads the new module",
        seam="NVML",
        expected="No hurry: cordon, let the jobs end, reboot, verify, return. Jobs are never put back for it.",
        target=Target.HOST,
        reboot_fixes=1.0,
        effect=Effect(part={"driver_returns": VERSION_MISMATCH}),
    ),
    DrillFault(
        name="rdma-port-down",
        aliases=("ib-down",),
        title="RDMA port down",
        what_happens="A port loses its signal and keeps polling: cable, transceiver or far end.",
        fault_class="F9",
        seam="sysfs and kernel log",
        expected="After 10 s: cordon, drain, reboot once; ticket to the network team when the port stays down.",
        target=Target.PORT,
        reboot_fixes=0.40,
        effect=Effect(
            lines=("mlx5_core {pci}.0: Port module event: module 0, Cable unplugged",),
            part={"state": DOWN, "phys_state": POLLING, "rate_gbit_per_s": SLOW_GBIT_PER_S},
            severity=6,
            flaps=1,
        ),
    ),
    DrillFault(
        name="rdma-port-flapping",
        aliases=("ib-flap", "rdma-flap"),
        title="RDMA port flapping",
        what_happens="A port goes down for a moment and comes back, again and again; each look finds it up.",
        fault_class="F10",
        seam="sysfs and kernel log",
        expected="Cordon, drain, ticket to the network team: clean or reseat the cable. A reboot is the wrong move.",
        target=Target.PORT,
        reboot_fixes=0.10,
        effect=Effect(
            lines=("mlx5_core {pci}.0 ib{number}: Link down", "mlx5_core {pci}.0 ib{number}: Link up") * FLAPS,
            part={"is_flapping": True},
            severity=6,
            flaps=FLAPS,
        ),
    ),
    DrillFault(
        name="rdma-port-missing",
        aliases=("hca-lost",),
        title="RDMA device vanished",
        what_happens="A network adapter no longer answers its driver and vanishes with its port.",
        fault_class="F9",
        seam="sysfs and kernel log",
        expected="At once: cordon, drain, reboot; hand it to a person when it is still missing.",
        target=Target.PORT,
        reboot_fixes=0.40,
        effect=Effect(
            lines=(
                "mlx5_core {pci}.0: poll_health:852:(pid 0): device's health compromised - reached miss count",
                "mlx5_core {pci}.0: print_health_info:458:(pid 0): synd 0x8: unrecoverable hardware error",
            ),
            part={"is_listed": False},
        ),
    ),
    DrillFault(
        name="disk-full",
        aliases=("no-space",),
        title="host out of disk",
        what_happens=f"The root file system is {FULL_PERCENT} % full.",
        fault_class="F15",
        seam="host readings",
        expected="Cordon and tell a person; nothing is deleted, and what filled the disk has to be found.",
        target=Target.HOST,
        reboot_fixes=0.85,
        effect=Effect(part={"used_percent": FULL_PERCENT}),
    ),
    DrillFault(
        name="mount-hang",
        aliases=("nfs-hang",),
        title="a mount that hangs for ever",
        what_happens="Whoever asks the scratch file system for anything waits for ever.",
        fault_class="F15",
        seam="mounts",
        expected="The other checks keep their beat; when it hangs in 2 of 3 looks: cordon, drain, reboot.",
        target=Target.HOST,
        reboot_fixes=0.85,
        effect=Effect(part={"hung_mount": SCRATCH}),
    ),
    DrillFault(
        name="disk-read-only",
        title="disk gone read-only",
        what_happens="The kernel turns the root file system read-only after write errors.",
        fault_class="F15",
        seam="kernel log and mounts",
        expected="Cordon, drain, reboot; hand it to a person when it comes again.",
        target=Target.HOST,
        reboot_fixes=0.85,
        effect=Effect(
            lines=(
                "EXT4-fs error (device nvme0n1p2): ext4_journal_check_start:83: comm kworker/u384:2: Detected aborted "
                "journal",
                "EXT4-fs (nvme0n1p2): Remounting filesystem read-only",
            ),
            part={"is_read_only": True},
        ),
    ),
    DrillFault(
        name="memory-uncorrected",
        aliases=("dimm",),
        title="uncorrected error of main memory",
        what_happens="A memory module of the host reports an uncorrected error (EDAC).",
        fault_class="F13",
        seam="kernel log",
        expected="Cordon, drain, collect evidence, hand it to a person: the module has to be replaced.",
        target=Target.HOST,
        reboot_fixes=0.30,
        effect=Effect(
            lines=(
                "EDAC MC0: 1 UE memory read error on CPU_SrcID#0_MC#0_Chan#1_DIMM#0 (channel:1 slot:0 page:0x12345 "
                "offset:0x0 grain:32)",
            ),
        ),
    ),
    DrillFault(
        name="hung-task",
        title="task stuck in the driver",
        what_happens="The kernel reports a process that has been stuck in the driver for two minutes.",
        fault_class="F12",
        seam="kernel log",
        expected="Cordon, drain, reboot.",
        target=Target.HOST,
        reboot_fixes=0.90,
        effect=Effect(lines=("INFO: task nvidia-smi:40377 blocked for more than 122 seconds.",)),
    ),
    DrillFault(
        name="agent-killed",
        aliases=("agent-dead",),
        title="agent killed",
        what_happens="The agent's own process is killed by SIGKILL. Its supervisor starts it again, unless the "
        "parameter stay_dead=true is given: then it stays away until the node is power-cycled.",
        fault_class="F21",
        seam="process",
        expected="Nothing to the node: silence alone cordons nothing. A person is told when the agent stays away.",
        target=Target.HOST,
        reboot_fixes=1.0,
    ),
    *HIDDEN_FAULTS,
)
"""The catalogue. Source of classes and probabilities: the fault model's tables 2.1 and 2.2; of the lines: Xid and SXid
records of real incidents, and the kernel's own formats."""

AGENT_KILLED: Final = "agent-killed"


def find_fault(name: str) -> DrillFault | None:
    """Return the fault of this name or alias."""
    return next((fault for fault in FAULTS if name in (fault.name, *fault.aliases)), None)
