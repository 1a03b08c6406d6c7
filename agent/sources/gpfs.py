"""The GPFS (IBM Storage Scale) daemon of this node, by `mmgetstate`: a shell script that takes a while, so rarely."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from agent.sources.source import Cost, Declaration, Privilege, Surroundings, Timing
from agent.sources.tool import Tool
from checks.errors import CannotObserve
from checks.kernel_log import excerpt
from checks.readings import GpfsReading

PROGRAM: Final = "mmgetstate"
FOLDER: Final = "usr/lpp/mmfs/bin"
"""Where it is installed; seldom in PATH. Source: IBM Storage Scale, Command Reference."""

ROW: Final = "mmgetstate::"
HEADER: Final = "HEADER"
NO_CLUSTER: Final = "does not belong to a GPFS cluster"
ACTIVE: Final = "active"


class GpfsSource:
    """The state of this node in its GPFS cluster."""

    name = "gpfs"

    def __init__(self, surroundings: Surroundings, timing: Timing) -> None:
        """Run nothing yet."""
        self.timing = timing
        self._monotonic = surroundings.monotonic
        self._store = surroundings.store(self.name)
        self._was_active = self._store.load().get("was_active") is True
        self._tool = Tool(surroundings.find(PROGRAM) or _installed(surroundings.root / FOLDER / PROGRAM))

    async def read(self) -> GpfsReading:
        """Return one reading, an empty one where there is no GPFS and never was.

        Raises:
            CannotObserve: the program does not tell.
        """
        if not self._tool.is_installed and not self._was_active:
            return GpfsReading(self._monotonic())
        ended = await self._tool.run("-Y", deadline_s=self.timing.deadline_s)
        told = parse_state(ended.text)
        if told.get("state") == ACTIVE and not self._was_active:
            self._was_active = True
            self._store.save({"was_active": True})
        return GpfsReading(
            at_s=self._monotonic(),
            present=bool(told),
            was_active=self._was_active,
            node=told.get("nodeName", ""),
            state=told.get("state", ""),
            quorum=told.get("quorum", ""),
            nodes_up=told.get("nodesUp", ""),
            nodes=told.get("totalNodes", ""),
        )

    async def close(self) -> None:
        """End the program if it still runs."""
        await self._tool.close()


SOURCE: Final = Declaration(
    name=GpfsSource.name,
    summary="The GPFS daemon's state by `mmgetstate`.",
    reading=GpfsReading,
    timing=Timing(interval_s=300.0, fast_interval_s=60.0, deadline_s=30.0),
    cost=Cost.HIGH,
    privilege=Privilege.ROOT,
    hangs_with="the GPFS daemon",
    make=GpfsSource,
)


def parse_state(text: str) -> dict[str, str]:
    """Return name → value of this node's row, empty when the node is in no cluster.

    Raises:
        CannotObserve: it printed something else in place of a row.
    """
    names: list[str] = []
    for line in text.splitlines():
        fields = line.split(":")
        if line.startswith(ROW) and len(fields) > 2:
            if fields[2] == HEADER:
                names = fields
            elif names:
                row = dict(zip(names, fields, strict=False))
                if row.get("state"):
                    return row
    if NO_CLUSTER in text:
        return {}
    raise CannotObserve(f"{PROGRAM} -Y: {excerpt(text) or 'it said nothing'}")


def _installed(path: Path) -> str:
    return str(path) if path.is_file() else ""
