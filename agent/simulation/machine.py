"""A simulated node under a real agent. Its whole state is a directory, which any process may open.

What an agent is ordered to do to it really mends the fault, or really fails to, by the probabilities of the fault
model: the same seed, machine, fault and attempt always end the same way.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

from agent.hold_flag import FOLDER
from agent.machine import ActionFailed, ActionRefused, Done
from agent.simulation import repairs, states
from agent.simulation.drill_fault import DrillFault, Repair, Target
from agent.simulation.faults import AGENT_KILLED, FAULTS, GPU_IS_LOST, find_fault
from agent.simulation.hardware import DRIVER_VERSION, Hardware, SimulatedGpu, derive, effect_of, kind_of
from agent.simulation.kernel_log import INFORMATION, KernelLogFiles
from agent.simulation.naming import find_part, values_of
from agent.simulation.states import ActiveFault, MachineState, draw_duration_s
from agent.simulation.tree import write_tree

EX_REBOOTING: Final = 75
"""Exit code of an agent whose machine goes down for a reboot. Source: sysexits.h, EX_TEMPFAIL."""

RESET_S: Final = (60.0, 0.4)
REBOOT_S: Final = (600.0, 0.4)
"""Median and sigma of lognormal durations. Source: fault model, table 2.3."""

RESTART_S: Final = (5.0, 0.4)
RELOAD_S: Final = (45.0, 0.4)
"""Source: our choice; the fault model has none for a service, nor for the driver, which takes less than a reboot and
about as long as the reset of a GPU."""

ANSWER_S: Final = 0.5
"""Between the answer to a drill that kills the agent and its death, so that the answer can leave."""

SERVICES: Final = ("nvidia-dcgm", "nvidia-fabricmanager", "nvidia-imex", "nvidia-persistenced", "openibd", "slurmd")
XID_SEVERITY: Final = 3


def _kill_this_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class Seams:
    """What a simulated machine does to this process and to time.

    Attributes:
        wall: gives Unix time.
        sleep: waits so many seconds.
        end_process: ends the agent with an exit code when the machine goes down.
        kill_process: kills the agent.
    """

    wall: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    end_process: Callable[[int], object] = os._exit
    kill_process: Callable[[], object] = _kill_this_process


class SimulatedMachine:
    """One simulated node. It is what agent/machine.py asks for, and more that only a simulation can do."""

    simulated = True

    def __init__(self, directory: Path, seams: Seams | None = None) -> None:
        """Use the machine in this directory; `open` and `create` see to it that there is one."""
        self.directory = directory
        self._seams = seams or Seams()
        self._log = KernelLogFiles(directory, self._seams.wall)
        self._going_down: asyncio.Task[None] | None = None

    @classmethod
    def open(cls, directory: Path, seams: Seams | None = None) -> Self:
        """Return the machine in this directory.

        Raises:
            MachineBroken: there is none.
        """
        states.load(directory)
        return cls(directory, seams)

    @classmethod
    def create(cls, directory: Path, *, name: str, seed: int, speedup: float, seams: Seams | None = None) -> Self:
        """Return a machine in this directory, switched on. One that is there already keeps its boot and its faults.

        Raises:
            MachineBroken: what is there already is damaged.
        """
        directory.mkdir(parents=True, exist_ok=True)
        machine = cls(directory, seams)
        with states.locked(directory):
            machine._log.create()
            if (directory / states.FILE).exists():
                machine._write(replace(states.load(directory), name=name, seed=seed, speedup=speedup))
            else:
                machine._boot(MachineState(name, seed, speedup, boot_id="", booted_at=0.0, boots=0), "power_on")
        return machine

    def boot_id(self) -> str:
        """Return the id of the running boot."""
        return self.state().boot_id

    async def recover(self) -> str:
        """Return nothing: a repair of a simulated machine takes nothing away."""
        return ""

    async def reset_gpu(self, device: str, *, neighbours: bool = False) -> Done:
        """Reset the GPU with this UUID and no other. That it went well does not say that it mended anything."""
        del neighbours
        gpu = self._gpu(device)
        await self._spend(RESET_S, f"reset {gpu.index}")
        with states.locked(self.directory):
            if self.hardware().host.hangs:
                raise ActionFailed(f"nvidia-smi --gpu-reset -i {device} hangs, as every call into the driver does")
            if not gpu.is_listed:
                raise ActionFailed(f"nvidia-smi --gpu-reset -i {device}: no such GPU, the driver did not find it")
            state = repairs.after_reset(self.state(), gpu.index)
            self._write(state)
            self._log_faults(state, (fault for fault in state.faults if fault.part == str(gpu.index)))
            if derive(state).gpus[gpu.index].returns == GPU_IS_LOST:
                raise ActionFailed(f"nvidia-smi --gpu-reset -i {device}: unable to reset the GPU, it is lost")
        return Done(f"GPU {device} at {gpu.pci} was reset", {"nvidia-smi": f"GPU {gpu.pci}.0 was successfully reset."})

    async def reload_driver(self) -> Done:
        """Unload the driver and load it again, by which every GPU that the driver can still find begins anew."""
        await self._spend(RELOAD_S, "reload")
        with states.locked(self.directory):
            if self.hardware().host.hangs:
                raise ActionFailed("modprobe -r nvidia hangs, as every call into the driver does: reboot the host")
            state = repairs.after_reload(self.state())
            self._write(state)
            self._log_faults(state, (fault for fault in state.faults if kind_of(fault).target is Target.GPU))
        return Done(f"the driver was unloaded and loaded again: version {DRIVER_VERSION}")

    async def restart_service(self, service: str) -> Done:
        """Restart a systemd unit."""
        unit = service.removesuffix(".service")
        if unit not in SERVICES:
            raise ActionRefused(f"no service {service!r} on this node; there are {', '.join(SERVICES)}")
        await self._spend(RESTART_S, f"restart {unit}")
        with states.locked(self.directory):
            self._write(repairs.after_restart(self.state(), unit))
        return Done(f"{unit} was restarted")

    async def reboot(self, *, force: bool = False) -> Done:
        """Begin a reboot; when it is through, this process is ended with code 75. Nothing here has to be forced."""
        del force
        if self._going_down is not None and not self._going_down.done():
            raise ActionRefused("a reboot is under way already")
        duration_s = self._duration_s(REBOOT_S, "reboot")
        self._going_down = asyncio.create_task(self._go_down(duration_s), name="simulated reboot")
        return Done(f"rebooting; the node is back in about {duration_s:.1f} s")

    async def inject_fault(self, fault: str, *, device: str, parameters: Mapping[str, str]) -> Done:
        """Make a fault of the catalogue happen.

        Args:
            device: UUID, PCI address or index of a GPU, name of a port; empty for any.
            parameters: `repair` (`chance`, `succeeds`, `fails`), `stay_dead` (`true`, `false`).
        """
        kind = find_fault(fault)
        if kind is None:
            raise ActionRefused(f"no fault is called {fault!r}; there are {', '.join(kind.name for kind in FAULTS)}")
        repair, stay_dead = values_of(parameters)
        if kind.name == AGENT_KILLED:
            return self._kill_agent(stay_dead=stay_dead)
        with states.locked(self.directory):
            return self._inject(kind, device or parameters.get("device", ""), repair)

    def state(self) -> MachineState:
        """Return the ground truth."""
        return states.load(self.directory)

    def hardware(self) -> Hardware:
        """Return the hardware as it is now."""
        return derive(self.state())

    def log_xid(self, gpu: int, code: int) -> None:
        """Write an Xid line about a GPU to the kernel log, and change nothing else."""
        pci = self.hardware().gpus[gpu].pci
        line = f"NVRM: Xid (PCI:{pci}): {code}, pid='<unknown>', name=<unknown>, written by hand"
        self.log((line,), severity=XID_SEVERITY)

    def log(self, lines: Iterable[str], *, severity: int = INFORMATION) -> None:
        """Write lines to the kernel log."""
        with states.locked(self.directory):
            self._log.append(tuple(lines), severity=severity, booted_at=self.state().booted_at)

    def pass_time(self) -> None:
        """Let every port that flaps go down and up once, and let what is over by itself be over."""
        if self._passed(state := self.state()) != state:
            with states.locked(self.directory):
                self._write(self._passed(self.state()))

    def _passed(self, state: MachineState) -> MachineState:
        for port in derive(state).ports:
            if port.is_flapping:
                state = repairs.flap(state, port.name)
        return repairs.pass_time(state, self._seams.wall())

    def power_cycle(self) -> None:
        """Switch off and on again. The supervisor does this, and ends and starts the agent itself."""
        with states.locked(self.directory):
            self._boot(replace(self.state(), agent_stays_dead=False), "power_cycle")

    def mend(self, fault: str = "") -> tuple[str, ...]:
        """Take away a fault, or all, as a technician would; return the names of what was there."""
        with states.locked(self.directory):
            state = self.state()
            mended = [active for active in state.faults if fault in ("", active.name)]
            left = tuple(active for active in state.faults if active not in mended)
            self._write(replace(state, faults=left, agent_stays_dead=False))
        return tuple(active.name for active in mended)

    def is_agent_wanted(self) -> bool:
        """Return whether the supervisor may start an agent that ended."""
        return not self.state().agent_stays_dead

    def _gpu(self, device: str) -> SimulatedGpu:
        gpus = self.hardware().gpus
        found = next((gpu for gpu in gpus if gpu.uuid == device), None)
        if found is None:
            raise ActionRefused(f"no GPU {device!r} on this node; there are {', '.join(gpu.uuid for gpu in gpus)}")
        return found

    def _inject(self, kind: DrillFault, device: str, repair: Repair) -> Done:
        state = self.state()
        part, name = find_part(state, kind, device)
        if any(fault.name == kind.name and fault.part == part for fault in state.faults):
            raise ActionRefused(f"{name} has the fault {kind.name} already")
        broken = repairs.inject(state, kind, part, repair, now=self._seams.wall())
        self._write(replace(broken, faults=state.faults) if kind.is_momentary else broken)
        self._log_faults(broken, broken.faults[-1:])
        return Done(f"{kind.name} was injected into {name}: {kind.what_happens}")

    def _kill_agent(self, *, stay_dead: bool) -> Done:
        with states.locked(self.directory):
            self._write(replace(self.state(), agent_stays_dead=stay_dead))
        asyncio.get_running_loop().call_later(ANSWER_S, self._seams.kill_process)
        return Done(f"the agent is killed in {ANSWER_S:g} s" + (" and stays dead" if stay_dead else ""))

    async def _go_down(self, duration_s: float) -> None:
        await self._seams.sleep(duration_s)
        with states.locked(self.directory):
            self._boot(self.state(), "reboot")
        self._seams.end_process(EX_REBOOTING)

    def _boot(self, state: MachineState, action: str) -> None:
        """Start a new boot, with whatever faults the old one leaves behind."""
        shutil.rmtree(self.directory / FOLDER, ignore_errors=True)
        state = repairs.after_boot(state, action, boot_id=str(uuid.uuid4()), booted_at=self._seams.wall())
        self._write(state)
        banner = (
            f"Linux version {states.KERNEL_RELEASE} (simulated machine {state.name}, boot {state.boots})",
            f"NVRM: loading NVIDIA UNIX x86_64 Kernel Module  {DRIVER_VERSION}",
        )
        self._log.start_boot(banner, booted_at=state.booted_at)
        self._log_faults(state, state.faults)

    def _write(self, state: MachineState) -> None:
        states.save(self.directory, state)
        write_tree(self.directory, state, derive(state))

    def _log_faults(self, state: MachineState, faults: Iterable[ActiveFault]) -> None:
        """Write the kernel's lines of these faults."""
        for fault in faults:
            effect, values = effect_of(fault), _values(fault, derive(state))
            lines = tuple(line.format_map(values) for line in effect.lines)
            if lines:
                self._log.append(lines, severity=effect.severity, booted_at=state.booted_at)

    async def _spend(self, duration: tuple[float, float], what: str) -> None:
        await self._seams.sleep(self._duration_s(duration, what))

    def _duration_s(self, duration: tuple[float, float], what: str) -> float:
        state = self.state()
        attempts = sum(fault.attempts for fault in state.faults)
        keys = (state.seed, state.name, what, state.boots, state.faults_so_far, attempts)
        return draw_duration_s(*duration, *keys) / state.speedup


def _values(fault: ActiveFault, hardware: Hardware) -> dict[str, str]:
    """Return what the catalogue's lines may name of a fault's part."""
    for gpu in hardware.gpus:
        if str(gpu.index) == fault.part:
            return {"pci": gpu.pci, "serial": gpu.serial, "uuid": gpu.uuid, "index": str(gpu.index)}
    for port in hardware.ports:
        if port.name == fault.part:
            return {"pci": port.pci, "number": str(port.number)}
    return {}
