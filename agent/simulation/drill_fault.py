"""What is said of a fault that a drill can make happen: what it does to a node, and how likely a repair mends it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Repair(StrEnum):
    """The drill's parameter `repair`: whether attempts to repair will work."""

    CHANCE = "chance"
    SUCCEEDS = "succeeds"
    FAILS = "fails"


class Target(StrEnum):
    """What kind of part a fault is about."""

    GPU = "gpu"
    PORT = "port"
    HOST = "host"


@dataclass(frozen=True, slots=True)
class Effect:
    """What a fault does to the node for as long as it is there.

    Attributes:
        lines: written to the kernel log when it happens, and again when a repair did not mend it. `{pci}`, `{serial}`,
            `{uuid}`, `{index}` are the GPU's, `{pci}` and `{number}` the port's.
        part: fields of the GPU, port or host → value (agent/simulation/hardware.py).
        severity: syslog severity of the lines.
        flaps: how often the port goes down, or down and up, when it happens.
    """

    lines: tuple[str, ...] = ()
    part: dict[str, Any] = field(default_factory=dict)
    severity: int = 3
    flaps: int = 0


@dataclass(frozen=True, slots=True)
class DrillFault:
    """One fault.

    Attributes:
        title: what it is called between people.
        what_happens: on the node, as a person would see it.
        fault_class: its row of the fault model, which its probabilities come from.
        seam: the lowest place where it is injected.
        expected: what fleetmend should do about it.
        reset_fixes: probability that a reset of the GPU mends it, 0 where a reset does not reach it.
        reboot_fixes: the same of a reboot or a power cycle.
        effect: from the moment it happens.
        effect_after_boot: after a boot that did not mend it; `None` for the same as before.
        service: the unit whose restart mends it, empty for none.
        is_momentary: it leaves nothing behind that could be mended.
        lasts_s: simulated seconds after which it is over by itself, 0 for one that stays until it is mended.
    """

    name: str
    title: str
    what_happens: str
    fault_class: str
    seam: str
    expected: str
    target: Target
    reset_fixes: float = 0.0
    reboot_fixes: float = 0.0
    effect: Effect = field(default_factory=Effect)
    effect_after_boot: Effect | None = None
    service: str = ""
    is_momentary: bool = False
    lasts_s: float = 0.0
    aliases: tuple[str, ...] = ()
