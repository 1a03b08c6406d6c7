"""The Lustre client, from the files in which it tells about itself.

Releases differ in where these are: procfs until 2.10, then sysfs and, for root alone, debugfs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from agent.sources.files import Contents, FileReader, entries
from agent.sources.source import Cost, Declaration, Privilege, Surroundings, Timing
from checks.readings import LustreReading, LustreTarget

CONNECTORS: Final = ("mgc", "mdc", "osc")
"""Folders of those that connect to the servers of configuration, metadata and data."""

HEALTH: Final = ("health_check", "health")
IMPORT, ACTIVE = "import", "active"
"""Files that are read. Source: lustre/obdclass/obd_sysfs.c and lustre/obdclass/lprocfs_status.c; kernel,
drivers/staging/lustre/sysfs-fs-lustre."""

_CONNECTOR = re.compile(r"(.{1,64})-(?:osc|mdc)-[0-9a-f]{8,16}", re.ASCII)
_STATE = re.compile(r"\s*state: ([A-Z_]{1,32})\s*$", re.ASCII | re.MULTILINE)
_CONNECTION = re.compile(r"\s*current_connection: (\S{1,128})\s*$", re.MULTILINE)


class LustreSource:
    """The client with the server targets that it is to be connected to."""

    name = "lustre"

    def __init__(self, surroundings: Surroundings, timing: Timing) -> None:
        """Read nothing yet."""
        self.timing = timing
        self._monotonic = surroundings.monotonic
        self._reader = FileReader(surroundings.find("grep"))
        self._folders = (
            surroundings.sysfs / "fs/lustre",
            surroundings.sysfs / "kernel/debug/lustre",
            surroundings.procfs / "fs/lustre",
        )

    async def read(self) -> LustreReading:
        """Return one reading, an empty one where there is no Lustre.

        Raises:
            CannotObserve: the client does not let go of its files.
        """
        folders = [folder for folder in self._folders if folder.is_dir()]
        if not folders:
            return LustreReading(self._monotonic())
        contents = await self._reader.read(client_files(folders), deadline_s=self.timing.deadline_s)
        health = next((text for path in _health_files(folders) if (text := contents.text(path).strip())), "")
        return LustreReading(self._monotonic(), True, health, tuple(read_targets(folders, contents)))

    async def close(self) -> None:
        """End the process that reads."""
        await self._reader.close()


SOURCE: Final = Declaration(
    name=LustreSource.name,
    summary="The Lustre client's health and its connections, from sysfs, debugfs and procfs.",
    reading=LustreReading,
    timing=Timing(interval_s=60.0, fast_interval_s=15.0, deadline_s=10.0),
    cost=Cost.LOW,
    privilege=Privilege.ROOT,
    hangs_with="the Lustre client",
    make=LustreSource,
)


def client_files(folders: list[Path]) -> list[Path]:
    """Return every file of the client that is looked at."""
    connectors = [path for paths in _connectors(folders).values() for path in paths]
    return [*_health_files(folders), *(path / name for path in connectors for name in (IMPORT, ACTIVE))]


def read_targets(folders: list[Path], contents: Contents) -> Iterator[LustreTarget]:
    """Yield every target, in the order of names."""
    for name, paths in sorted(_connectors(folders).items()):
        told = "\n".join(contents.text(path / IMPORT) for path in paths)
        active = [number for path in paths if (number := contents.number(path / ACTIVE)) is not None]
        state, connection = _STATE.search(told), _CONNECTION.search(told)
        match = _CONNECTOR.fullmatch(name)
        yield LustreTarget(
            name=match[1] if match else name,
            state=state[1] if state else "",
            active=bool(active[0]) if active else None,
            connection=connection[1] if connection else "",
        )


def _connectors(folders: list[Path]) -> dict[str, list[Path]]:
    """Return name → its folder under each of the roots that have one."""
    found: dict[str, list[Path]] = {}
    for folder in folders:
        for connector in CONNECTORS:
            for path in entries(folder / connector):
                if path.is_dir():
                    found.setdefault(path.name, []).append(path)
    return found


def _health_files(folders: list[Path]) -> list[Path]:
    return [folder / name for folder in folders for name in HEALTH]
