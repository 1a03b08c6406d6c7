"""What a repair takes away for a while, and what brings it back whatever happens.

It is on disk before it is taken away. A repair that fails, is broken off or dies with its process leaves nothing
stopped: it is brought back at the end of the repair, or by the next start of the agent, within the same boot. Another
boot starts what is enabled by itself, and owes nobody what was started by hand.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import msgspec
import structlog

from agent.machine import ActionFailed, ActionRefused
from agent.repairs.gpus import DISABLED, ENABLED
from agent.repairs.programs import MODPROBE, NVIDIA_SMI, Programs, explain, said
from agent.repairs.units import Units

log = structlog.get_logger()

SET_ASIDE: Final = "set_aside"
"""Key under which the outbox keeps it."""

LOAD_LIMIT_S: Final = 180.0
"""Source: our choice; with eight GPUs and their NVSwitches the driver's module takes up to a minute to load."""

PERSISTENCE_LIMIT_S: Final = 60.0
"""Source: our choice; the driver initialises a GPU whose persistence mode is switched on, which takes some seconds."""


class Keeper(Protocol):
    """What outlives the process."""

    def load(self, key: str) -> dict[str, Any]:
        """Return what was saved last, empty when nothing was."""
        ...

    def save(self, key: str, value: dict[str, Any]) -> None:
        """Keep a value."""
        ...


@dataclass(frozen=True, slots=True)
class SetAside:
    """What was taken away, in the order in which it is to come back.

    Attributes:
        because: the repair for which it was.
        boot_id: the boot in which that was.
        modules: kernel modules to load.
        units: systemd units to start.
        persistence: UUIDs of the GPUs whose persistence mode to switch on.
    """

    because: str
    boot_id: str
    modules: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    persistence: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether everything is back."""
        return not (self.modules or self.units or self.persistence)


def load(state: Mapping[str, Any]) -> SetAside | None:
    """Return what was saved, `None` when nothing was.

    Raises:
        ValueError: this is not what `dump` wrote.
    """
    try:
        return msgspec.convert(dict(state), type=SetAside) if state else None
    except msgspec.ValidationError as error:
        raise ValueError(f"stored record of what a repair took away: {error}") from error


def dump(record: SetAside) -> dict[str, Any]:
    """Return the record as plain JSON values, empty when everything is back."""
    return {} if record.is_empty else dict(msgspec.json.decode(msgspec.json.encode(record)))


class Wardrobe:
    """Where repairs put what they take away."""

    def __init__(self, keeper: Keeper, programs: Programs, units: Units, *, boot_id: Callable[[], str]) -> None:
        """Bring nothing back yet."""
        self._keeper, self._programs, self._units, self._boot_id = keeper, programs, units, boot_id

    @asynccontextmanager
    async def opened(self, because: str) -> AsyncIterator[Taking]:
        """Let a repair take things away; all of it is back at the end, or the end says what is not.

        Raises:
            ActionFailed: not all of it came back.
        """
        taking = Taking(self._before(because), self._save, self._programs, self._units)
        failure: Exception | None = None
        try:
            yield taking
        except (ActionFailed, ActionRefused) as error:
            failure = error
        finally:
            problems = await self._bring_back(taking.record)
        if problems:
            first = f"{failure}. Besides, " if failure else f"{because} was done, but "
            raise ActionFailed(f"{first}not everything is back: {'; '.join(problems)}")
        if failure:
            raise failure

    async def recover(self) -> str:
        """Bring back what an earlier process of this boot did not; return a sentence, empty when there was nothing.

        Raises:
            ActionFailed: not all of it came back.
        """
        record = self._recall()
        if record is None:
            return ""
        if record.boot_id != self._boot_id():
            self._keeper.save(SET_ASIDE, {})
            return ""
        what = ", ".join((*record.modules, *record.units, *(f"persistence of {gpu}" for gpu in record.persistence)))
        problems = await self._bring_back(record)
        if problems:
            raise ActionFailed(f"{record.because} was broken off, and not everything is back: {'; '.join(problems)}")
        return f"{record.because} was broken off; what it had taken away is back: {what}"

    def _save(self, record: SetAside) -> None:
        self._keeper.save(SET_ASIDE, dump(record))

    def _before(self, because: str) -> SetAside:
        """Return an empty record, with what an earlier repair could not bring back."""
        left = self._recall()
        boot_id = self._boot_id()
        if left is None or left.boot_id != boot_id:
            return SetAside(because, boot_id)
        return replace(left, because=because)

    def _recall(self) -> SetAside | None:
        try:
            return load(self._keeper.load(SET_ASIDE))
        except ValueError as error:
            log.error("repair.forgotten", because=str(error))
            return None

    async def _bring_back(self, record: SetAside) -> list[str]:
        """Bring everything back that can be; what cannot stays in the record for the next start."""
        problems: list[str] = []
        modules = await self._each(record.modules, self._load_module, problems)
        units = await self._each(record.units, self._units.start, problems)
        persistence = await self._each(record.persistence, self._persist, problems)
        left = replace(record, modules=modules, units=units, persistence=persistence)
        self._save(left)
        for problem in problems:
            log.error("repair.unfinished", because=problem)
        return problems

    async def _each(
        self, names: tuple[str, ...], bring: Callable[[str], Awaitable[None]], problems: list[str]
    ) -> tuple[str, ...]:
        """Return those that could not be brought back, in order."""
        left = []
        for name in names:
            try:
                await bring(name)
            except (ActionFailed, ActionRefused) as error:
                left.append(name)
                problems.append(str(error))
        return tuple(left)

    async def _load_module(self, name: str) -> None:
        ended = await self._programs.run(MODPROBE, name, limit_s=LOAD_LIMIT_S)
        if ended.code:
            why = f"modprobe {name} ended with code {ended.code}: {said(ended)}"
            raise ActionFailed(f"{why}; the kernel log says more, and a reboot may be the way out")

    async def _persist(self, gpu: str) -> None:
        await set_persistence(self._programs, gpu, on=True)


class Taking:
    """One repair's way to take things away: first it is written down, then it is done."""

    def __init__(self, record: SetAside, save: Callable[[SetAside], None], programs: Programs, units: Units) -> None:
        """Take nothing yet."""
        self.record = record
        self._save, self._programs, self._units = save, programs, units

    async def units(self, names: tuple[str, ...]) -> None:
        """Stop these units in this order; they come back in the opposite one.

        Raises:
            ActionFailed: one of them does not stop.
        """
        new = tuple(name for name in reversed(names) if name not in self.record.units)
        self._note(replace(self.record, units=(*new, *self.record.units)))
        for name in names:
            await self._units.stop(name)

    async def persistence(self, gpu: str, *, restore: bool) -> None:
        """Switch the persistence mode of a GPU off, which counts as somebody who uses it.

        A GPU that needs its reset may not take it. The reset itself tells then.

        Args:
            restore: it was on, and is to be again.
        """
        if restore and gpu not in self.record.persistence:
            self._note(replace(self.record, persistence=(*self.record.persistence, gpu)))
        try:
            await set_persistence(self._programs, gpu, on=False)
        except ActionFailed as error:
            log.warning("persistence.unchanged", because=str(error))

    def modules(self, names: tuple[str, ...]) -> None:
        """Write down which modules are to be loaded, in this order."""
        new = tuple(name for name in names if name not in self.record.modules)
        self._note(replace(self.record, modules=(*self.record.modules, *new)))

    def _note(self, record: SetAside) -> None:
        self.record = record
        self._save(record)


async def set_persistence(programs: Programs, gpu: str, *, on: bool) -> None:
    """Switch a GPU's persistence mode, whether the driver keeps it itself or nvidia-persistenced does.

    nvidia-smi may say that it was changed when it was not (seen in containers), so the mode is looked at afterwards.

    Raises:
        ActionFailed: it does not change.
    """
    ended = await programs.run(NVIDIA_SMI, "-i", gpu, "-pm", "1" if on else "0", limit_s=PERSISTENCE_LIMIT_S)
    if ended.code:
        raise ActionFailed(f"nvidia-smi -i {gpu} -pm {int(on)} {explain(ended)}")
    mode = (await programs.ask(NVIDIA_SMI, "--query-gpu=persistence_mode", "--format=csv,noheader", "-i", gpu)).text
    if mode.strip() != (ENABLED if on else DISABLED):
        raise ActionFailed(f"nvidia-smi -i {gpu} -pm {int(on)} was carried out, and the mode is {mode.strip()!r}")
