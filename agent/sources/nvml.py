"""NVML, asked by a disposable child process (agent/sources/nvml_child.py).

A child that answered stays for the next reading. Every other ending takes it away: a hang, a crash, and also a driver
that does not answer, since a library that was loaded before the driver changed never works again in that process.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from agent.sources import pci
from agent.sources.child import Child, ChildEnded, DeadlineMissed, Slot, Stuck
from agent.sources.gpu_processes import named
from agent.sources.remembered import learn_gpus, texts
from agent.sources.source import Cost, Declaration, Privilege, Surroundings, Timing
from checks.errors import CannotObserve
from checks.manifest import Section, unless_replaced
from checks.readings import GpuReading, NvmlReading

ABSENT_INTERVAL_S: Final = 300.0
"""How often a host without NVIDIA hardware is looked at again. Source: our choice; hardware does not come unnoticed,
and a driver is installed within minutes of being wanted."""

HANGS: Final = frozenset({"timeout", "stuck"})

SHARED: Final = ("uuid", "pci", "serial", "name", "nvlink", "fabric", "details")
"""Fields of a GPU that take memory and rarely change."""

NVIDIA_VENDOR: Final = "0x10de"
DISPLAY_CLASSES: Final = ("0x0300", "0x0302")
"""VGA and 3D controllers. Source: PCI code and ID assignment specification, base class 03h; pci.ids, vendor 10de."""


class Answer(msgspec.Struct, frozen=True):
    """What the child says."""

    driver_version: str = ""
    gpus: tuple[GpuReading, ...] = ()
    failure: str = ""
    detail: str = ""


class NvmlSource:
    """All GPUs of the host, as NVML tells them."""

    name = "nvml"

    def __init__(
        self,
        surroundings: Surroundings,
        timing: Timing,
        *,
        environment: Mapping[str, str] | None = None,
        slot: Slot | None = None,
    ) -> None:
        """Ask nothing yet. `environment` is that of the child, `None` for the agent's own."""
        self.timing = timing
        self._monotonic, self._sysfs, self._procfs = surroundings.monotonic, surroundings.sysfs, surroundings.procfs
        self._store, self._approved = surroundings.store(self.name), surroundings.approved
        self._child = Child(surroundings.nvml_command, slot or Slot(), environment=environment)
        self._known = texts(self._store.load().get("known_gpus"))
        self._seen: dict[int, GpuReading] = {}
        self._missed = 0
        self._pauses: Counter[str] = Counter()
        self._absent: NvmlReading | None = None

    @property
    def child_pid(self) -> int | None:
        """The process id of the child, `None` while none runs."""
        return self._child.pid

    async def read(self) -> NvmlReading:
        """Return one reading; that NVML does not answer is a reading too.

        Raises:
            CannotObserve: the GPUs are let go for a repair.
        """
        if +self._pauses:
            raise CannotObserve(f"NVML is not asked during {', '.join(+self._pauses)}")
        if self._absent is not None and self._monotonic() - self._absent.at_s < ABSENT_INTERVAL_S:
            return replace(self._absent, at_s=self._monotonic())
        answer = await self._ask()
        self._missed = self._missed + 1 if answer.failure in HANGS else 0
        reading = self._failed(answer) if answer.failure else self._answered(answer)
        is_absent = reading.failure == "library_not_found" and not reading.expected
        self._absent = reading if is_absent else None
        if reading.failure:
            await self._child.close()
        return reading

    async def close(self) -> None:
        """End the child."""
        await self._child.close()

    @asynccontextmanager
    async def let_go(self, because: str) -> AsyncIterator[None]:
        """Hold no GPU open meanwhile: the driver resets none that anybody holds."""
        self._pauses[because] += 1
        try:
            await self._child.close()
            yield
        finally:
            self._pauses[because] -= 1

    async def _ask(self) -> Answer:
        try:
            text = await self._child.ask(b"read %f" % self._monotonic(), deadline_s=self.timing.deadline_s)
            return msgspec.json.decode(text, type=Answer)
        except DeadlineMissed as late:
            return Answer(failure="timeout", detail=str(late))
        except Stuck as stuck:
            return Answer(failure="stuck", detail=str(stuck))
        except (ChildEnded, OSError, msgspec.DecodeError) as error:
            return Answer(failure="error", detail=f"the process that asks NVML failed: {error}")

    def _failed(self, answer: Answer) -> NvmlReading:
        known = self._wanted(self._known, ())
        return NvmlReading(
            at_s=self._monotonic(),
            driver_version=answer.driver_version,
            expected=bool(known or nvidia_addresses(self._sysfs)),
            failure=answer.failure,
            detail=answer.detail,
            missed_deadlines=self._missed,
            known_gpus=known,
            approved_gpus=self._approved_places(),
        )

    def _answered(self, answer: Answer) -> NvmlReading:
        gpus = named(answer.gpus, self._procfs)
        if any(not gpu.uuid for gpu in gpus):
            addresses = nvidia_addresses(self._sysfs)
            known = self._wanted(self._known, ())
            gpus = name_silent(gpus, remembered=self._seen, known=known, addresses=addresses)
        gpus = tuple(_sharing(gpu, self._seen.get(gpu.index)) for gpu in gpus)
        self._seen |= {gpu.index: gpu for gpu in gpus if not gpu.lost and not gpu.errors}
        self._learn(gpus)
        return NvmlReading(
            at_s=self._monotonic(),
            gpus=gpus,
            driver_version=answer.driver_version,
            expected=bool(gpus or self._known or nvidia_addresses(self._sysfs)),
            known_gpus=dict(self._known),
            approved_gpus=self._approved_places(),
        )

    def _learn(self, gpus: Sequence[GpuReading]) -> None:
        told = [gpu for gpu in gpus if not gpu.errors]
        known = self._wanted(learn_gpus(self._known, told), told)
        if known != self._known:
            self._known = known
            self._store.save({"known_gpus": known})

    def _wanted(self, learnt: dict[str, str], gpus: Sequence[GpuReading]) -> dict[str, str]:
        """Return UUID → PCI of the GPUs that have to answer: what was approved wins over what was learnt."""
        approved = self._approved.section(Section.GPUS)
        if approved is None:
            return learnt
        seen = {gpu.uuid: gpu.pci for gpu in gpus if gpu.uuid and not gpu.lost}
        return unless_replaced({gpu.uuid: gpu.pci for gpu in approved.gpus}, seen)

    def _approved_places(self) -> dict[str, str]:
        approved = self._approved.section(Section.GPUS)
        return {gpu.pci: gpu.uuid for gpu in approved.gpus} if approved is not None else {}


SOURCE: Final = Declaration(
    name=NvmlSource.name,
    summary="NVIDIA GPUs from NVML, by the maintained binding nvidia-ml-py.",
    reading=NvmlReading,
    timing=Timing(interval_s=15.0, fast_interval_s=5.0, deadline_s=10.0),
    cost=Cost.MEDIUM,
    privilege=Privilege.ROOT,
    hangs_with="the NVIDIA driver",
    make=NvmlSource,
)


def _sharing(gpu: GpuReading, before: GpuReading | None) -> GpuReading:
    """Return the reading, built from the parts of the one before that have not changed: an hour of them is kept."""
    if before is None:
        return gpu
    same = {name: getattr(before, name) for name in SHARED if getattr(gpu, name) == getattr(before, name)}
    return replace(gpu, **same)


def name_silent(
    gpus: Sequence[GpuReading],
    *,
    remembered: Mapping[int, GpuReading],
    known: Mapping[str, str],
    addresses: Sequence[str],
) -> tuple[GpuReading, ...]:
    """Return the GPUs, each with a name where one can be told.

    One that does not even say who it is, is the one that had its index when it last answered; else the only known one
    that is missing; else it has the PCI address that comes at its index in the order of addresses, which is NVML's.

    Args:
        remembered: index → the GPU as it last answered.
        known: UUID → PCI of the inventory.
        addresses: PCI addresses of the host's NVIDIA GPUs, ascending.
    """
    answering = {gpu.uuid for gpu in gpus if gpu.uuid}
    silent = [gpu for gpu in gpus if not gpu.uuid]
    missing = [(uuid, pci) for uuid, pci in known.items() if uuid not in answering]
    sole = missing[0] if len(silent) == len(missing) == 1 else None

    def name(gpu: GpuReading) -> GpuReading:
        before = remembered.get(gpu.index)
        if before is not None and before.uuid not in answering:
            return replace(gpu, uuid=before.uuid, pci=before.pci, serial=before.serial, name=before.name)
        if sole is not None:
            return replace(gpu, uuid=sole[0], pci=sole[1])
        if len(addresses) == len(gpus):
            pci = gpu.pci or addresses[gpu.index]
            return replace(gpu, pci=pci, uuid=next((uuid for uuid, place in missing if place == pci), ""))
        return gpu

    return tuple(gpu if gpu.uuid else name(gpu) for gpu in gpus)


def nvidia_addresses(sysfs: Path) -> tuple[str, ...]:
    """Return the PCI addresses (`dddd:bb:dd`) of the host's NVIDIA GPUs, ascending; empty when there are none."""
    return pci.addresses(sysfs, NVIDIA_VENDOR, DISPLAY_CLASSES)
