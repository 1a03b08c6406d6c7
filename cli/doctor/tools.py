"""`tools`: programs without which checks of this host are unknown, or see less."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from agent.bench.nccl_tests import PROGRAM as NCCL_TESTS
from checks.bench_result import Benchmark
from checks.registry import CHECKS
from cli.doctor.diagnosis import AGENT, Check, Diagnosis, Role, advice, fine
from cli.doctor.patient import Patient

FOLDERS: Final = (
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
)


@dataclass(frozen=True, slots=True)
class Tool:
    """One program that may be asked.

    Attributes:
        programs: any of these will do.
        source: of the agent, whose checks need it; empty where `uses` says what does.
        package: where it comes from.
        is_needed: whether this host has anything that it would be asked about.
    """

    programs: tuple[str, ...]
    source: str
    package: str
    is_needed: Callable[[Patient], bool]
    uses: tuple[str, ...] = ()

    def blind(self) -> tuple[str, ...]:
        """Return what is unknown, or sees less, without it."""
        return self.uses or tuple(check.id for check in CHECKS if check.source == self.source)


def _any(pattern: str, *but: str) -> Callable[[Patient], bool]:
    def found(patient: Patient) -> bool:
        names = (path.name for path in patient.place.root.glob(pattern))
        return any(not name.startswith(but) for name in names) if but else any(True for _ in names)

    return found


def _benchmarks(patient: Patient) -> bool:
    has_gpus = any(True for _ in patient.place.root.glob("proc/driver/nvidia/gpus/*"))
    return has_gpus and "bench" in patient.documents[Role.AGENT].get("orders_allowed", ())


TOOLS: Final = (
    Tool(("nvme", "smartctl"), "smart", "nvme-cli", _any("sys/class/nvme/nvme*")),
    Tool(("smartctl",), "smart", "smartmontools", _any("sys/block/sd*")),
    Tool(("mlxlink", "mstlink"), "cable", "mstflint", _any("sys/class/infiniband/mlx5_*")),
    Tool(("ethtool",), "rdma_congestion", "ethtool", _any("sys/class/infiniband/*")),
    Tool(("devlink",), "devlink", "iproute2", _any("sys/class/infiniband/mlx5_*")),
    Tool(("ipmitool",), "bmc", "ipmitool", _any("dev/ipmi*")),
    Tool(("dcgmi",), "", "datacenter-gpu-manager", _benchmarks, (f"bench.{Benchmark.DCGM}",)),
    Tool((NCCL_TESTS,), "", "nccl-tests", _benchmarks, (f"bench.{Benchmark.NCCL_ALL_REDUCE}",)),
)


@dataclass(frozen=True, slots=True)
class Looked:
    """One tool that this host has use for: whether it is here, and what lacks it otherwise."""

    programs: tuple[str, ...]
    package: str
    blind: tuple[str, ...]
    is_here: bool


def read(patient: Patient) -> list[Looked]:
    """Return every tool that this host has use for."""
    needed = [tool for tool in TOOLS if tool.is_needed(patient)]
    return [Looked(tool.programs, tool.package, tool.blind(), is_here(tool, patient)) for tool in needed]


def is_here(tool: Tool, patient: Patient) -> bool:
    """Return whether one of its programs is installed."""
    folders = ":".join(str(patient.place.at(folder)) for folder in FOLDERS)
    return any(shutil.which(name, path=folders) for name in tool.programs)


def judge(facts: list[Looked]) -> Iterator[Diagnosis]:
    """Say what is not seen for want of a program."""
    lacking = [each for each in facts if not each.is_here]
    for each in lacking:
        names = " or ".join(each.programs)
        yield advice(
            f"{names} is not installed: {', '.join(each.blind)} cannot see all there is.", f"Install {each.package}."
        )
    if not lacking:
        yield fine("Every program is here that this host has use for.")


CHECK = Check("tools", "Programs without which checks are unknown.", AGENT, read, judge)
