"""Which GPUs can be reset alone, by generation: data, with its source."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Alone(StrEnum):
    """When a GPU with NVLinks can be reset without the GPUs at their other ends."""

    NEVER = "never"
    BESIDE_A_FABRIC_MANAGER = "beside a fabric manager"
    """On a host with NVSwitches only while Fabric Manager runs; without NVSwitches always."""
    ALWAYS = "always"


@dataclass(frozen=True, slots=True)
class Generation:
    """GPUs of one generation. `since`: compute capability of the first."""

    name: str
    since: tuple[int, int]
    alone: Alone


GENERATIONS: Final = (
    Generation("Hopper or later", (9, 0), Alone.ALWAYS),
    Generation("Ampere or Ada", (8, 0), Alone.BESIDE_A_FABRIC_MANAGER),
    Generation("before Ampere", (0, 0), Alone.NEVER),
)
"""Newest first. Source: nvidia-smi(1), --gpu-reset; CUDA C++ Programming Guide, compute capabilities. Where this is too
hopeful, nvidia-smi itself refuses and names the GPUs that have to be reset as well: it resets none that it was not
given."""


def generation_of(capability: tuple[int, int]) -> Generation:
    """Return the generation of a GPU."""
    return next(each for each in GENERATIONS if capability >= each.since)
