"""The services of a simulated machine: a systemd that says what `systemctl show` says, and nothing else.

Both programs are shell scripts that print a file, in the place where the agent looks for the machine's programs.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from agent.simulation.hardware import DRIVER_VERSION, SimulatedHost
from agent.simulation.states import replace_file
from agent.sources.services import BOOTED, DRIVER, FABRIC_MANAGER, NOT_INSTALLED, UNITS

INSTALLED: Final = (
    "nvidia-dcgm",
    "nvidia-fabricmanager",
    "nvidia-imex",
    "nvidia-persistenced",
    "slurmd",
)

SHOWN: Final = "systemd.units"


def write_services(directory: Path, sysfs: Path, programs: Path, host: SimulatedHost) -> None:
    """Make the files and programs of the machine say how its services are.

    Args:
        directory: of the machine.
        sysfs, programs: folders in it.
    """
    shown = directory / SHOWN
    files = {
        shown: "\n\n".join(_unit(unit, host) for unit in UNITS) + "\n",
        directory / BOOTED / "units": "",
        sysfs / DRIVER: f"{DRIVER_VERSION}\n",
        programs / "systemctl": f"#!/bin/sh\nexec cat {shlex.quote(str(shown))}\n",
        programs / FABRIC_MANAGER: f"#!/bin/sh\necho 'Fabric Manager version is : {DRIVER_VERSION}'\n",
    }
    for path, text in files.items():
        replace_file(path, text.encode(), scratch=directory)
        if path.parent == programs:
            path.chmod(0o755)


def _unit(name: str, host: SimulatedHost) -> str:
    return "\n".join(f"{key}={value}" for key, value in _facts(name, host))


def _facts(name: str, host: SimulatedHost) -> Iterator[tuple[str, str]]:
    is_installed, has_failed = name in INSTALLED, name == host.failed_service
    yield "Id", f"{name}.service"
    yield "LoadState", "loaded" if is_installed else NOT_INSTALLED
    yield "UnitFileState", "enabled" if is_installed else ""
    yield "ActiveState", "failed" if has_failed else "active" if is_installed else "inactive"
    yield "SubState", "failed" if has_failed else "running" if is_installed else "dead"
    yield "Result", "exit-code" if has_failed else "success"
    yield "NRestarts", "0"
    yield "ConditionResult", "yes" if is_installed else "no"
    yield "ConditionTimestampMonotonic", "31000000" if is_installed else "0"
