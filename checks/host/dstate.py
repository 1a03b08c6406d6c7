"""`host.dstate`: processes that have not run for minutes because they wait in the kernel and cannot be killed.

Sleeping so is normal for moments. A process counts only when it has not been given a processor once in all that time,
as the kernel's own look for hung tasks has it. One that waits in the NVIDIA driver is never coming back without a
reboot; one that waits for a file server comes back with the server.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.readings import HostReading
from checks.readings.host import WaitingProcess

ID = "host.dstate"
WAITED_S = 300.0
"""Source: gpud and gcm, both 5 minutes; the kernel's own hung-task report comes after 2."""

WINDOW_S = 420.0
"""Longer than the wait, so that a reading which came a little early does not hide it."""

DRIVER_NAME = re.compile(r"nvidia|nv_")
DRIVER_CHANNEL = re.compile(r"_?nv(?:idia|_|\d|UvmI)|uvm_|os_acquire_(?:mutex|semaphore|rwlock)")
"""Names of the NVIDIA driver's tasks and clients, and of its functions. Source: gpud for the names; NVIDIA's open
kernel modules (nvidia/nv.c, nvidia/os-interface.c, nvidia-uvm) for the functions."""

KNOWN_CHANNEL = re.compile(r"mlx5_|nfs|rpc_|ldlm_|ptlrpc_|cl_sync_|ceph_|jbd2_|xfs_|nvme_|blk_")
"""Functions of network adapters, file systems and disks: of the kernel's own threads only those that wait there count,
as some drivers keep a thread of theirs in this state for good."""

Identity = tuple[int, int, int | None]


def judge(readings: Sequence[HostReading]) -> tuple[Finding, ...]:
    """Return every kind of process that has waited for too long."""
    hung: dict[tuple[str, bool], list[WaitingProcess]] = defaultdict(list)
    for process in _hung(readings):
        hung[process.name, is_in_driver(process)].append(process)
    return tuple(_finding(processes, in_driver=in_driver) for (_, in_driver), processes in sorted(hung.items()))


def is_in_driver(process: WaitingProcess) -> bool:
    """Return whether the process waits in the NVIDIA driver."""
    return bool(DRIVER_NAME.match(process.name) or DRIVER_CHANNEL.match(process.waits_in))


def _hung(readings: Sequence[HostReading]) -> Iterator[WaitingProcess]:
    newest = readings[-1]
    looks = [reading for reading in readings if reading.at_s > newest.at_s - WAITED_S]
    if not any(reading.at_s <= newest.at_s - WAITED_S for reading in readings):
        return
    before = [reading for reading in readings if reading.at_s <= newest.at_s - WAITED_S][-1]
    unmoved = set.intersection(*({_identity(each) for each in look.waiting} for look in (before, *looks)))
    for process in newest.waiting:
        if process.switches is not None and _identity(process) in unmoved and _counts(process):
            yield process


def _counts(process: WaitingProcess) -> bool:
    return not process.is_kernel_thread or is_in_driver(process) or bool(KNOWN_CHANNEL.match(process.waits_in))


def _identity(process: WaitingProcess) -> Identity:
    return process.pid, process.started_ticks, process.switches


def _finding(processes: Sequence[WaitingProcess], *, in_driver: bool) -> Finding:
    first = processes[0]
    many = f"{len(processes)} processes {first.name}" if len(processes) > 1 else f"{first.name} ({first.pid})"
    where = f" in {first.waits_in}" if first.waits_in else ""
    waits = f"{many} can neither run nor be killed since {WAITED_S:.0f} s at least, waiting{where}"
    evidence = {"processes": ", ".join(f"{each.pid} {each.waits_in}".strip() for each in processes)}
    if in_driver:
        because = f"{waits}: the NVIDIA driver is stuck, drain and reboot the host"
        return Finding(ID, first.name, "driver", Verdict.FAILED, Action.REBOOT, because, evidence=evidence)
    because = f"{waits}: look at what is behind that, a file server or a disk"
    return Finding(ID, first.name, "waiting", Verdict.DEGRADED, Action.NONE, because, evidence=evidence)


CHECK = LevelCheck(
    id=ID,
    summary="Processes that wait in the kernel for minutes and cannot be killed.",
    reading=HostReading,
    judge=judge,
    outcomes=(
        Outcome("driver", Verdict.FAILED, Action.REBOOT),
        Outcome("waiting", Verdict.DEGRADED),
    ),
    window_s=WINDOW_S,
    thresholds={
        "waited": f"{WAITED_S:.0f} s in state D without being given a processor once (gpud, gcm)",
        "driver": "named nvidia* or nv_*, or waiting in a function of the NVIDIA driver (gpud; NVIDIA's sources)",
    },
)
