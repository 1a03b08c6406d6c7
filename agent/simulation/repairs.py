"""What becomes of the ground truth when a fault happens and when a repair is tried. Pure: state in, state out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from agent.simulation.drill_fault import DrillFault, Repair, Target
from agent.simulation.hardware import effect_of, kind_of
from agent.simulation.states import ActiveFault, MachineState, draw

RESTART_FIXES: Final = 0.85
"""Probability that restarting a dead service mends it. Source: fault model, class F15."""


LEAST_S: Final = 5.0
"""What is over by itself stays so long in any case, however fast the simulation runs. Source: our choice, so that who
looks twice a second sees it."""


def inject(state: MachineState, kind: DrillFault, part: str, repair: Repair, *, now: float = 0.0) -> MachineState:
    """Return the state with one more fault, the last of its faults. `now`: Unix time."""
    ends_at = now + max(LEAST_S, kind.lasts_s / state.speedup) if kind.lasts_s else 0.0
    fault = ActiveFault(kind.name, part, state.faults_so_far + 1, repair, ends_at=ends_at)
    return _flapped(replace(state, faults_so_far=fault.number, faults=(*state.faults, fault)), fault)


def after_reset(state: MachineState, index: int) -> MachineState:
    """Return the state after a reset of one GPU, which also takes the rows that waited for it out of use."""
    return _repaired(
        _remapped(state, lambda fault: fault.part == str(index)),
        "reset_gpu",
        lambda fault: kind_of(fault).reset_fixes if fault.part == str(index) else None,
    )


def after_reload(state: MachineState) -> MachineState:
    """Return the state after the driver was loaded anew, which begins every GPU anew as its own reset does.

    Source: our choice; the fault model has no row for it.
    """
    return _repaired(
        _remapped(state, lambda fault: kind_of(fault).target is Target.GPU),
        "reload_driver",
        lambda fault: kind_of(fault).reset_fixes if kind_of(fault).target is Target.GPU else None,
    )


def after_restart(state: MachineState, service: str) -> MachineState:
    """Return the state after a restart of a service."""
    return _repaired(
        state, "restart_service", lambda fault: RESTART_FIXES if kind_of(fault).service == service else None
    )


def after_boot(state: MachineState, action: str, *, boot_id: str, booted_at: float) -> MachineState:
    """Return the state after a reboot or a power cycle. What it did not mend shows itself as it does after a boot."""
    state = _remapped(state, lambda fault: kind_of(fault).target is Target.GPU)
    state = _repaired(state, action, lambda fault: kind_of(fault).reboot_fixes)
    faults = tuple(replace(fault, is_after_boot=True) for fault in state.faults)
    state = replace(state, boot_id=boot_id, booted_at=booted_at, boots=state.boots + 1, faults=faults, flaps={})
    for fault in faults:
        state = _flapped(state, fault)
    return state


def pass_time(state: MachineState, now: float) -> MachineState:
    """Return the state without what is over by itself by now, in Unix time."""
    return replace(state, faults=tuple(fault for fault in state.faults if not 0.0 < fault.ends_at <= now))


def flap(state: MachineState, port: str) -> MachineState:
    """Return the state after the port went down and up once more."""
    return replace(state, flaps=state.flaps | {port: state.flaps.get(port, 0) + 1})


def _repaired(state: MachineState, action: str, chance: Callable[[ActiveFault], float | None]) -> MachineState:
    """Return the state without the faults that the action mended; `chance` is None where it does not reach one."""
    left = []
    for fault in state.faults:
        probability = chance(fault)
        if probability is None:
            left.append(fault)
        elif not _is_mended(state, fault, action, probability):
            left.append(replace(fault, attempts=fault.attempts + 1))
    return replace(state, faults=tuple(left))


def _is_mended(state: MachineState, fault: ActiveFault, action: str, probability: float) -> bool:
    if fault.repair is not Repair.CHANCE:
        return fault.repair is Repair.SUCCEEDS
    return draw(state.seed, state.name, fault.name, fault.number, action, fault.attempts + 1) < probability


def _remapped(state: MachineState, reaches: Callable[[ActiveFault], bool]) -> MachineState:
    """Return the state with the rows counted that the reset of a GPU takes out of use."""
    rows = dict(state.remapped_rows)
    for fault in state.faults:
        if reaches(fault) and effect_of(fault).part.get("remap_pending"):
            rows[fault.part] = rows.get(fault.part, 0) + 1
    return replace(state, remapped_rows=rows)


def _flapped(state: MachineState, fault: ActiveFault) -> MachineState:
    for _ in range(effect_of(fault).flaps):
        state = flap(state, fault.part)
    return state
