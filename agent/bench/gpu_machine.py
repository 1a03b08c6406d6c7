"""What the GPUs of this host are, for results to be compared with those of hosts like it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from agent.bench.cuda import Cuda, Gpu
from agent.bench.nvidia_files import kind_of, nvidia_driver
from checks.bench_limits import shipped_limits
from checks.bench_nvls import uses_nvls
from checks.bench_result import BenchMachine

DIGEST_LETTERS: Final = 12


def machine_of(cuda: Cuda, gpus: Sequence[Gpu], *, nccl: str = "", root: Path = Path("/")) -> BenchMachine:
    """Return what is known of the host. A kind of GPU that has no limits goes by its model's name.

    Args:
        root: where `sys` is.
    """
    return BenchMachine(
        sku=kind_of(gpu.model for gpu in gpus),
        driver=nvidia_driver(root) or "CUDA {}.{}".format(*cuda.version),
        nccl=nccl,
        topology=_topology(cuda, gpus),
        gpus=len(gpus),
    )


def expects_nvls(gpus: Sequence[Gpu]) -> bool:
    """Return whether NCCL should let the NVSwitches add up: enough GPUs of a kind, in a node that has the switches."""
    known = all(shipped_limits().sku_of(gpu.model) for gpu in gpus) or all(gpu.multicast for gpu in gpus)
    return known and all(uses_nvls(gpu.capability, len(gpus)) for gpu in gpus)


def _topology(cuda: Cuda, gpus: Sequence[Gpu]) -> str:
    """Return a digest of where the GPUs sit, and of how the driver ranks the ways between them."""
    ways = [
        f"{cuda.rank_between(one, other) if cuda.can_copy_between(one, other) else '-'}"
        for one in gpus
        for other in gpus
        if one.index != other.index
    ]
    facts = " ".join([*(gpu.pci for gpu in gpus), *ways])
    return hashlib.sha256(facts.encode()).hexdigest()[:DIGEST_LETTERS]
