"""What is being released, and for which machines."""

from __future__ import annotations

import os
import subprocess
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]

PYTHONS: Final = ("3.11", "3.12", "3.13")
"""Of Debian 12, Ubuntu 24.04 and Debian 13. What is compiled fits one of them alone."""

EXTRAS: Final = ("s3", "traces")
"""The optional dependencies that pyproject.toml has."""

ARCHITECTURES: Final = {"amd64": "x86_64", "arm64": "aarch64"}
"""Debian's name of a processor → that of the kernel, of rpm and of wheels."""

GLIBC: Final = (2, 34)
"""The oldest C library that the wheels in the lock need; Debian 12 has 2.36, Red Hat 9 has 2.34."""

SYSTEMD: Final = 251
"""The oldest that hands out a folder of credentials (systemd/credentials.conf)."""


@dataclass(frozen=True, slots=True)
class Release:
    """One build.

    Attributes:
        version: of the project.
        epoch_s: Unix time that everything in it is dated by.
        python: the minor version that it runs on.
        architecture: as Debian calls it.
        extras: optional dependencies that come with it.
    """

    version: str
    epoch_s: int
    python: str = PYTHONS[0]
    architecture: str = "amd64"
    extras: tuple[str, ...] = ()

    @property
    def machine(self) -> str:
        """The processor as wheels and rpm call it."""
        return ARCHITECTURES[self.architecture]

    @property
    def platform(self) -> str:
        """What uv calls machines like those that it is for."""
        return f"{self.machine}-manylinux_{GLIBC[0]}_{GLIBC[1]}"

    @property
    def debian_version(self) -> str:
        """Sorts by version, then by the Python that it is for, as releases of a distribution do."""
        return f"{self.version}-1+py{self.python}"

    @property
    def date(self) -> datetime:
        """Of the epoch, in UTC."""
        return datetime.fromtimestamp(self.epoch_s, UTC)


def project(root: Path = ROOT) -> dict[str, object]:
    """Return the table `[project]` of pyproject.toml."""
    table = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert isinstance(table, dict)
    return table


def last_commit_s(root: Path = ROOT) -> int:
    """Return when the last commit was made; what SOURCE_DATE_EPOCH says, where it is set.

    Raises:
        OSError, subprocess.SubprocessError: this is no checkout of git.
    """
    told = os.environ.get("SOURCE_DATE_EPOCH")
    if told:
        return int(told)
    command = ["git", "-c", "safe.directory=*", "log", "-1", "--format=%ct"]
    return int(subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, timeout=60).stdout)
