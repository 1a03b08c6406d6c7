"""How the GPUs are set: written down before a benchmark, and set back after it, also when the agent did not live on.

Persistence and compute mode, application clocks and power limit: what the driver tells. What a benchmark left as it was
is not touched, so that a node whose agent may not set anything can be measured, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec

from agent.benches import MODES
from agent.sources.child import Child, ChildEnded, DeadlineMissed, Stuck

LIMIT_S: Final = 10.0
"""To read or set all GPUs. Source: our choice; a GPU whose persistence mode is switched on is initialised, which takes
some seconds."""

Settings = dict[str, dict[str, int]]
"""UUID → mode → value."""


class Keeper(Protocol):
    """What outlives the process."""

    def load(self, key: str) -> dict[str, Any]:
        """Return what was saved last, empty when nothing was."""
        ...

    def save(self, key: str, value: dict[str, Any]) -> None:
        """Keep a value."""
        ...


class NotTold(Exception):
    """NVML does not say how the GPUs are set; the text says why."""


class _Answer(msgspec.Struct, frozen=True):
    """What the process says."""

    modes: Settings = {}
    problems: tuple[str, ...] = ()
    failure: str = ""
    detail: str = ""


class _Record(msgspec.Struct, frozen=True):
    """What is on disk."""

    boot_id: str
    modes: Settings


@dataclass(frozen=True, slots=True)
class Modes:
    """Reads, keeps and restores them."""

    child: Child
    keeper: Keeper
    boot_id: str

    async def keep(self) -> None:
        """Write down how the GPUs are set. What an earlier benchmark could not set back is still owed.

        Raises:
            NotTold: NVML does not say.
        """
        now = await self._read()
        owed = self._owed()
        merged = {gpu: {**modes, **owed.get(gpu, {})} for gpu, modes in now.items()}
        self.keeper.save(MODES, msgspec.to_builtins(_Record(self.boot_id, {**owed, **merged})))

    async def restore(self) -> tuple[str, ...]:
        """Set back what differs from what was written down; return what could not be, as sentences."""
        wanted = self._owed()
        try:
            await self._set(changed(wanted, await self._read()) if wanted else {})
            left = changed(wanted, await self._read()) if wanted else {}
        except NotTold as error:
            return (f"it cannot be told whether the GPUs are set as before: {error}",)
        if not left:
            self.keeper.save(MODES, {})
        return tuple(f"{_said(modes)} of {gpu} could not be set back" for gpu, modes in left.items())

    def _owed(self) -> Settings:
        """Return how the GPUs have to be set, of this boot: another one sets them anew."""
        try:
            record = msgspec.convert(self.keeper.load(MODES) or {"boot_id": "", "modes": {}}, type=_Record)
        except msgspec.ValidationError:
            return {}
        return record.modes if record.boot_id == self.boot_id else {}

    async def _read(self) -> Settings:
        return (await self._ask(b"modes")).modes

    async def _set(self, wanted: Settings) -> None:
        if wanted:
            await self._ask(b"set " + msgspec.json.encode(wanted))

    async def _ask(self, question: bytes) -> _Answer:
        try:
            answer = msgspec.json.decode(await self.child.ask(question, deadline_s=LIMIT_S), type=_Answer)
        except (DeadlineMissed, Stuck, ChildEnded, OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise NotTold(f"NVML cannot be asked: {error}") from error
        if answer.failure:
            raise NotTold(f"NVML does not answer: {answer.detail or answer.failure}")
        return answer


def changed(wanted: Mapping[str, Mapping[str, int]], now: Mapping[str, Mapping[str, int]]) -> Settings:
    """Return of what was wanted that which is not so now. Clocks go together, for they are set by one call."""
    found: Settings = {}
    for gpu, modes in wanted.items():
        differing = {name for name, value in modes.items() if now.get(gpu, {}).get(name) != value}
        if differing & _CLOCKS:
            differing |= _CLOCKS & modes.keys()
        if differing:
            found[gpu] = {name: modes[name] for name in sorted(differing)}
    return found


_CLOCKS: Final = frozenset({"sm_clock_mhz", "memory_clock_mhz"})


def _said(modes: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {value}" for name, value in modes.items())
