"""The units of a part: which are there already, and the files of those that are not."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from cli.place import Place
from cli.setting_up import shipped
from cli.setting_up.plan import File

OURS: Final = "/etc/systemd/system"
LIBRARIES: Final = ("/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
LOOKED_IN: Final = (OURS, "/run/systemd/system", *LIBRARIES)
"""Source: systemd.unit(5), "Unit File Load Path"."""

INSTALLED_IN: Final = "/opt/fleetmend/venv/bin"
"""Where the units that come with fleetmend start it."""

CLOSED: Final = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108 # none of them is written to
"""What the units' sandboxes close or hide."""

COMPANY: Final = {"sysusers": "/usr/lib/sysusers.d/fleetmend.conf", "tmpfiles": "/usr/lib/tmpfiles.d/fleetmend.conf"}
BESIDE: Final = {"fleetmend-hold": "/usr/lib/fleetmend/fleetmend-hold"}
"""Programs that units start beside fleetmend itself."""


def found(place: Place, unit: str) -> Path | None:
    """Return where a unit is installed, or a drop-in of one (`UNIT.d/NAME`); `None` where it is not."""
    return next((path for folder in LOOKED_IN if (path := place.at(f"{folder}/{unit}")).exists()), None)


def files(place: Place, units: Iterable[str], drop_ins: Iterable[tuple[str, str]]) -> tuple[File, ...]:
    """Return those of the units, drop-ins (service, name) and what they need that are not there yet."""
    company = [File(path, shipped.text(f"fleetmend.{kind}.conf"), stays=True) for kind, path in COMPANY.items()]
    own = [File(f"{OURS}/{unit}", _started_from(shipped.text(unit), place), stays=True) for unit in units]
    added = [(f"{service}.service.d/{name}", shipped.text(name)) for service, name in drop_ins]
    dropped = [File(f"{OURS}/{path}", text, stays=True) for path, text in added]
    missing = [file for file in (*own, *dropped) if found(place, file.path.removeprefix(f"{OURS}/")) is None]
    return (*(file for file in company if not _has_company(place, file)), *missing)


def programs(names: Sequence[str]) -> tuple[File, ...]:
    """Return the programs that units start beside fleetmend."""
    return tuple(File(BESIDE[name], shipped.text(name), mode=0o755, stays=True) for name in names)


def _has_company(place: Place, file: File) -> bool:
    return place.at(file.path).exists() or place.at(file.path.replace("/usr/lib/", "/etc/", 1)).exists()


def program_folder(place: Place) -> str:
    """Return where units are to start fleetmend: the environment that runs now, and in an image the usual one."""
    return str(Path(sys.executable).parent) if place.is_live else INSTALLED_IN


def why_unreachable(place: Place, units: Iterable[str]) -> str:
    """Return why units that are not there yet could not start this fleetmend, empty when they can."""
    folder = program_folder(place)
    missing = [unit for unit in units if found(place, unit) is None]
    if not missing or not any(folder == each or folder.startswith(f"{each}/") for each in CLOSED):
        return ""
    return (
        f"fleetmend runs from {folder}, which its services may not see; install it into {INSTALLED_IN} "
        "(docs/how-to/install.md) and run setup from there"
    )


def _started_from(text: str, place: Place) -> str:
    return text.replace(INSTALLED_IN, program_folder(place))
