"""Every program that is asked for evidence, and every file that is copied: one line each, as data.

No program here changes anything on the host. They run one after another, quick ones first: what hangs costs its own
limit and what comes after it, not what was gathered before. None of them sees the agent's environment.

Left out on purpose: environments, process arguments and /proc/cmdline, in which sites keep secrets. The vendor's bug
report has the last two in it; `evidence.left_out = ["nvidia-bug-report"]` leaves it out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Tool:
    """One program.

    Attributes:
        name: of its file in the bundle, and in `evidence.left_out`.
        command: `{interface}` and `{rdma}` stand for each network interface and each RDMA device of the host, `{since}`
            for the beginning of the window of logs, `{output}` for a path that the program writes to by itself.
        why: what people look for in it.
        limit_s: then it is killed, and what it had printed is kept.
        most_bytes: of what it prints; the rest is cut off.
        takes_root: without root it is not run.
        again: run in its place when it was killed at its limit.
    """

    name: str
    command: tuple[str, ...]
    why: str
    limit_s: float = 20.0
    most_bytes: int = 8 * MIB
    takes_root: bool = False
    again: tuple[str, ...] = ()


JOURNAL: Final = ("journalctl", "--no-pager", "--quiet", "--output=short-iso-precise")

TOOLS: Final = (
    Tool("uname.txt", ("uname", "-a"), "the kernel that runs", limit_s=5.0),
    Tool("lspci.txt", ("lspci", "-vvv"), "link widths, AER status, devices that fell off the bus"),
    Tool("lspci-tree.txt", ("lspci", "-tv"), "which switch a device hangs on"),
    Tool(
        "journal-kernel.txt",
        (*JOURNAL, "-k", "-b", "0", "--since", "{since}"),
        "the kernel log around the fault",
        limit_s=30.0,
        most_bytes=32 * MIB,
    ),
    Tool(
        "journal-kernel-previous-boot.txt",
        (*JOURNAL, "-k", "-b", "-1", "-n", "20000"),
        "the last words of the boot before, when the node rebooted since",
        limit_s=30.0,
        most_bytes=16 * MIB,
    ),
    Tool(
        "journal-services.txt",
        (*JOURNAL, "-n", "5000", "-u", "nvidia-fabricmanager", "-u", "nvidia-persistenced", "-u", "nvidia-imex"),
        "what the services of the driver said",
        limit_s=30.0,
    ),
    Tool("ethtool-{interface}.txt", ("ethtool", "-S", "{interface}"), "every counter of an interface", limit_s=10.0),
    Tool("ibstat.txt", ("ibstat",), "state and rate of every RDMA port", limit_s=10.0),
    Tool("rdma-link.txt", ("rdma", "-d", "link"), "RDMA devices as the kernel has them", limit_s=10.0),
    Tool(
        "mlxlink-{rdma}.txt",
        ("mlxlink", "-d", "{rdma}", "-m", "-c", "-e"),
        "cable, optical levels, error counters and eye of a port",
        limit_s=30.0,
        takes_root=True,
    ),
    Tool("nvidia-smi-topology.txt", ("nvidia-smi", "topo", "-m"), "which GPU is near which adapter"),
    Tool("nvidia-smi.txt", ("nvidia-smi", "-q"), "everything that each GPU says of itself", limit_s=30.0),
    Tool("nvidia-smi.xml", ("nvidia-smi", "-q", "-x"), "the same for programs", limit_s=30.0),
    Tool("nvidia-smi-nvlink.txt", ("nvidia-smi", "nvlink", "-e"), "error counters of every NVLink"),
    Tool(
        "nvidia-bug-report",
        ("nvidia-bug-report.sh", "--output-file", "{output}"),
        "what NVIDIA asks for with every report and every return",
        limit_s=600.0,
        most_bytes=64 * MIB,
        takes_root=True,
        again=("nvidia-bug-report.sh", "--safe-mode", "--output-file", "{output}"),
    ),
)
"""In the order in which they run.

The bug report comes last and has what is left of the time. It runs whole at first, because what `--safe-mode` leaves
out is what a return needs; where that hangs, as on a GPU that does not answer, it runs again in safe mode. The vendor
then advises `--extra-system-data` as well; it is left out, because it has every CPU print its stack by a magic SysRq,
and a node whose jobs still run may be asked for evidence.
Source: NVIDIA, GPU Debug Guidelines, "Reporting a GPU issue"; nvidia-bug-report.sh --help; our choice.
"""

FIRST_SHARE: Final = 0.6
"""Of the time that is left, for the first run of a tool that may run again. Source: our choice."""


@dataclass(frozen=True, slots=True)
class Copied:
    """One file of the host that is copied, from its end when it is too long."""

    name: str
    path: str
    why: str
    most_bytes: int = 4 * MIB


COPIED: Final = (
    Copied("kernel-version.txt", "/proc/version", "how the kernel was built"),
    Copied("driver-version.txt", "/proc/driver/nvidia/version", "the driver that is loaded"),
    Copied("modules.txt", "/proc/modules", "every kernel module, with its taint"),
    Copied("interrupts.txt", "/proc/interrupts", "a device whose interrupts ceased"),
    Copied("meminfo.txt", "/proc/meminfo", "memory that ran out"),
    Copied("mounts.txt", "/proc/self/mounts", "file systems, and which went read-only"),
    Copied("mdstat.txt", "/proc/mdstat", "software RAID"),
    Copied("fabricmanager.log", "/var/log/fabricmanager.log", "the NVSwitch fabric's own log", 16 * MIB),
)

RING: Final = "kernel-ring.txt"
"""Name of the file with all that is left in the kernel's ring, as /dev/kmsg has it, without waiting for more."""

NAMES: Final = frozenset(
    {RING, *(tool.name.replace("-{interface}", "").replace("-{rdma}", "") for tool in TOOLS)}
    | {copied.name for copied in COPIED}
)
"""Everything that `evidence.left_out` may name."""


def short_name(tool: Tool) -> str:
    """Return what a tool is called in settings, for all the devices that it is asked about."""
    return tool.name.replace("-{interface}", "").replace("-{rdma}", "")
