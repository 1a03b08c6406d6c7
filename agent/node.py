"""What an agent has under it: the real host, or a simulated one. Everything above is the same for both."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from agent.benches import BenchPlace
from agent.desk import last_sequence
from agent.hold_targets import NoTargets, Targets
from agent.host_machine import HostMachine
from agent.machine import Machine
from agent.manifest_file import Approved
from agent.outbox import Outbox
from agent.settings import Settings, SettingsError
from agent.simulation import sources as simulated
from agent.simulation.machine import Seams, SimulatedMachine
from agent.sources.gpu_processes import sees_host
from agent.sources.kernel_log import DeviceReader, KernelLogSource
from agent.sources.nvml import NvmlSource
from agent.sources.registry import make_sources
from agent.sources.site import Program, site_sources
from agent.sources.source import PolledSource, StreamedSource, Surroundings

OUTBOX_FILE: Final = "outbox.sqlite"

SERIAL_FILE: Final = Path("/sys/class/dmi/id/product_serial")
"""Readable by root alone. Source: kernel, drivers/firmware/dmi-id.c."""


@dataclass(frozen=True, slots=True)
class Node:
    """The node's hands, eyes and memory.

    Attributes:
        serial: of the chassis, empty when unknown.
        root: below which a crash leaves its traces, and flags keep work away.
        targets: are told when the node is held.
        bench: where benchmarks run.
    """

    machine: Machine
    outbox: Outbox
    sources: tuple[PolledSource, ...]
    kernel_log: StreamedSource
    bench: BenchPlace
    serial: str = ""
    root: Path = Path("/")
    targets: Targets = field(default_factory=NoTargets)

    async def forget_gpus(self) -> None:
        """Make the next reading of NVML remember nothing of the ones before."""
        for source in self.sources:
            if isinstance(source, NvmlSource):
                await source.close()


@dataclass(frozen=True, slots=True)
class Shelf:
    """One source's place in the outbox's state."""

    outbox: Outbox
    key: str

    def load(self) -> dict[str, Any]:
        """Return what was saved last."""
        return self.outbox.load(self.key)

    def save(self, value: dict[str, Any]) -> None:
        """Keep a value."""
        self.outbox.save(self.key, value)


def node_of(settings: Settings, *, programs: Sequence[Program], end_process: Callable[[int], object]) -> Node:
    """Return the node that the settings describe, with nothing running.

    Args:
        programs: the site's own, which are sources, too.
        end_process: is given the exit code when a simulated machine goes down.

    Raises:
        SettingsError: the state directory cannot be made.
        MachineBroken: there is no simulated machine in its directory.
    """
    try:
        settings.state_directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"state_directory: cannot make {settings.state_directory}: {error.strerror}") from error
    if settings.simulation_directory is not None:
        return _simulated(settings, settings.simulation_directory, programs, end_process)
    return _host(settings, programs)


def _host(settings: Settings, programs: Sequence[Program]) -> Node:
    log = settings.kernel_log
    boot_id = HostMachine().boot_id()
    outbox = Outbox(settings.state_directory / OUTBOX_FILE, boot_id)
    shelf, approved = partial(_shelf, outbox), Approved(settings.approved_inventory)
    surroundings = Surroundings(shelf, approved=approved, redfish=settings.redfish.access())
    sources = make_sources(surroundings, settings.timings())
    let_go = [source.let_go for source in sources if isinstance(source, NvmlSource)]
    machine = HostMachine(*let_go, keeper=outbox, accept_userspace_records=log.accept_userspace_records)
    return Node(
        machine=machine,
        outbox=outbox,
        sources=(*sources, *site_sources(programs, surroundings)),
        kernel_log=KernelLogSource(lambda: DeviceReader(log.path), after_sequence=last_sequence(outbox, boot_id)),
        bench=BenchPlace(settings.state_directory, machine.boot_id, partial(sees_host, surroundings.procfs)),
        serial=_serial(),
        targets=machine.targets,
    )


def _simulated(
    settings: Settings, directory: Path, programs: Sequence[Program], end_process: Callable[[int], object]
) -> Node:
    machine = SimulatedMachine.open(directory, Seams(end_process=end_process))
    boot_id = machine.boot_id()
    outbox = Outbox(settings.state_directory / OUTBOX_FILE, boot_id)
    shelf, approved = partial(_shelf, outbox), Approved(settings.approved_inventory)
    return Node(
        machine=machine,
        outbox=outbox,
        sources=(
            *simulated.make_sources(machine, shelf, settings.timings(), approved=approved),
            *site_sources(programs, simulated.surroundings_of(machine, shelf, approved)),
        ),
        kernel_log=simulated.kernel_log_source(machine, after_sequence=last_sequence(outbox, boot_id)),
        bench=simulated.bench_place(machine, settings.state_directory),
        root=directory,
    )


def _shelf(outbox: Outbox, source: str) -> Shelf:
    return Shelf(outbox, f"inventory.{source}")


def _serial() -> str:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return SERIAL_FILE.read_text().strip()
    return ""
