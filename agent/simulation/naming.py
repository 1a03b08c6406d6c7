"""Which part of a machine a drill means, and what else it asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from agent.machine import ActionRefused
from agent.simulation.drill_fault import DrillFault, Repair, Target
from agent.simulation.hardware import derive
from agent.simulation.states import MachineState, draw

PARAMETERS: Final = frozenset({"fault", "device", "repair", "stay_dead"})
TRUTHS: Final = {"true": True, "false": False}


def values_of(parameters: Mapping[str, str]) -> tuple[Repair, bool]:
    """Return the parameters `repair` and `stay_dead`.

    Raises:
        ActionRefused: one is unknown or has no such value.
    """
    strange = sorted(set(parameters) - PARAMETERS)
    if strange:
        raise ActionRefused(f"unknown parameter {', '.join(strange)}; there are repair and stay_dead")
    repair, stay_dead = parameters.get("repair", Repair.CHANCE), parameters.get("stay_dead", "false")
    if repair not in Repair.__members__.values():
        raise ActionRefused(f"repair is {repair!r}, not one of {', '.join(Repair)}")
    if stay_dead not in TRUTHS:
        raise ActionRefused(f"stay_dead is {stay_dead!r}, not true or false")
    return Repair(repair), TRUTHS[stay_dead]


def find_part(state: MachineState, kind: DrillFault, device: str) -> tuple[str, str]:
    """Return the part that a device names, and its name in a sentence. No device: any part that is well.

    Raises:
        ActionRefused: the machine has no such part.
    """
    parts = _parts(state, kind.target)
    if not device:
        return _any_part(state, kind, parts)
    for part, name, names in parts:
        if device in names:
            return part, name
    known = ", ".join(names[0] for _, _, names in parts)
    raise ActionRefused(f"{kind.name} needs a {kind.target}, and {device!r} is none of {known}")


Part = tuple[str, str, tuple[str, ...]]
"""Part, its name in a sentence, and all that it is called."""


def _parts(state: MachineState, target: Target) -> Sequence[Part]:
    hardware = derive(state)
    if target is Target.GPU:
        return [
            (str(gpu.index), f"GPU {gpu.index} ({gpu.uuid} at {gpu.pci})", (gpu.uuid, gpu.pci, str(gpu.index)))
            for gpu in hardware.gpus
        ]
    if target is Target.PORT:
        return [(port.name, f"port {port.name}", (port.name, port.name.partition("/")[0])) for port in hardware.ports]
    return [(Target.HOST, "the host", ("host", "/", state.name))]


def _any_part(state: MachineState, kind: DrillFault, parts: Sequence[Part]) -> tuple[str, str]:
    """Return a part without a fault, or any when all have one."""
    broken = {fault.part for fault in state.faults}
    well = [part for part in parts if part[0] not in broken] or parts
    index = int(draw(state.seed, state.name, kind.name, state.faults_so_far) * len(well))
    return well[index][:2]
