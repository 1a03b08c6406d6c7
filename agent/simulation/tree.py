"""The files through which an agent sees a simulated machine: NVML's state, a sysfs tree, mounts, and host readings.

They have the form of the real ones, so that the agent's own readers read them: sysfs as the kernel shows it, mountinfo,
and for NVML the text that nvml_library.py and the C test double answer from.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from agent.simulation.hardware import (
    ACTIVE,
    DRIVER_VERSION,
    GPU_MODEL,
    INODE_BYTES,
    MEMORY_BYTES,
    NVLINKS,
    ROOT_BYTES,
    SCRATCH_BYTES,
    SHARED_MEMORY_BYTES,
    SWITCH_BUSES,
    USED_PERCENT,
    Hardware,
    SimulatedGpu,
    SimulatedHost,
    SimulatedPort,
)
from agent.simulation.links import write_links
from agent.simulation.neighbours import write_neighbours
from agent.simulation.rdma_devices import write_rdma_devices
from agent.simulation.services import write_services
from agent.simulation.states import KERNEL_RELEASE, MachineState, draw, replace_file, replace_link
from agent.sources.mounts import Space
from agent.sources.pcie_link import MAX_SPEED, MAX_WIDTH, SPEED, WIDTH
from agent.sources.platform_files import (
    CLOCKSOURCE,
    CORRECTABLE,
    FATAL,
    NONFATAL,
)
from agent.sources.rdma_counters import (
    COUNTERS,
)
from checks.readings import HostReading
from checks.readings.host import Pressure

NVML: Final = "nvml.state"
HOST: Final = "host.json"
SYSFS: Final = "sys"
MOUNTINFO: Final = "proc/self/mountinfo"
FSTAB: Final = "etc/fstab"
TOOLS: Final = "bin"
"""Programs of the machine: the one that reads files, the one that asks disks, and none of this host's."""

PROGRAM_MODE: Final = 0o755
"""Programs of the machine: the one that reads files, those of agent/simulation/services.py, and none of this host's."""

STATES: Final = {1: "DOWN", 2: "INIT", 4: "ACTIVE"}
PHYSICAL_STATES: Final = {2: "Polling", 3: "Disabled", 5: "LinkUp"}
SPEEDS: Final = {400.0: "4X NDR", 10.0: "4X SDR"}
"""Source: kernel, drivers/infiniband/core/sysfs.c."""

MANAGER_LID, FIRST_LID = 1, 0x20
SUBNET_PREFIX: Final = "fe80:0000:0000:0000"
MLX5_COUNTERS: Final = (
    "out_of_sequence",
    "packet_seq_err",
    "local_ack_timeout_err",
    "rnr_nak_retry_err",
    "np_cnp_sent",
)
FIRMWARE: Final = "28.39.1002"
BOARD: Final = "MT_0000000838"
GPU_PCI: Final = ("0x10de", "0x2330", "0x030200")
PORT_PCI: Final = ("0x15b3", "0x1021", "0x020700")
SWITCH_PCI: Final = ("0x10de", "0x22a3", "0x068000")
"""Vendor, device and class of an H100 SXM, a ConnectX-7 with InfiniBand, and an NVSwitch. Source: pci.ids."""

IDLE_GPU: Final = (
    "margin 52",
    "reasons 1",
    "pstate 0",
    "power 70280 700000 700000",
    "sway 2",
    "clocks 345 2619 1980 2619 1980 2619",
    "pcie 5 16 5 16",
    "persistence 1",
    "ecc_mode 1",
    "mig 0",
    "vbios 96.00.99.00.01",
    "inforom G520.0200.00.05",
    f"gsp {DRIVER_VERSION}",
    "gsp_mode 1 1",
    "histogram 2559 1 0 0 0",
    "sram 0 0 0 0",
    "graphics ",
    "compute_mode 0",
    "unrepairable 0",
    *(f"field {number} 0" for number in (74, 94, 95, 161, 162, 163, 169, *range(173, 184), 196, 269, 270, 271)),
    "field 82 43",
    "field 194 -2",
    f"fabric 3 0 {'0' * 32} 0 1aa 1",
)
"""What NVML says of a GPU that does nothing. Source: nvidia-smi -q of an H100 SXM, as published."""

JOB_PID: Final = 40_211
JOB_UTILIZATION: Final = "97 61"
DRIVER_BYTES: Final = 4_718_592
"""Of a job on a GPU: its process, and how busy processors and memory are; and what is in use without any. Source: our
choice."""

SWITCHES: Final = tuple(f"0000:{bus}:00" for bus in SWITCH_BUSES)

DISK: Final = "nvme0n1p2"
DISK_PCI: Final = ("0000:01:00", "0000:02:00")
HEALTHY_DISK: Final = """\
#!/bin/sh
echo '{"critical_warning": 0, "temperature": 310, "avail_spare": 100, "spare_thresh": 10, "percent_used": 2,
"media_errors": 0, "warning_temp_time": 0, "critical_comp_time": 0}'
"""
"""A program that says of any disk what nvme-cli says of one that is well. Source: nvme-cli, `nvme smart-log`."""

CPUS: Final = 192
MODULES: Final = 4
PORT_LINK: Final = {
    SPEED: "32.0 GT/s PCIe",
    MAX_SPEED: "32.0 GT/s PCIe",
    WIDTH: "16",
    MAX_WIDTH: "16",
}
TAINT_OF_DRIVER: Final = 1 << 0 | 1 << 12 | 1 << 13
"""Proprietary, out of tree, unsigned. Source: kernel, Documentation/admin-guide/tainted-kernels.rst."""


class HostFile(msgspec.Struct, frozen=True):
    """What `host.json` holds. `booted_at` is Unix time; `space`: mount point → space, none for one that hangs."""

    facts: HostReading
    booted_at: float
    space: dict[str, Space]
    hung_mount: str = ""


def write_tree(directory: Path, state: MachineState, hardware: Hardware) -> None:
    """Make the files say what the hardware is."""
    files = {
        NVML: nvml_text(hardware),
        MOUNTINFO: _mountinfo(hardware.host),
        FSTAB: f"/dev/{DISK} / ext4 errors=remount-ro 0 1\n/dev/nvme1n1p1 /scratch xfs noatime 0 2\n",
        HOST: msgspec.json.format(msgspec.json.encode(_host_file(state, hardware.host))).decode(),
        **{f"{SYSFS}/{path}": text for path, text in _sysfs(state.name, hardware)},
        "proc/sys/kernel/osrelease": f"{KERNEL_RELEASE}\n",
    }
    for path, text in files.items():
        replace_file(directory / path, text.encode(), scratch=directory)
    replace_link(directory / TOOLS / "grep", shutil.which("grep") or "")
    _write_program(directory / TOOLS / "nvme", HEALTHY_DISK, scratch=directory)
    for gpu in hardware.gpus:
        replace_link(directory / SYSFS / "bus/pci/devices" / f"{gpu.pci}.0", f"../../../devices/{gpu.pci}.0")
    for address in SWITCHES:
        replace_link(directory / SYSFS / "bus/pci/devices" / f"{address}.0", f"../../../devices/{address}.0")
    write_links(directory, directory / TOOLS)
    write_neighbours(directory, directory / SYSFS, directory / TOOLS, state.name)
    write_services(directory, directory / SYSFS, directory / TOOLS, hardware.host)
    write_rdma_devices(directory, directory / SYSFS, hardware.ports)
    for port in hardware.ports:
        adapter = f"devices/{port.pci}.0/infiniband/mlx5_{port.number}"
        replace_link(directory / SYSFS / adapter / "device", "../..")
        replace_link(directory / SYSFS / "bus/pci/devices" / f"{port.pci}.0", f"../../../devices/{port.pci}.0")
        listed = directory / SYSFS / "class/infiniband" / f"mlx5_{port.number}"
        replace_link(listed, f"../../{adapter}" if port.is_listed else "")


def read_host(directory: Path) -> HostFile:
    """Return what the machine's host readings are now."""
    return msgspec.json.decode((directory / HOST).read_bytes(), type=HostFile)


def nvml_text(hardware: Hardware) -> str:
    """Return the state of NVML as text, one fact a line: `<key> <value>` or `gpu <index> <key> <value>`."""
    listed = [gpu for gpu in hardware.gpus if gpu.is_listed]
    lines = [f"driver {DRIVER_VERSION}", f"count {len(listed)}"]
    if hardware.host.driver_returns:
        lines.append(f"fail * {hardware.host.driver_returns}")
    if hardware.host.hangs:
        lines.append("hang *")
    for index, gpu in enumerate(listed):
        lines += [f"gpu {index} {fact}" for fact in (*_gpu_facts(gpu), *_use(hardware.host.job_bytes))]
    return "\n".join(lines) + "\n"


def _gpu_facts(gpu: SimulatedGpu) -> Iterator[str]:
    yield f"uuid {gpu.uuid}"
    yield f"pci {gpu.pci}"
    yield f"serial {gpu.serial}"
    yield f"name {GPU_MODEL}"
    yield f"temperature {gpu.temperature_celsius}"
    yield f"ecc 0 {gpu.ecc_uncorrected}"
    yield f"rows 0 {gpu.remapped_rows} {int(gpu.remap_pending)} {int(gpu.remap_failed)}"
    yield f"recovery {gpu.recovery_action}"
    yield "links " + "".join("0" if link in gpu.broken_links else "1" for link in range(NVLINKS))
    yield from IDLE_GPU
    yield f"dram 0 {gpu.ecc_uncorrected}"
    yield f"return {gpu.returns}"


def _use(job_bytes: int) -> Iterator[str]:
    """Yield what NVML says of who uses a GPU."""
    yield f"processes {JOB_PID}:{job_bytes}" if job_bytes else "processes "
    yield f"memory {DRIVER_BYTES + job_bytes}"
    yield f"utilization {JOB_UTILIZATION if job_bytes else '0 0'}"


def _sysfs(node: str, hardware: Hardware) -> Iterator[tuple[str, str]]:
    """Yield path and text of every file; links come apart from them."""
    yield from _platform()
    for gpu in hardware.gpus:
        yield from _pci(gpu.pci, GPU_PCI)
        yield from _no_errors(gpu.pci)
    for address in SWITCHES:
        yield from _pci(address, SWITCH_PCI)
    yield from _disks(node)
    for port in hardware.ports:
        yield from _pci(port.pci, PORT_PCI)
        yield from _no_errors(port.pci)
        yield from ((f"devices/{port.pci}.0/{name}", f"{text}\n") for name, text in PORT_LINK.items())
        yield from _adapter(port)


def _platform() -> Iterator[tuple[str, str]]:
    """Yield the files of memory modules and of the processors' clock."""
    controller = "devices/system/edac/mc/mc0"
    counts = {"ce_noinfo_count": 0, "ue_noinfo_count": 0}
    for slot in range(MODULES):
        yield f"{controller}/dimm{slot}/dimm_label", f"CPU_SrcID#0_MC#0_Chan#{slot}_DIMM#0\n"
        counts |= {f"dimm{slot}/dimm_ce_count": 0, f"dimm{slot}/dimm_ue_count": 0}
    yield from ((f"{controller}/{name}", f"{count}\n") for name, count in counts.items())
    yield CLOCKSOURCE, "tsc\n"


def _no_errors(address: str) -> Iterator[tuple[str, str]]:
    for severity in (CORRECTABLE, NONFATAL, FATAL):
        yield f"devices/{address}.0/{severity}", "Undefined 0\n"


def _pci(address: str, numbers: tuple[str, str, str]) -> Iterator[tuple[str, str]]:
    for name, number in zip(("vendor", "device", "class"), numbers, strict=True):
        yield f"devices/{address}.0/{name}", f"{number}\n"


def _disks(node: str) -> Iterator[tuple[str, str]]:
    """Yield the files of two disks: the one of the system, and the one of the scratch file system."""
    for number, (address, total_bytes) in enumerate(zip(DISK_PCI, (ROOT_BYTES, SCRATCH_BYTES), strict=True)):
        controller = f"class/nvme/nvme{number}"
        facts = {
            "state": "live",
            "transport": "pcie",
            "address": f"{address}.0",
            "model": "Simulated NVMe disk",
            "serial": f"SIM{int(draw(node, 'disk', number) * 10**9):09d}",
            "firmware_rev": "1.0",
        }
        yield from ((f"{controller}/{name}", f"{text}\n") for name, text in facts.items())
        yield f"block/nvme{number}n1/stat", "  120000 0 4800000 9000 90000 0 3600000 8000 0 15000 17000\n"
        yield f"block/nvme{number}n1/size", f"{total_bytes // 512}\n"


def _adapter(port: SimulatedPort) -> Iterator[tuple[str, str]]:
    device = f"devices/{port.pci}.0"
    adapter = f"{device}/infiniband/mlx5_{port.number}"
    facts = {
        "node_type": "1: CA",
        "node_guid": port.guid,
        "sys_image_guid": port.guid,
        "fw_ver": FIRMWARE,
        "board_id": BOARD,
        "hca_type": "MT4129",
        "ports/1/state": f"{port.state}: {STATES[port.state]}",
        "ports/1/phys_state": f"{port.phys_state}: {PHYSICAL_STATES[port.phys_state]}",
        "ports/1/rate": f"{port.rate_gbit_per_s:g} Gb/sec ({SPEEDS[port.rate_gbit_per_s]})",
        "ports/1/link_layer": "InfiniBand",
        "ports/1/lid": f"{FIRST_LID + port.number:#x}",
        "ports/1/sm_lid": f"{MANAGER_LID:#x}",
        "ports/1/gids/0": f"{SUBNET_PREFIX}:{port.guid}",
        "ports/1/gid_attrs/types/0": "IB/RoCE v1",
        "ports/1/counters/link_downed": f"{min(port.link_downed, 255)}",
        **{f"ports/1/counters/{name}": "0" for name in sorted(COUNTERS - {"link_downed"})},
        **{f"ports/1/hw_counters/{name}": "0" for name in MLX5_COUNTERS},
    }
    for path, text in facts.items():
        yield f"{adapter}/{path}", f"{text}\n"
    interface = {
        "carrier_changes": port.carrier_changes,
        "carrier_down_count": port.carrier_changes // 2,
        "operstate": "up" if port.state == ACTIVE else "down",
        "dev_port": 0,
    }
    for name, value in interface.items():
        yield f"{device}/net/ib{port.number}/{name}", f"{value}\n"


def _write_program(path: Path, script: str, *, scratch: Path) -> None:
    replace_file(path, script.encode(), scratch=scratch)
    path.chmod(PROGRAM_MODE)


def _mountinfo(host: SimulatedHost) -> str:
    root = "ro" if host.is_read_only else "rw"
    return (
        f"21 1 259:2 / / rw,relatime shared:1 - ext4 /dev/{DISK} {root},errors=remount-ro\n"
        "22 21 0:24 / /dev/shm rw,nosuid,nodev shared:2 - tmpfs tmpfs rw,inode64\n"
        "23 21 0:22 / /proc rw,nosuid,nodev,noexec,relatime shared:3 - proc proc rw\n"
        "24 21 259:5 / /scratch rw,noatime shared:4 - xfs /dev/nvme1n1p1 rw,inode64\n"
    )


def _host_file(state: MachineState, host: SimulatedHost) -> HostFile:
    facts = HostReading(
        at_s=0.0,
        memory_total_bytes=MEMORY_BYTES,
        memory_available_bytes=MEMORY_BYTES // 10 * 9,
        load_1min=2.0,
        cpu_count=CPUS,
        zombies=0,
        tasks=2_900,
        tasks_max=4_194_304,
        files_open=9_600,
        files_max=1 << 63,
        pressure=tuple(Pressure(resource, 0.5, 0.0, 0.5, 0.0) for resource in ("cpu", "memory", "io")),
        taint=TAINT_OF_DRIVER,
    )
    space = {
        "/": _space(ROOT_BYTES, host.used_percent),
        "/dev/shm": _space(SHARED_MEMORY_BYTES, 0.1),  # noqa: S108 - a mount point's name, nothing is written
        "/scratch": _space(SCRATCH_BYTES, USED_PERCENT),
    }
    return HostFile(facts, state.booted_at, space, host.hung_mount)


def _space(total_bytes: int, used_percent: float) -> Space:
    inodes = total_bytes // INODE_BYTES
    return Space(total_bytes, int(total_bytes * (1 - used_percent / 100)), inodes, inodes - inodes // 50)
