"""One look by a source of the agent's, outside the agent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from agent.scratch import Drawer, Scratch
from agent.sources.source import Surroundings
from checks.errors import CannotObserve
from cli.doctor.diagnosis import CannotLook

Seen = TypeVar("Seen", covariant=True)


class Readable(Protocol[Seen]):
    """What a source is asked for here."""

    async def read(self) -> Seen: ...

    async def close(self) -> None: ...


def one_reading(source_at: Callable[[Surroundings], Readable[Seen]], root: Path) -> Seen:
    """Return what a source reads of the host below a folder.

    Raises:
        CannotLook: it could not be read.
    """
    surroundings = Surroundings(partial(Drawer, Scratch()), root=root, monotonic=time.monotonic)
    return asyncio.run(_read(source_at(surroundings)))


async def _read(source: Readable[Seen]) -> Seen:
    try:
        return await source.read()
    except CannotObserve as error:
        raise CannotLook(str(error)) from error
    finally:
        await source.close()
