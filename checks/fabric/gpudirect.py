"""`fabric.gpudirect`: hosts whose RDMA adapters have no way to the memory of their NVIDIA GPUs.

Without one every transfer is copied through the host's memory: nothing fails, and collectives take several times as
long. Two ways exist: a module that hands GPU memory to the adapters, or dma-buf. EFA's driver brings a way of its own,
so adapters without InfiniBand or RoCE ask for none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.policy import EVERYWHERE, Policy
from checks.rdma_adapters import is_infiniband, is_roce, ports_of
from checks.readings import RdmaAdaptersReading

ID = "fabric.gpudirect"

PROPRIETARY = "P"
"""Letter of a module whose licence is not open, so NVIDIA's open modules lack it. Source: kernel,
Documentation/ABI/stable/sysfs-module, `taint`."""

DMA_BUF_SINCE = (5, 12)
"""Kernel with dma-buf for RDMA. Source: NVIDIA GPU Operator documentation, GPUDirect RDMA: kernel 5.12 or later and the
open GPU kernel modules."""

_RELEASE = re.compile(r"(\d{1,3})\.(\d{1,4})(?!\d)", re.ASCII)


def judge(readings: Sequence[RdmaAdaptersReading]) -> tuple[Finding, ...]:
    """Return the host when neither way is open. That the driver is not loaded at all is for `gpu.nvml`."""
    newest = readings[-1]
    wants_it = any(is_infiniband(owned) or is_roce(owned) for owned in ports_of(newest) if owned[0].pci)
    if not wants_it or not newest.nvidia_gpus or not newest.has_nvidia_driver or newest.peer_memory:
        return ()
    release = _RELEASE.match(newest.kernel)
    if not newest.nvidia_taint or release is None:
        what = "the kernel's release" if newest.nvidia_taint else "whether the GPU driver's modules are the open ones"
        because = f"nvidia_peermem is not loaded, and {what} cannot be read: whether dma-buf serves is not known"
        return (Finding(ID, EVERYWHERE, "unreadable", Verdict.UNKNOWN, Action.NONE, because),)
    lacking = _lacking(newest.nvidia_taint, (int(release[1]), int(release[2])), newest.kernel)
    if not lacking:
        return ()
    because = (
        f"nvidia_peermem is not loaded and dma-buf does not serve ({' and '.join(lacking)}): transfers between "
        f"{newest.nvidia_gpus} GPUs and the network go through host memory"
    )
    evidence = {"nvidia_taint": newest.nvidia_taint, "kernel": newest.kernel}
    return (Finding(ID, EVERYWHERE, "no_path", Verdict.DEGRADED, Action.CONTACT_SUPPORT, because, evidence=evidence),)


def _lacking(taint: str, release: tuple[int, int], kernel: str) -> list[str]:
    """Return what dma-buf needs and this host does not have."""
    needs = ".".join(map(str, DMA_BUF_SINCE))
    return [
        *(["the GPU driver's modules are the proprietary ones"] if PROPRIETARY in taint else []),
        *([f"kernel {kernel} is older than {needs}"] if release < DMA_BUF_SINCE else []),
    ]


CHECK = LevelCheck(
    id=ID,
    summary="Hosts whose RDMA adapters have no direct way to the memory of their NVIDIA GPUs.",
    reading=RdmaAdaptersReading,
    judge=judge,
    outcomes=(
        Outcome("no_path", Verdict.DEGRADED, Action.CONTACT_SUPPORT),
        Outcome("unreadable", Verdict.UNKNOWN),
    ),
    policy=Policy(
        raise_after=2, boot_grace_s=300.0, because="the module is loaded by a service some time after the boot"
    ),
    thresholds={
        "peer memory": "`nvidia_peermem` or `nv_peer_mem` is loaded",
        "dma-buf": "the open GPU kernel modules, and kernel 5.12 or later",
    },
)
