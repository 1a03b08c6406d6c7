"""What systemd is told: users, units that start with the host, services that start now."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cli.place import Place

ASK_S: Final = 30.0
START_S: Final = 660.0
"""A little longer than the longest TimeoutStartSec= of our units."""


class NotDone(Exception):
    """A program of systemd did not do what it was told; the text says which, and what it said."""


@dataclass(frozen=True, slots=True)
class Unit:
    """What systemd says of a unit.

    Attributes:
        load: `loaded`, `not-found`, `masked`, ...
        enabled: `enabled`, `disabled`, `static`, ...; empty for one that is not installed.
        active: `active`, `inactive`, `failed`, ...
        needs_reload: whether its files changed since systemd read them.
        watchdog: as systemd writes it, `1min` or `0`.
        drop_ins: paths of what was added to it.
    """

    name: str
    load: str
    enabled: str = ""
    active: str = ""
    status: str = ""
    result: str = ""
    process: int = 0
    needs_reload: bool = False
    watchdog: str = ""
    drop_ins: tuple[str, ...] = ()


PROPERTIES: Final = (
    "LoadState",
    "UnitFileState",
    "ActiveState",
    "StatusText",
    "Result",
    "MainPID",
    "NeedDaemonReload",
    "WatchdogUSec",
    "DropInPaths",
)
"""Source: org.freedesktop.systemd1(5)."""


def make_users(place: Place) -> None:
    """Have the users that the units run as.

    Raises:
        NotDone: it could not be done, also because there is no systemd-sysusers.
    """
    if shutil.which("systemd-sysusers") is None:
        raise NotDone("systemd-sysusers is not here: make the users of systemd/fleetmend.sysusers.conf by hand")
    _tell("systemd-sysusers", *(() if place.is_live else (f"--root={place.root}",)))


def reload() -> None:
    """Have systemd read its units anew.

    Raises:
        NotDone: it did not.
    """
    _tell("systemctl", "daemon-reload")


def reload_service(service: str) -> None:
    """Have a service read its files anew.

    Raises:
        NotDone: it did not.
    """
    _tell("systemctl", "reload", f"{service}.service")


def enable(place: Place, units: Sequence[str]) -> bool:
    """Have units start with the host; return whether one did not before.

    Raises:
        NotDone: it could not be done.
    """
    where = () if place.is_live else (f"--root={place.root}",)
    asked = subprocess.run(
        ("systemctl", *where, "is-enabled", *units), capture_output=True, text=True, check=False, timeout=ASK_S
    )
    if asked.returncode == 0:
        return False
    _tell("systemctl", *where, "enable", *units)
    return True


def start(units: Sequence[str], *, restart: Sequence[str] = ()) -> None:
    """Start what does not run yet, and those anew that run with old files; return when they are ready.

    Raises:
        NotDone: one did not start.
    """
    if restart:
        _tell("systemctl", "restart", *restart, limit_s=START_S)
    _tell("systemctl", "start", *units, limit_s=START_S)


def show(unit: str) -> Unit:
    """Return what systemd says of a unit.

    Raises:
        NotDone: it does not answer.
    """
    shown = _tell("systemctl", "show", f"--property={','.join(PROPERTIES)}", unit)
    said = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    return Unit(
        name=unit,
        load=said.get("LoadState", ""),
        enabled=said.get("UnitFileState", ""),
        active=said.get("ActiveState", ""),
        status=said.get("StatusText", ""),
        result=said.get("Result", ""),
        process=int(said.get("MainPID", "0") or "0"),
        needs_reload=said.get("NeedDaemonReload") == "yes",
        watchdog=said.get("WatchdogUSec", ""),
        drop_ins=tuple(said.get("DropInPaths", "").split()),
    )


def last_words(unit: str, lines: int = 5) -> str:
    """Return the last lines that a unit logged, empty when the journal does not say."""
    try:
        return _tell("journalctl", "--no-pager", "--output=cat", f"--lines={lines}", f"--unit={unit}").rstrip()
    except NotDone:
        return ""


def _tell(*command: str, limit_s: float = ASK_S) -> str:
    try:
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=limit_s)
    except (OSError, subprocess.SubprocessError) as error:
        raise NotDone(f"{' '.join(command)}: {error}") from error
    if ended.returncode:
        said = " ".join((ended.stderr or ended.stdout).split())
        raise NotDone(f"{' '.join(command)} ended with {ended.returncode}: {said}")
    return ended.stdout
