"""What the host says of itself before anything is asked: the defaults of the questions."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cli.place import Place

FOLDERS_FROM: Final = 251
"""The first systemd whose LoadCredential= takes a folder. Source: systemd, NEWS of 251."""

BOOTED: Final = "/run/systemd/system"
"""There when systemd is the host's first process. Source: sd_booted(3)."""

LIBRARIES: Final = ("usr/lib/*/systemd", "usr/lib/systemd", "usr/lib64/systemd", "lib/systemd", "lib/*/systemd")
"""Where distributions keep libsystemd-shared-<version>."""

PROGRAMS: Final = ("/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin")

ASK_S: Final = 10.0
_LIBRARY = re.compile(r"libsystemd-shared-(\d+)")
_VERSION = re.compile(r"^systemd (\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Host:
    """What was found.

    Attributes:
        gpus: how many GPUs of NVIDIA the driver shows.
        runs_systemd: whether services can be started now.
        systemd: its version, 0 when none was found.
        has_mosquitto: whether a broker can be started here.
        has_nft: whether what comes to it can be limited.
    """

    name: str
    gpus: int
    has_slurm: bool
    has_kubernetes: bool
    runs_systemd: bool
    systemd: int
    has_mosquitto: bool
    has_nft: bool = False

    @property
    def hands_credentials(self) -> bool:
        """Whether its systemd takes a folder of credentials; of an image that does not say, it is believed."""
        return not self.systemd or self.systemd >= FOLDERS_FROM

    @property
    def scheduler(self) -> str:
        """Who places work here, as the setting `scheduler.kind` names it."""
        if self.has_slurm:
            return "slurm"
        return "kubernetes" if self.has_kubernetes else "none"

    def sentence(self) -> str:
        """Return what was found, for a person."""
        parts = [
            f"{self.gpus} GPUs" if self.gpus else "no GPU that a driver shows",
            "Slurm" if self.has_slurm else "",
            "Kubernetes" if self.has_kubernetes else "",
            f"systemd {self.systemd or ''}".strip() if self.runs_systemd or self.systemd else "no systemd",
            "Mosquitto" if self.has_mosquitto else "",
        ]
        return f"This is {self.name}: {', '.join(filter(None, parts))}."


def look(place: Place) -> Host:
    """Return what there is at a place."""
    return Host(
        name=_name(place),
        gpus=_count(place.at("/proc/driver/nvidia/gpus")),
        has_slurm=place.at("/etc/slurm/slurm.conf").exists() or _has(place, "scontrol", "slurmd"),
        has_kubernetes=place.at("/etc/kubernetes").is_dir() or place.at("/var/lib/kubelet").is_dir(),
        runs_systemd=place.is_live and Path(BOOTED).is_dir(),
        systemd=_systemd(place),
        has_mosquitto=_has(place, "mosquitto"),
        has_nft=_has(place, "nft"),
    )


def _name(place: Place) -> str:
    if place.is_live:
        return socket.gethostname()
    file = place.at("/etc/hostname")
    return file.read_text("utf-8", "replace").strip() if file.is_file() else ""


def _count(folder: Path) -> int:
    return len(list(folder.iterdir())) if folder.is_dir() else 0


def _has(place: Place, *programs: str) -> bool:
    folders = os.pathsep.join(str(place.at(folder)) for folder in PROGRAMS)
    return any(shutil.which(program, path=folders) for program in programs)


def _systemd(place: Place) -> int:
    """Return the version of systemd: as it says itself, or as an image's libraries are called."""
    if place.is_live:
        said = _asked("systemctl", "--version")
        found = _VERSION.search(said)
        return int(found[1]) if found else 0
    names = (file.name for pattern in LIBRARIES for file in place.root.glob(f"{pattern}/libsystemd-shared-*"))
    return max((int(found[1]) for name in names if (found := _LIBRARY.match(name))), default=0)


def _asked(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=ASK_S).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
