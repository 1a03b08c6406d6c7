"""What every source offers to the runner and says of itself, so that one more source is one more file and one line in
agent/sources/registry.py.

A source only reads. It is timed, retried and supervised by the runner, and what can hang runs in a disposable child
(agent/sources/child.py), never in the agent itself. Each source has children of its own, so that what hangs together
hangs alone.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Protocol

from agent.manifest_file import Approved
from agent.sources.redfish_access import RedfishAccess
from agent.sources.remembered import Store
from checks.readings import KernelLogState, KernelRecord, Reading

NVML_CHILD: Final = (sys.executable, "-m", "agent.sources.nvml_child")


class Cost(StrEnum):
    """What one reading takes of one core, all its processes together."""

    LOW = "low"
    """Under 5 ms."""
    MEDIUM = "medium"
    """5 to 50 ms."""
    HIGH = "high"
    """More, or it makes a device work that may be serving a job: read seldom."""


class Privilege(StrEnum):
    """What the agent needs for a whole reading; with less, some values are `None` or the checks `unknown`."""

    NONE = "none"
    ROOT = "root"
    CAP_SYSLOG = "CAP_SYSLOG"


@dataclass(frozen=True, slots=True)
class Timing:
    """When a source is read, and when a reading is late.

    Attributes:
        interval_s: between the starts of two readings while all is calm.
        fast_interval_s: the same while something smoulders: a fault is about to count, or has just come or gone.
        deadline_s: when a reading is late; the source itself ends what it started.
    """

    interval_s: float
    fast_interval_s: float
    deadline_s: float


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The machine as its sources reach it: the real host, or the directory of a simulated one.

    Attributes:
        store: gives a source of this name its place for what it has to remember.
        root: where `sys`, `proc`, `dev` and the mounts begin.
        tools: directories in which programs are looked for, as in PATH; `None` for PATH itself.
        nvml_command: starts the process that asks NVML.
        monotonic: seconds since the machine's boot; they never jump.
        approved: what a person approved for the machine; it wins over what was learnt.
        redfish: how its BMC is asked over the network, `None` when it is not.
    """

    store: Callable[[str], Store]
    root: Path = Path("/")
    tools: str | None = None
    nvml_command: tuple[str, ...] = NVML_CHILD
    monotonic: Callable[[], float] = time.monotonic
    approved: Approved = field(default_factory=Approved)
    redfish: RedfishAccess | None = None

    @property
    def sysfs(self) -> Path:
        """Where sysfs is mounted."""
        return self.root / "sys"

    @property
    def procfs(self) -> Path:
        """Where procfs is mounted."""
        return self.root / "proc"

    def find(self, program: str, *folders: str) -> str:
        """Return the path of a program, empty when this machine has none of that name.

        Args:
            folders: below `root`, where vendors put what they do not put in PATH.
        """
        path = shutil.which(program, path=self.tools)
        return path or shutil.which(program, path=os.pathsep.join(str(self.root / folder) for folder in folders)) or ""


class PolledSource(Protocol):
    """Read at intervals."""

    @property
    def name(self) -> str:
        """As in the registry."""
        ...

    @property
    def timing(self) -> Timing:
        """When it is read."""
        ...

    async def read(self) -> Any:
        """Return one reading, of the type that the registry declares.

        Raises:
            CannotObserve: nothing could be read; the checks of this source are `unknown`.
        """
        ...

    async def close(self) -> None:
        """End what the source keeps running."""
        ...


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a source is, for the runner, the settings and the catalogue.

    Attributes:
        summary: where its facts come from, one sentence.
        hangs_with: what a reading waits for when it hangs; nothing else is read by the same child.
        make: builds it, with nothing running.
    """

    name: str
    summary: str
    reading: type[Reading]
    timing: Timing
    cost: Cost
    privilege: Privilege
    hangs_with: str
    make: Callable[[Surroundings, Timing], PolledSource]


class StreamedSource(Protocol):
    """Read as it happens, without a poll."""

    name: str

    def records(self) -> AsyncIterator[KernelRecord]:
        """Yield records, first those of this boot not yet seen, then new ones; never ends by itself."""
        ...

    def backlog(self) -> Iterator[KernelRecord]:
        """Yield the records that are there already, and end.

        Raises:
            CannotObserve: the stream cannot be read.
        """
        ...

    def state(self) -> KernelLogState:
        """Return how well the stream is being read, and count its losses anew from here."""
        ...
