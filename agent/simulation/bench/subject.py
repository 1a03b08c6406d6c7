"""One run of one benchmark on one simulated machine: what it measures, how long it takes, how its numbers vary."""

from __future__ import annotations

import hashlib
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from agent.bench.child import Broken, NotHere, Progress, Say
from agent.simulation import states
from agent.simulation.bench.speeds import noise, p99_factor, variation
from agent.simulation.hardware import DRIVER_VERSION, Hardware, SimulatedGpu, derive
from agent.simulation.states import MachineState
from checks.bench_result import BenchMachine, BenchNumber
from wire.bench import BenchWish

SKU: Final = "H100"
NCCL_VERSION: Final = "2.27.5"

LEAST_S, MOST_S, CHUNK_S = 0.5, 20.0, 0.25
"""A run takes no less and no more than this, however fast the simulation is, and ends so soon when told to. Source: our
choice: long enough to be seen, short enough that a cell with eight machines stays lively."""

SAMPLES: Final = {1: 20, 2: 50, 3: 100}
"""Iterations by tier. Source: our choice; nccl-tests takes 20."""

FABRIC_MANAGER: Final = "nvidia-fabricmanager"


@dataclass(frozen=True, slots=True)
class Subject:
    """A machine, and what is wished of it.

    Attributes:
        directory: of the machine.
        sleep: waits so many seconds.
        monotonic: gives seconds.
    """

    directory: Path
    wish: BenchWish
    say: Say
    sleep: Callable[[float], object] = time.sleep
    monotonic: Callable[[], float] = time.monotonic

    @property
    def state(self) -> MachineState:
        """The ground truth, as it is now."""
        return states.load(self.directory)

    def hardware(self) -> Hardware:
        """Return the hardware, as it is now."""
        return derive(self.state)

    def gpus(self) -> tuple[SimulatedGpu, ...]:
        """Return the GPUs once CUDA has started on them; never, where every call into the driver hangs.

        Raises:
            Broken: CUDA does not start.
            NotHere: there is no GPU.
        """
        hardware = self.hardware()
        if hardware.host.hangs:
            _hang()
        if hardware.host.driver_returns:
            raise Broken(f"cuInit failed: NVML returns {hardware.host.driver_returns}, the driver does not answer")
        if hardware.host.failed_service == FABRIC_MANAGER:
            raise Broken("cuInit failed: CUDA_ERROR_SYSTEM_NOT_READY (802), the Fabric Manager does not run")
        gpus = tuple(gpu for gpu in hardware.gpus if gpu.is_listed)
        if not gpus:
            raise NotHere("this node has no GPU")
        if dead := [gpu.uuid for gpu in gpus if gpu.returns]:
            raise Broken(f"no context could be made on {', '.join(dead)}: CUDA_ERROR_DEVICE_UNAVAILABLE (46)")
        return gpus

    def spend(self, simulated_s: float, text: str) -> None:
        """Take as long as the real one would in simulated time, within bounds, and say how far it is."""
        left_s = whole_s = min(MOST_S, max(LEAST_S, simulated_s / self.state.speedup))
        while left_s > 0.0:
            self.say(Progress(1.0 - left_s / whole_s, text))
            self.sleep(min(CHUNK_S, left_s))
            left_s -= CHUNK_S

    def number(
        self,
        metric: str,
        value: float,
        *,
        device: str = "",
        lane: str = "",
        size_bytes: int = 0,
        way: str = "",
        amount: float = 0.0,
    ) -> BenchNumber:
        """Return a number as it is measured.

        Args:
            value: what it would be without noise.
            amount: what one iteration does, in the metric's unit times a second; 0 where there are no iterations.
        """
        state, keys = self.state, (metric, device, lane, way)
        measured = value * noise(state.seed, state.name, self.wish.lease, *keys, size_bytes=size_bytes)
        spread = variation(state.seed, state.name, self.wish.lease, *keys, size_bytes) if amount else 0.0
        return BenchNumber(
            metric,
            measured,
            device=device,
            lane=lane,
            size_bytes=size_bytes,
            way=way,
            p50_s=amount / measured,
            p99_s=amount / measured * p99_factor(spread),
            variation=spread,
            samples=SAMPLES.get(self.wish.tier, max(SAMPLES.values())),
        )

    def measured_on(self, gpus: int) -> BenchMachine:
        """Return what the numbers are of; machines of one kind with as many GPUs are peers."""
        topology = hashlib.sha256(f"hgx h100, {gpus} GPUs".encode()).hexdigest()[:12]
        return BenchMachine(SKU, DRIVER_VERSION, NCCL_VERSION, topology, gpus)


def _hang() -> NoReturn:
    """Never return."""
    while True:
        signal.pause()
