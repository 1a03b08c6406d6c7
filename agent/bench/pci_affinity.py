"""Which GPU is nearest to an RDMA adapter, from the bridges of the PCI tree that both hang below.

The number of an adapter says nothing of the number of a GPU: hosts count them in different orders.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

SWITCH: Final = 2
"""From so many shared steps on, the root complex and one bridge, it is a switch or a root port that both share."""

_STEP = re.compile(r"pci[0-9a-f]{4,8}:[0-9a-f]{2}|[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", re.ASCII)


def steps_of(parts: Sequence[str]) -> tuple[str, ...]:
    """Return the PCI steps in the parts of a device's path below /sys/devices, from the root complex to itself."""
    return tuple(part for part in parts if _STEP.fullmatch(part))


def nearest_gpus(adapters: Mapping[str, Sequence[str]], gpus: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return adapter → the GPU that it is nearest to, without the adapters of which that cannot be said.

    Of several GPUs that are equally near an adapter gets the one that fewest others have. Where nothing but the root
    complex is shared with more than one GPU, as virtual machines make it look, none is nearest.

    Args:
        adapters, gpus: name → its steps, as of `steps_of`.
    """
    found: dict[str, str] = {}
    taken: Counter[str] = Counter()
    for adapter, steps in sorted(adapters.items()):
        shared = {gpu: _shared(steps, of_gpu) for gpu, of_gpu in gpus.items()}
        most = max(shared.values(), default=0)
        near = sorted((taken[gpu], gpu) for gpu, count in shared.items() if count == most)
        if most == 0 or (most < SWITCH and len(near) > 1):
            continue
        found[adapter] = near[0][1]
        taken[near[0][1]] += 1
    return found


def _shared(one: Sequence[str], other: Sequence[str]) -> int:
    """Return how many steps both have in common from the root on."""
    same = [a == b for a, b in zip(one, other, strict=False)]
    return same.index(False) if False in same else len(same)
