"""The playbooks that come with fleetmend: every fault is answered by the right one, and no decoy by any."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest

from agent.simulation.drill_fault import DrillFault
from agent.simulation.faults import FAULTS
from checks.data import nvlink5_rows, sxid_catalogue, xid_catalogue
from checks.finding import Action, Finding, Verdict
from checks.judge import judge_lines
from checks.recovery_action import MEANINGS, recovery_action
from checks.registry import CHECKS
from controller.playbooks import default_directory, lint
from controller.policy.playbook import HAND_OVER, REPAIRS, Clears, Playbook, Verb
from controller.policy.presence import AGENT_LOST, FLOODING, NODE_LOST
from controller.policy.rules import Budget, Rules
from tests.support.check_cases import Case, all_cases
from tests.support.shipped import SHIPPED

PLAYBOOKS = {playbook.name: playbook for playbook in SHIPPED}
RULES = Rules(tuple(PLAYBOOKS.values()), Budget(percent=10.0))
RUNBOOKS = Path(__file__).parents[2] / "docs" / "how-to" / "respond"
SECTIONS = [
    "## What happened",
    "## What fleetmend does",
    "## What to look at",
    "## When it is over",
    "## Stop, approve, undo",
]


def answer(check: str, code: str, verdict: Verdict, action: Action) -> str:
    """Return the name of the playbook that answers, empty when none does."""
    found = RULES.answering(Finding(check, "device", code, verdict, action, "so it is"))
    return found.name if found else ""


def answers_to_line(line: str) -> list[str]:
    """Return who answers what a kernel-log line means."""
    return [
        answer(judged.check, judged.code, Verdict(judged.verdict), Action(judged.action))
        for judged in judge_lines([line.encode()], accept_userspace=True)
    ]


def xid(code: int, text: str = "pid=1, name=python3, text") -> str:
    """Return an Xid line."""
    return f"NVRM: Xid (PCI:0000:3b:00): {code}, {text}"


def test_they_are_whole() -> None:
    assert lint([default_directory()]) == []


def test_no_two_have_the_same_precedence() -> None:
    assert len(PLAYBOOKS) == len({playbook.precedence for playbook in PLAYBOOKS.values()})


FAMILIES = {
    "gpu_lost": [
        xid(79, "GPU has fallen off the bus."),
        xid(167),
        "NVRM: GPU 0000:3b:00.0: GPU has fallen off the bus.",
    ],
    "gpu_power_cabling": [xid(54)],
    "gpu_power_cycle": [xid(110)],
    "gpu_reboot": [
        xid(169),
        xid(173),
        xid(154, "GPU recovery action changed from 0x0 (None) to 0x2 (Node Reboot Required)"),
        xid(154, "GPU recovery action changed from 0x0 (None) to 0x7 (System Reboot)"),
    ],
    "gpu_remap_unrecorded": [xid(64)],
    "gpu_memory_uncontained": [xid(95), xid(140)],
    "gpu_memory": [xid(code) for code in (48, 63, 94, 156, 160, 171, 172)],
    "nvlink": [xid(code) for code in (74, 136, 144, 145, 146, 147, 148, 149, 150)],
    "gpu_imex": [xid(154, "GPU recovery action changed from 0x0 (None) to 0x5 (Recover IMEX domain)")],
    "gpu_reset": [
        *(xid(code) for code in (46, 62, 109, 119, 120, 143, 158)),
        *(xid(154, f"GPU recovery action changed from 0x0 (None) to {action:#x} (X)") for action in (1, 3, 4, 6)),
    ],
    "gpu_reboot_idle": [xid(151)],
    "gpu_support": [xid(125), xid(159), xid(163), xid(78), xid(99999)],
    "nvswitch": [
        "nvidia-nvswitch3: SXid (PCI:0000:85:00.0): 12028, Fatal, Link 44 ingress invalid ACL",
        "nvidia-nvswitch0: SXid (PCI:0000:85:00.0): 99999, Fatal, a code of tomorrow",
    ],
    "host_reboot": [
        "INFO: task nvidia-smi:40377 blocked for more than 122 seconds.",
        "EXT4-fs (nvme0n1p2): Remounting filesystem read-only",
        "nvme nvme0: Disabling device after reset failure: -19",
        "NMI watchdog: Watchdog detected hard LOCKUP on cpu 2",
    ],
    "host_part_failed": [
        "EDAC MC0: 1 UE memory read error on CPU_SrcID#0_MC#0_Chan#1_DIMM#0",
        "Memory failure: 0x1234ab: recovery action for dirty LRU page: Recovered",
        "mlx5_core 0000:49:00.0: print_health_info:458:(pid 0): synd 0x10: High temperature",
        "mlx5_core 0000:5d:00.0: Port module event[error]: module 0, Cable error, One or more network ports have been "
        "powered down due to insufficient/unadvertised power on the PCIe slot",
    ],
    "host_cooling": ["thermal thermal_zone0: critical temperature reached (98 C), shutting down"],
    "host_part_watch": ["mce: CMCI storm detected: switching to poll mode"],
    "host_hardware": [
        "mce: [Hardware Error]: CPU 3: Machine Check Exception: 5 Bank 1: be00000000800400",
        "{1}[Hardware Error]: event severity: fatal",
        "NMI: PCI system error (SERR) for reason b1 on CPU 0.",
    ],
    "storage_disk_watch": [
        "blk_update_request: critical medium error, dev nvme0n7, sector 222053776 op 0x0:(READ) flags 0x0",
        "md/raid1:md0: Disk failure on sda1, disabling device.",
    ],
    "host_reboot_idle": [
        "EXT4-fs error (device nvme0n1p2): ext4_lookup:1785: comm python3",
        "watchdog: BUG: soft lockup - CPU#3 stuck for 22s! [python3:1234]",
        "rcu: INFO: rcu_sched self-detected stall on CPU",
        "BUG: kernel NULL pointer dereference, address: 0000000000000008",
        "BUG: Bad page state in process python3  pfn:1234ab",
    ],
    "rdma_adapter": [
        "mlx5_core 0000:41:00.0: poll_health:852:(pid 0): device's health compromised - reached miss count",
        "mlx5_core 0000:03:00.0: wait_func:964:(pid 112): ENABLE_HCA(0x104) timeout. Will cause a leak of a command",
        "efa 0000:a1:00.0 rdmap161s0: Admin queue is closed",
        "bnxt_en 0000:41:00.0 eth2: Firmware reset aborted, PCI config space invalid",
    ],
    "rdma_link_watch": [
        "mlx5_core 0000:5d:00.0: Port module event[error]: module 0, Cable error, Bad or shorted cable/module",
        "mlx5_core 0000:49:00.0: print_health_info:458:(pid 0): synd 0x23: unrecognized error",
    ],
    "amd_reboot": [
        "amdgpu 0000:03:00.0: amdgpu: GPU reset(1) failed with error -110",
        "amdgpu 0000:03:00.0: amdgpu: device lost from bus!",
        "amdgpu 0000:c3:00.0: amdgpu: 2 uncorrectable hardware errors detected in umc block",
    ],
    "amd_separate": ["amdgpu 0000:c3:00.0: amdgpu: RAS records:656 exceed threshold:655"],
    "amd_support": ["amdgpu 0000:c3:00.0: amdgpu: RAS records:590 exceeds 90% of threshold:655"],
    "": [
        "amdgpu 0000:03:00.0: amdgpu: GPU reset(1) succeeded!",
        "amdgpu 0000:83:00.0: amdgpu: [gfxhub0] no-retry page fault (src_id:0 ring:40 vmid:8)",
        *(xid(code) for code in (8, 11, 13, 31, 32, 43, 45, 69, 92, 155)),
        "Memory cgroup out of memory: Killed process 1234 (python3)",
        "Out of memory: Killed process 1234 (python3)",
        "nfs: server storage.example not responding, still trying",
        "nvme nvme0: controller is down; will reset: CSTS=0xffffffff, PCI_STATUS=0x10",
        "mlx5_core 0000:41:00.1: Port module event: module 1, Cable unplugged",
        "mlx5_core 0000:65:00.0 eth0: NETDEV WATCHDOG: CPU: 5: transmit queue 0 timed out 5032 ms",
    ],
}
LINES = [(line, name) for name, lines in FAMILIES.items() for line in lines]


@pytest.mark.parametrize(("line", "name"), LINES, ids=[line[:60] for line, _ in LINES])
def test_each_line_is_answered_by_its_family(line: str, name: str) -> None:
    assert {name} == {*answers_to_line(line), *([""] if not name else [])}


LEVELS = [
    ("gpu.count", "lost", Verdict.FAILED, Action.REBOOT, "gpu_lost"),
    ("gpu.count", "reset_required", Verdict.FAILED, Action.RESET_GPU, "gpu_reset"),
    ("gpu.nvml", "hung", Verdict.FAILED, Action.REBOOT, "gpu_reboot"),
    ("gpu.nvml", "version_mismatch", Verdict.DEGRADED, Action.REBOOT, "gpu_reboot_idle"),
    ("gpu.recovery_action", "reset", Verdict.FAILED, Action.RESET_GPU, "gpu_reset"),
    ("gpu.recovery_action", "drain_p2p", Verdict.FAILED, Action.RESET_GPU, "gpu_reset"),
    ("gpu.recovery_action", "drain_and_reset", Verdict.FAILED, Action.RESET_GPU, "gpu_reset"),
    ("gpu.recovery_action", "bus_reset", Verdict.FAILED, Action.RESET_GPU, "gpu_reset"),
    ("gpu.recovery_action", "reboot", Verdict.FAILED, Action.REBOOT, "gpu_reboot"),
    ("gpu.recovery_action", "system_reboot", Verdict.FAILED, Action.REBOOT, "gpu_reboot"),
    ("gpu.recovery_action", "recover_imex", Verdict.FAILED, Action.RESTART_SERVICE, "gpu_imex"),
    ("gpu.recovery_action", "unknown_9", Verdict.DEGRADED, Action.CONTACT_SUPPORT, "gpu_support"),
    ("gpu.row_remap", "failed", Verdict.FAILED, Action.CONTACT_SUPPORT, "gpu_row_remap_failed"),
    ("gpu.row_remap", "pending", Verdict.DEGRADED, Action.RESET_GPU, "gpu_memory"),
    ("gpu.row_remap", "bank_without_spares", Verdict.DEGRADED, Action.NONE, ""),
    ("gpu.ecc_uncorrected", "", Verdict.DEGRADED, Action.RESET_GPU, "gpu_memory"),
    ("gpu.ecc_uncorrected", "dram", Verdict.DEGRADED, Action.RESET_GPU, "gpu_memory"),
    ("gpu.ecc_uncorrected", "sram", Verdict.FAILED, Action.RESET_GPU, "gpu_memory"),
    ("gpu.ecc_uncorrected", "sram_threshold", Verdict.FAILED, Action.CONTACT_SUPPORT, "gpu_row_remap_failed"),
    ("gpu.ecc_corrected", "storm", Verdict.FAILED, Action.RESET_GPU, "gpu_memory"),
    ("gpu.ecc_corrected", "high", Verdict.DEGRADED, Action.NONE, ""),
    ("gpu.retired_pages", "pending", Verdict.DEGRADED, Action.RESET_GPU, "gpu_memory"),
    ("gpu.retired_pages", "exhausted", Verdict.FAILED, Action.CONTACT_SUPPORT, "gpu_row_remap_failed"),
    ("gpu.count", "power_cable", Verdict.FAILED, Action.CHECK_CABLING, "gpu_power_cabling"),
    ("gpu.count", "swapped", Verdict.DEGRADED, Action.NONE, ""),
    ("gpu.gsp", "mismatch", Verdict.DEGRADED, Action.REBOOT, "gpu_reboot_idle"),
    ("gpu.gsp", "off", Verdict.DEGRADED, Action.NONE, ""),
    ("gpu.persistence", "off", Verdict.DEGRADED, Action.NONE, ""),
    ("gpu.ecc_mode", "off", Verdict.DEGRADED, Action.NONE, ""),
    ("gpu.mig", "pending", Verdict.DEGRADED, Action.NONE, ""),
    ("gpu.vbios", "differs", Verdict.DEGRADED, Action.UPDATE_SOFTWARE, "gpu_support"),
    ("gpu.inforom", "corrupt", Verdict.DEGRADED, Action.CONTACT_SUPPORT, "gpu_support"),
    ("gpu.processes", "gone", Verdict.DEGRADED, Action.RESET_GPU, "gpu_reset_idle"),
    ("gpu.processes", "orphaned", Verdict.DEGRADED, Action.NONE, ""),
    ("gpu.temperature", "core", Verdict.FAILED, Action.CONTACT_SUPPORT, "gpu_slowed"),
    ("gpu.temperature", "margin", Verdict.DEGRADED, Action.NONE, ""),
    ("gpu.throttle", "hw_thermal", Verdict.FAILED, Action.CONTACT_SUPPORT, "gpu_slowed"),
    ("gpu.throttle", "power_brake", Verdict.FAILED, Action.CHECK_CABLING, "gpu_slowed"),
    ("gpu.throttle", "sw_thermal", Verdict.DEGRADED, Action.NONE, ""),
    ("gpu.power", "over_limit", Verdict.DEGRADED, Action.CONTACT_SUPPORT, "gpu_support"),
    ("gpu.power", "limit_lowered", Verdict.DEGRADED, Action.NONE, ""),
    ("gpu.pcie", "width", Verdict.FAILED, Action.REBOOT, "gpu_pcie"),
    ("gpu.pcie", "generation", Verdict.DEGRADED, Action.REBOOT, "gpu_pcie"),
    ("gpu.pcie", "replays", Verdict.DEGRADED, Action.CONTACT_SUPPORT, "gpu_support"),
    ("gpu.clocks", "slow", Verdict.DEGRADED, Action.CONTACT_SUPPORT, "gpu_support"),
    ("gpu.clocks", "setting", Verdict.DEGRADED, Action.NONE, ""),
    ("gpu.repair", "channel_pending", Verdict.DEGRADED, Action.RESET_GPU, "gpu_memory"),
    ("gpu.repair", "unrepairable", Verdict.FAILED, Action.CONTACT_SUPPORT, "gpu_row_remap_failed"),
    ("fabric.nvlink", "down", Verdict.FAILED, Action.RESET_GPU, "nvlink"),
    ("fabric.nvlink", "down", Verdict.FAILED, Action.REBOOT, "nvswitch"),
    ("fabric.nvlink", "traffic_disabled", Verdict.DEGRADED, Action.CONTACT_SUPPORT, "nvlink_watch"),
    ("fabric.nvlink", "traffic_disabled", Verdict.DEGRADED, Action.REBOOT, "nvlink_watch"),
    ("fabric.fabric_state", "not_registered", Verdict.FAILED, Action.RESTART_SERVICE, "fabric_manager"),
    ("fabric.fabric_state", "not_registered", Verdict.FAILED, Action.RESET_GPU, "nvlink"),
    ("fabric.fabric_state", "configuration", Verdict.FAILED, Action.CONTACT_SUPPORT, "fabric_configuration"),
    ("fabric.fabric_state", "clusters", Verdict.FAILED, Action.CONTACT_SUPPORT, "fabric_configuration"),
    ("fabric.fabric_state", "cliques", Verdict.DEGRADED, Action.CONTACT_SUPPORT, "nvlink_watch"),
    ("fabric.fabric_state", "recovering", Verdict.DEGRADED, Action.NONE, ""),
    ("fabric.rdma_health", "fw_fatal", Verdict.FAILED, Action.REBOOT, "rdma_adapter"),
    ("fabric.rdma_health", "fw", Verdict.FAILED, Action.REBOOT, "rdma_adapter"),
    ("fabric.rdma_health", "tx", Verdict.DEGRADED, Action.CONTACT_SUPPORT, "rdma_link_watch"),
    ("fabric.rdma_health", "tx_errors", Verdict.DEGRADED, Action.NONE, ""),
    ("fabric.cable", "rx_los", Verdict.FAILED, Action.CHECK_CABLING, "rdma_link"),
    ("fabric.cable", "module_fault", Verdict.FAILED, Action.CHECK_CABLING, "rdma_link"),
    ("fabric.cable", "rx_power", Verdict.DEGRADED, Action.CHECK_CABLING, "rdma_link_watch"),
    ("fabric.rdma_congestion", "storm", Verdict.FAILED, Action.REBOOT, "rdma_adapter"),
    ("fabric.rdma_congestion", "pausing", Verdict.DEGRADED, Action.CONTACT_SUPPORT, "rdma_link_watch"),
    ("fabric.rdma_congestion", "pci_signal", Verdict.DEGRADED, Action.CHECK_CABLING, "rdma_link_watch"),
    ("fabric.rdma_congestion", "paused", Verdict.DEGRADED, Action.NONE, ""),
    ("host.services", "fabric_manager_down", Verdict.FAILED, Action.RESTART_SERVICE, "fabric_manager"),
    ("host.services", "fabric_manager_version", Verdict.FAILED, Action.UPDATE_SOFTWARE, "fabric_configuration"),
    ("host.services", "fabric_manager_version", Verdict.DEGRADED, Action.UPDATE_SOFTWARE, "service_watch"),
    ("host.services", "imex_down", Verdict.FAILED, Action.RESTART_SERVICE, "gpu_imex"),
    ("host.services", "down", Verdict.FAILED, Action.RESTART_SERVICE, "service_restart"),
    ("host.services", "down", Verdict.DEGRADED, Action.RESTART_SERVICE, "service_restart"),
    ("host.services", "restarting", Verdict.DEGRADED, Action.CONTACT_SUPPORT, "service_watch"),
    ("fabric.nvlink_errors", "ber", Verdict.FAILED, Action.RESET_GPU, "nvlink"),
    ("fabric.nvlink_errors", "recovery", Verdict.FAILED, Action.REBOOT, "nvswitch"),
    ("fabric.nvlink_errors", "replay", Verdict.DEGRADED, Action.NONE, "nvlink_watch"),
    ("fabric.nvlink_errors", "fec", Verdict.DEGRADED, Action.REBOOT, "nvlink_watch"),
    ("fabric.rdma_port", "missing", Verdict.FAILED, Action.REBOOT, "rdma_adapter"),
    ("fabric.rdma_port", "down", Verdict.FAILED, Action.CHECK_CABLING, "rdma_port"),
    ("fabric.rdma_port", "down", Verdict.FAILED, Action.CONTACT_SUPPORT, "rdma_port_disabled"),
    ("fabric.rdma_port", "interface", Verdict.FAILED, Action.CONTACT_SUPPORT, "rdma_port_disabled"),
    ("fabric.rdma_port", "slow", Verdict.DEGRADED, Action.CHECK_CABLING, "rdma_port_slow"),
    ("fabric.rdma_flap", "flapping", Verdict.FAILED, Action.CHECK_CABLING, "rdma_flap"),
    ("fabric.rdma_flap", "flapping", Verdict.DEGRADED, Action.CHECK_CABLING, "rdma_flap_watch"),
    ("fabric.rdma_errors", "local_link_integrity_errors", Verdict.FAILED, Action.CHECK_CABLING, "rdma_link"),
    ("fabric.rdma_errors", "no_completion_cmds", Verdict.FAILED, Action.REBOOT, "rdma_adapter"),
    ("fabric.rdma_errors", "symbol_error", Verdict.DEGRADED, Action.CHECK_CABLING, "rdma_link_watch"),
    ("fabric.rdma_errors", "local_ack_timeout_err", Verdict.DEGRADED, Action.NONE, ""),
    ("fabric.rdma_ber", "symbol_ber", Verdict.DEGRADED, Action.CHECK_CABLING, "rdma_link_watch"),
    ("fabric.rdma_devices", "uverbs", Verdict.FAILED, Action.REBOOT, "rdma_adapter"),
    ("fabric.rdma_devices", "umad", Verdict.DEGRADED, Action.CONTACT_SUPPORT, "rdma_configuration"),
    ("fabric.rdma_gid", "no_address", Verdict.FAILED, Action.CONTACT_SUPPORT, "rdma_port_disabled"),
    ("fabric.rdma_gid", "no_address", Verdict.DEGRADED, Action.NONE, ""),
    ("fabric.rdma_gid", "index", Verdict.DEGRADED, Action.CONTACT_SUPPORT, "rdma_configuration"),
    ("fabric.rdma_firmware", "differs", Verdict.DEGRADED, Action.UPDATE_SOFTWARE, "rdma_configuration"),
    ("fabric.rdma_pcie", "width", Verdict.FAILED, Action.REBOOT, "rdma_pcie"),
    ("fabric.rdma_pcie", "width", Verdict.DEGRADED, Action.CHECK_CABLING, "host_part_watch"),
    ("fabric.rdma_pcie", "generation", Verdict.DEGRADED, Action.REBOOT, "rdma_pcie"),
    ("fabric.rdma_pcie", "generation", Verdict.DEGRADED, Action.CHECK_CABLING, "host_part_watch"),
    ("fabric.gpudirect", "no_path", Verdict.DEGRADED, Action.CONTACT_SUPPORT, "rdma_configuration"),
    ("fabric.gpudirect", "unreadable", Verdict.UNKNOWN, Action.NONE, ""),
    ("storage.kernel", "raid_failed", Verdict.FAILED, Action.CONTACT_SUPPORT, "host_part_failed"),
    ("host.inventory", "missing", Verdict.DEGRADED, Action.CONTACT_SUPPORT, "host_inventory"),
    ("host.inventory", "firmware", Verdict.DEGRADED, Action.UPDATE_SOFTWARE, "host_inventory"),
    ("host.inventory", "replaced", Verdict.DEGRADED, Action.NONE, ""),
    ("host.bmc", "power_supply", Verdict.DEGRADED, Action.CONTACT_SUPPORT, "host_part_watch"),
    ("host.bmc", "fan", Verdict.DEGRADED, Action.CONTACT_SUPPORT, "host_part_watch"),
    ("host.bmc", "logged", Verdict.DEGRADED, Action.CONTACT_SUPPORT, "host_part_watch"),
    ("host.bmc", "throttled", Verdict.DEGRADED, Action.NONE, ""),
    ("host.bmc", "memory", Verdict.FAILED, Action.CONTACT_SUPPORT, "host_part_failed"),
    ("host.time", "offset", Verdict.DEGRADED, Action.NONE, ""),
    ("storage.raid", "failed", Verdict.FAILED, Action.CONTACT_SUPPORT, "host_part_failed"),
    ("storage.hang", "timeout", Verdict.FAILED, Action.NONE, "storage_server"),
    ("storage.hang", "timeout", Verdict.FAILED, Action.REBOOT, "host_reboot"),
    ("storage.mounts", "missing", Verdict.FAILED, Action.NONE, "storage_server"),
    ("storage.mounts", "missing", Verdict.FAILED, Action.REBOOT, "host_reboot"),
    ("storage.mounts", "missing", Verdict.DEGRADED, Action.NONE, ""),
    ("storage.lustre", "disconnected", Verdict.FAILED, Action.NONE, "storage_server"),
    ("storage.lustre", "unhealthy", Verdict.FAILED, Action.REBOOT, "host_reboot"),
    ("storage.gpfs", "down", Verdict.FAILED, Action.NONE, "storage_server"),
    ("storage.nfs", "timeouts", Verdict.DEGRADED, Action.NONE, ""),
    ("storage.raid", "degraded", Verdict.DEGRADED, Action.CONTACT_SUPPORT, "storage_disk_watch"),
    ("storage.smart", "failing", Verdict.FAILED, Action.CONTACT_SUPPORT, "storage_disk_failed"),
    ("storage.smart", "worn_out", Verdict.DEGRADED, Action.CONTACT_SUPPORT, "storage_disk_watch"),
    ("storage.smart", "wearing", Verdict.DEGRADED, Action.NONE, ""),
    ("storage.nvme", "dead", Verdict.FAILED, Action.REBOOT, "host_reboot"),
    ("storage.nvme", "unreachable", Verdict.DEGRADED, Action.NONE, ""),
    ("storage.io_stall", "", Verdict.FAILED, Action.REBOOT, "host_reboot"),
    ("storage.kernel", "filesystem_shutdown", Verdict.FAILED, Action.REBOOT, "host_reboot"),
    ("host.dstate", "driver", Verdict.FAILED, Action.REBOOT, "host_reboot"),
    ("host.dstate", "waiting", Verdict.DEGRADED, Action.NONE, ""),
    ("host.edac", "uncorrected", Verdict.FAILED, Action.CONTACT_SUPPORT, "host_part_failed"),
    ("host.edac", "corrected", Verdict.DEGRADED, Action.CONTACT_SUPPORT, "host_part_watch"),
    ("host.pcie", "fatal", Verdict.FAILED, Action.REBOOT, "host_reboot"),
    ("host.pcie", "narrow", Verdict.DEGRADED, Action.CHECK_CABLING, "host_part_watch"),
    ("host.cpu", "clocksource", Verdict.DEGRADED, Action.REBOOT, "host_reboot_idle"),
    ("host.cpu", "governor", Verdict.DEGRADED, Action.NONE, ""),
    ("host.taint", "oops", Verdict.DEGRADED, Action.REBOOT, "host_reboot_idle"),
    ("host.taint", "machine_check", Verdict.DEGRADED, Action.CONTACT_SUPPORT, "host_part_watch"),
    ("host.processes", "tasks", Verdict.FAILED, Action.NONE, "host_exhausted"),
    ("host.processes", "files", Verdict.FAILED, Action.NONE, "host_exhausted"),
    ("host.processes", "files", Verdict.DEGRADED, Action.NONE, ""),
    ("host.memory", "low", Verdict.FAILED, Action.NONE, "host_memory"),
    ("host.memory", "low", Verdict.DEGRADED, Action.NONE, ""),
    ("storage.read_only", "", Verdict.FAILED, Action.REBOOT, "host_reboot"),
    ("storage.space", "space", Verdict.FAILED, Action.NONE, "host_disk_full"),
    ("storage.space", "inodes", Verdict.FAILED, Action.NONE, "host_disk_full"),
    ("storage.space", "space", Verdict.DEGRADED, Action.NONE, "host_disk_filling"),
    ("npu.health", "critical", Verdict.FAILED, Action.REBOOT, "npu_reboot"),
    ("npu.health", "warning", Verdict.DEGRADED, Action.NONE, ""),
    ("npu.faults", "80E24E00", Verdict.FAILED, Action.REBOOT, "npu_reboot"),
    ("npu.faults", "80E3A201", Verdict.FAILED, Action.CONTACT_SUPPORT, "npu_separate"),
    ("npu.faults", "8C0E4E00", Verdict.DEGRADED, Action.REBOOT, "npu_reboot_idle"),
    ("npu.faults", "8C204E00", Verdict.DEGRADED, Action.RESTART_APP, ""),
    ("npu.faults", "DEADBEEF", Verdict.DEGRADED, Action.CONTACT_SUPPORT, "npu_support"),
    ("npu.count", "lost", Verdict.FAILED, Action.REBOOT, "npu_reboot"),
    ("npu.network", "down", Verdict.DEGRADED, Action.CHECK_CABLING, "npu_network"),
    ("amd.count", "lost", Verdict.FAILED, Action.REBOOT, "amd_reboot"),
    ("amd.ras", "uncorrected_umc", Verdict.FAILED, Action.REBOOT, "amd_reboot"),
    ("amd.bad_pages", "threshold", Verdict.FAILED, Action.CONTACT_SUPPORT, "amd_separate"),
    ("amd.bad_pages", "pending", Verdict.DEGRADED, Action.REBOOT, "amd_reboot_idle"),
    ("amd.throttle", "prochot", Verdict.DEGRADED, Action.CONTACT_SUPPORT, "amd_support"),
    ("site.sdc", "matmul", Verdict.FAILED, Action.CONTACT_SUPPORT, "gpu_sdc"),
    ("site.sdc", "matmul", Verdict.DEGRADED, Action.NONE, ""),
    ("site.anything", "critical", Verdict.FAILED, Action.NONE, "site_check"),
    ("site.anything", "warning", Verdict.DEGRADED, Action.NONE, ""),
    ("bench.gemm", "wrong_result", Verdict.FAILED, Action.CONTACT_SUPPORT, "gpu_sdc"),
    ("bench.nccl_all_reduce", "wrong_result", Verdict.FAILED, Action.CONTACT_SUPPORT, "gpu_sdc"),
    ("bench.gpu_bandwidth", "wrong_result", Verdict.FAILED, Action.CONTACT_SUPPORT, "gpu_sdc"),
    ("bench.gpu_bandwidth", "memory_read", Verdict.FAILED, Action.RESET_GPU, "bench_gpu"),
    ("bench.gpu_bandwidth", "host_to_device", Verdict.FAILED, Action.REBOOT, "gpu_pcie"),
    ("bench.gpu_bandwidth", "device_to_host", Verdict.FAILED, Action.REBOOT, "gpu_pcie"),
    ("bench.gpu_bandwidth", "peer_copy", Verdict.FAILED, Action.RESET_GPU, "bench_nvlink"),
    ("bench.gpu_bandwidth", "memory_read", Verdict.DEGRADED, Action.RESET_GPU, ""),
    ("bench.gemm", "gemm_bf16", Verdict.FAILED, Action.RESET_GPU, "bench_gpu"),
    ("bench.nccl_all_reduce", "node_all_reduce", Verdict.FAILED, Action.RESET_GPU, "bench_nvlink"),
    ("bench.nccl_all_reduce", "adapter_loopback", Verdict.FAILED, Action.CHECK_CABLING, "bench_rdma"),
    ("bench.nccl_all_reduce", "group_slow", Verdict.FAILED, Action.CONTACT_SUPPORT, "bench_group"),
    ("bench.rdma", "rdma_write", Verdict.FAILED, Action.CHECK_CABLING, "bench_rdma"),
    ("bench.storage", "storage_read", Verdict.FAILED, Action.CONTACT_SUPPORT, "bench_storage"),
    ("bench.storage", "wrong_result", Verdict.FAILED, Action.CONTACT_SUPPORT, "bench_storage_wrong"),
    ("bench.storage", "io_error", Verdict.FAILED, Action.CONTACT_SUPPORT, "bench_storage_wrong"),
    ("bench.dcgm", "faulty_memory", Verdict.FAILED, Action.CONTACT_SUPPORT, "bench_dcgm"),
    ("bench.dcgm", "pending_row_remap", Verdict.FAILED, Action.RESET_GPU, "bench_dcgm_reset"),
    ("bench.dcgm", "low_bandwidth", Verdict.FAILED, Action.REBOOT, "bench_dcgm_triage"),
    ("part.condemned", "", Verdict.FAILED, Action.CONTACT_SUPPORT, "gpu_sdc"),
    ("node.lemon", "", Verdict.DEGRADED, Action.CONTACT_SUPPORT, "node_lemon"),
    (FLOODING.check, FLOODING.code, Verdict.DEGRADED, Action.NONE, "node_flood"),
    ("node.admission", "", Verdict.DEGRADED, Action.NONE, "node_admission"),
    (AGENT_LOST.check, AGENT_LOST.code, Verdict.FAILED, Action.RESTART_SERVICE, "agent_lost"),
    (NODE_LOST.check, NODE_LOST.code, Verdict.FAILED, Action.POWER_CYCLE, "node_lost"),
]


@pytest.mark.parametrize(("check", "code", "verdict", "action", "name"), LEVELS)
def test_each_level_is_answered_by_its_family(
    check: str, code: str, verdict: Verdict, action: Action, name: str
) -> None:
    assert name == answer(check, code, verdict, action)


def test_every_playbook_is_somebodys_answer() -> None:
    assert set(PLAYBOOKS) == {name for _, name in LINES if name} | {name for *_, name in LEVELS if name}


@pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.name)
def test_every_failed_finding_of_every_case_is_answered(case: Case) -> None:
    expected = case.expected if isinstance(case.expected, list) else []
    failed = [each for each in expected if each["verdict"] == Verdict.FAILED]
    unanswered = [
        each for each in failed if not answer(case.check, each["code"], Verdict.FAILED, Action(each["action"]))
    ]
    assert unanswered == []


CATALOGUE = [xid(code) for code in xid_catalogue()] + [
    f"nvidia-nvswitch0: SXid (PCI:0000:85:00.0): {code}, {level}Link 3 text"
    for code, level in product(sxid_catalogue(), ("", "Fatal, ", "Non-fatal, "))
]


def test_every_failed_code_of_the_catalogues_is_answered_and_every_app_code_left_alone() -> None:
    for line in CATALOGUE:
        for judged in judge_lines([line.encode()], accept_userspace=True):
            name = answer(judged.check, judged.code, Verdict(judged.verdict), Action(judged.action))
            assert name or judged.verdict != Verdict.FAILED, line
            assert not name or judged.verdict != Verdict.OK, line


def test_every_fatal_row_of_nvlink5_is_answered() -> None:
    for row in nvlink5_rows():
        words = f"(0x{row.v2_value:08x} 0x{row.error_status:08x} 0x0 0x0 0x0 0x0)"
        text = f"{row.units[-1]} Fatal XC0 i0 Link 3 {words}"
        assert answers_to_line(xid(row.xid, text)) == ["nvlink"], text


@pytest.mark.parametrize("verdict", [Verdict.OK, Verdict.UNKNOWN])
def test_nothing_answers_what_is_well_or_unknown(verdict: Verdict) -> None:
    checks = [*(check.id for check in CHECKS), AGENT_LOST.check, NODE_LOST.check]
    for check, action, code in product(checks, Action, ("79", "lost", "")):
        assert answer(check, code, verdict, action) == ""


def burst(*lines: str) -> str:
    """Return the playbook that acts when these lines come at once about one device."""
    found = [PLAYBOOKS[name] for line in lines for name in answers_to_line(line) if name]
    return min(found, key=lambda playbook: playbook.precedence).name


RESET = xid(154, "GPU recovery action changed from 0x0 (None) to 0x4 (Drain and Reset)")


@pytest.mark.parametrize(
    ("lines", "name"),
    [
        ((xid(48), xid(63), xid(94), xid(45)), "gpu_memory"),
        ((xid(48), xid(63), xid(94), RESET), "gpu_memory"),
        ((xid(48), xid(63), xid(95), RESET), "gpu_memory_uncontained"),
        ((xid(119), xid(79)), "gpu_lost"),
        ((xid(62), RESET), "gpu_reset"),
        ((xid(74), xid(45), RESET), "nvlink"),
    ],
)
def test_the_root_of_a_burst_acts(lines: tuple[str, ...], name: str) -> None:
    assert name == burst(*lines)


LADDER = (Verb.RESTART_SERVICE, Verb.RESET_GPU, Verb.REBOOT, Verb.POWER_CYCLE)
DRIVER_ASKS = {
    Action.RESTART_SERVICE: Verb.RESTART_SERVICE,
    Action.RESET_GPU: Verb.RESET_GPU,
    Action.REBOOT: Verb.REBOOT,
}


def rung(playbook: Playbook) -> int:
    """Return how strong the strongest repair of a playbook is, -1 without any."""
    return max((LADDER.index(verb) for verb in {step.verb for step in playbook.steps} & REPAIRS), default=-1)


def acting(*findings: Finding) -> Playbook:
    """Return the playbook that acts when these findings stand together about one device."""
    found = [playbook for finding in findings if (playbook := RULES.answering(finding)) is not None]
    return min(found, key=lambda playbook: playbook.precedence)


GPU_OUTCOMES = [(check.id, outcome) for check in CHECKS if check.id.startswith("gpu.") for outcome in check.outcomes]


@pytest.mark.parametrize("value", range(1, MEANINGS))
def test_what_the_driver_asks_for_outranks_every_table(value: int) -> None:
    """A plug that is out and a part to be replaced are the exceptions: the node is out, and hands come next."""
    wanted = recovery_action(value)
    asked = Finding("gpu.recovery_action", "GPU-0", wanted.code, wanted.verdict, wanted.action, "field 230")
    said = [Finding(check, "GPU-0", each.code, each.verdict, each.action, "table") for check, each in GPU_OUTCOMES]
    playbooks = [acting(asked, finding) for finding in said]
    weaker = {playbook.name for playbook in playbooks if rung(playbook) < LADDER.index(DRIVER_ASKS[wanted.action])}
    assert weaker <= {"gpu_power_cabling", "gpu_row_remap_failed"}


def verbs(name: str) -> set[Verb]:
    """Return what a playbook's automatic part may do."""
    return {step.verb for step in PLAYBOOKS[name].steps}


def test_silence_takes_nothing_out() -> None:
    assert {Verb.WAIT, Verb.VERIFY} == verbs("agent_lost")


@pytest.mark.parametrize(
    "name",
    [
        "gpu_support",
        "nvlink_watch",
        "service_watch",
        "rdma_flap_watch",
        "rdma_link_watch",
        "rdma_configuration",
        "host_disk_filling",
        "npu_support",
        "npu_network",
        "amd_support",
        "host_part_watch",
        "host_inventory",
        "storage_disk_watch",
    ],
)
def test_notices_touch_nothing(name: str) -> None:
    assert {Verb.COLLECT} == verbs(name)


@pytest.mark.parametrize(
    "name",
    [
        "rdma_flap",
        "rdma_link",
        "gpu_row_remap_failed",
        "gpu_slowed",
        "host_disk_full",
        "host_part_failed",
        "npu_separate",
        "amd_separate",
        "host_cooling",
        "storage_disk_failed",
    ],
)
def test_what_software_cannot_mend_is_not_repaired(name: str) -> None:
    assert not verbs(name) & REPAIRS


@pytest.mark.parametrize("name", ["npu_reboot", "npu_reboot_idle", "amd_reboot", "amd_reboot_idle"])
def test_a_device_whose_reset_takes_others_along_is_never_reset(name: str) -> None:
    assert {Verb.REBOOT} == verbs(name) & REPAIRS


@pytest.mark.parametrize("name", ["gpu_lost", "gpu_reboot"])
def test_a_gpu_that_cannot_be_reached_is_never_reset(name: str) -> None:
    assert {Verb.REBOOT, Verb.POWER_CYCLE} == verbs(name) & REPAIRS


@pytest.mark.parametrize("name", ["gpu_lost", "gpu_reboot", "host_reboot"])
def test_power_is_cut_only_where_a_reboot_did_not_come_about(name: str) -> None:
    steps = {step.name: step for step in PLAYBOOKS[name].steps}
    assert (steps["reboot"].on_success, steps["reboot"].on_failure) == ("verify", "power_cycle")
    assert steps["power_cycle"].on_failure == HAND_OVER


def test_only_a_cold_start_clears_a_security_fault() -> None:
    (step,) = (step for step in PLAYBOOKS["gpu_power_cycle"].steps if step.verb is Verb.POWER_CYCLE)
    assert step.parameters == {"start": "cold"}


@pytest.mark.parametrize("playbook", PLAYBOOKS.values(), ids=lambda playbook: playbook.name)
def test_contained_faults_let_jobs_end(playbook: Playbook) -> None:
    drains = [step for step in playbook.steps if step.verb is Verb.DRAIN]
    answered = {verdict for line in playbook.answers for verdict in line.verdicts}
    if drains and Verdict.DEGRADED in answered:
        assert drains[0].parameters["jobs"] == "wait"


@pytest.mark.parametrize("playbook", PLAYBOOKS.values(), ids=lambda playbook: playbook.name)
def test_each_has_its_runbook(playbook: Playbook) -> None:
    assert f"docs/how-to/respond/{playbook.name}.md" == playbook.runbook
    text = (RUNBOOKS / f"{playbook.name}.md").read_text("utf-8")
    assert text.startswith(f"# {playbook.name}: ")
    assert [line for line in text.splitlines() if line.startswith("## ")][: len(SECTIONS)] == SECTIONS


OVER = re.compile(r"^## When it is over\n(.*?)^## ", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("playbook", PLAYBOOKS.values(), ids=lambda playbook: playbook.name)
def test_each_runbook_says_how_its_playbook_ends(playbook: Playbook) -> None:
    (text,) = OVER.findall((RUNBOOKS / f"{playbook.name}.md").read_text("utf-8"))
    said = " ".join(text.split())
    verbs = {step.verb for step in playbook.steps}
    assert ("The node was never out." in said) == (Verb.CORDON not in verbs and playbook.name != "agent_lost")
    assert said.startswith("By itself: ") == (Verb.UNCORDON in verbs and playbook.name != "node_admission")
    assert ("Only when a person says so" in said) == (playbook.clears is Clears.PERSON)
    watched_s = [float(step.parameters["for_s"]) for step in playbook.steps if step.verb is Verb.PROBATION]
    assert [span_s(each) for each in WATCHED.findall(said)] == watched_s[-1:]


WATCHED = re.compile(r"stayed so for (an hour|[\d.]+ (?:minutes|h)) of probation")


def span_s(text: str) -> float:
    """Return how long a span is that a runbook writes."""
    number, _, unit = text.partition(" ")
    return float(number.replace("an", "1")) * (60 if unit == "minutes" else 3600)


def test_no_runbook_is_left_over() -> None:
    assert set(PLAYBOOKS) == {path.stem for path in RUNBOOKS.glob("*.md")}


EXPLANATION = Path(__file__).parents[2] / "docs" / "explanation" / "playbooks.md"
ROW = re.compile(r"^\| `(?P<drill>[a-z-]+)` \| (?:\[(?P<playbook>\w+)\]|none: )", re.MULTILINE)


def drill_table() -> dict[str, str]:
    """Return drill → playbook as the explanation says it, empty for those that nothing answers."""
    return {row["drill"]: row["playbook"] or "" for row in ROW.finditer(EXPLANATION.read_text("utf-8"))}


def test_the_explanation_knows_every_drill() -> None:
    assert {fault.name for fault in FAULTS} == set(drill_table())
    assert set(drill_table().values()) <= {*PLAYBOOKS, ""}


WORDS = {"pci": "0000:3b:00", "serial": "1", "uuid": "GPU-1", "index": "0", "number": "0"}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_drills_kernel_log_is_answered_as_the_explanation_says(fault: DrillFault) -> None:
    lines = [line.format_map(WORDS) for line in fault.effect.lines]
    answers = [name for line in lines for name in answers_to_line(line) if name]
    assert not answers or drill_table()[fault.name] == burst(*lines)
