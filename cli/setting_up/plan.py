"""What is to be on the host, as data, and what differs from what is there: nothing is changed here."""

from __future__ import annotations

import difflib
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from cli.place import Place

ROOT: Final = "root"


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder with its mode and owner."""

    path: str
    mode: int
    owner: str = ROOT
    group: str = ROOT


@dataclass(frozen=True, slots=True)
class File:
    """A file as it is to be.

    Attributes:
        is_secret: what is in it is never shown.
        stays: one that is there is left as it is, whatever it holds; of a secret, mode and owner are set right.
    """

    path: str
    content: str = field(repr=False)
    mode: int = 0o644
    owner: str = ROOT
    group: str = ROOT
    is_secret: bool = False
    stays: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is to be there, folders first; each folder after the one it is in."""

    folders: tuple[Folder, ...] = ()
    files: tuple[File, ...] = ()

    def and_then(self, other: Plan) -> Plan:
        """Return both, each folder and file once."""
        return Plan(
            tuple(dict.fromkeys((*self.folders, *other.folders))), tuple(dict.fromkeys((*self.files, *other.files)))
        )


class State(StrEnum):
    """How the host differs from a plan in one file."""

    NEW = "new"
    OTHER = "other"
    """It is there and holds something else."""
    LOOSE = "loose"
    """It holds what it should, with another mode or owner."""
    SAME = "same"


@dataclass(frozen=True, slots=True)
class Change:
    """One file or folder that is not as planned."""

    wanted: File | Folder
    state: State
    before: str = field(default="", repr=False)

    def lines(self) -> list[str]:
        """Return the difference in lines, as `diff -u` writes them; of a secret that it is one."""
        path = self.wanted.path
        if isinstance(self.wanted, Folder):
            return [f"+++ {path}/  (mode {self.wanted.mode:04o}, {self.wanted.owner}:{self.wanted.group})"]
        if self.state is State.LOOSE:
            return [f"+++ {path}  (mode {self.wanted.mode:04o}, {self.wanted.owner}:{self.wanted.group})"]
        if self.wanted.is_secret:
            return [f"+++ {path}  (mode {self.wanted.mode:04o}; a secret, which is not shown)"]
        before = self.before.splitlines()
        name = path if before else "/dev/null"
        return list(difflib.unified_diff(before, self.wanted.content.splitlines(), name, path, lineterm=""))


@dataclass(frozen=True, slots=True)
class Owners:
    """Numbers of a host's users and groups by their names; empty where owners are not ours to set."""

    users: dict[str, int]
    groups: dict[str, int]

    @classmethod
    def of(cls, place: Place) -> Owners:
        """Return those in the place's own files."""
        return cls(_numbers(place.at("/etc/passwd")), _numbers(place.at("/etc/group")))

    def belongs(self, found: Path, wanted: File | Folder) -> bool:
        """Return whether a file has the owner and group that are wanted, as far as these have numbers."""
        status = found.stat()
        owner, group = self.users.get(wanted.owner), self.groups.get(wanted.group)
        return owner in (None, status.st_uid) and group in (None, status.st_gid)


def _numbers(file: Path) -> dict[str, int]:
    try:
        lines = [line.split(":") for line in file.read_text("utf-8", "replace").splitlines()]
    except OSError:
        return {}
    return {parts[0]: int(parts[2]) for parts in lines if len(parts) > 2 and parts[2].isdigit()}


def differences(plan: Plan, place: Place, owners: Owners) -> list[Change]:
    """Return what is not as planned.

    Raises:
        OSError: a file that is there cannot be read.
    """
    return [*_folders(plan.folders, place, owners), *_files(plan.files, place, owners)]


def _folders(folders: Sequence[Folder], place: Place, owners: Owners) -> Iterator[Change]:
    for wanted in folders:
        found = place.at(wanted.path)
        if not found.is_dir():
            yield Change(wanted, State.NEW)
        elif _is_loose(found, wanted, owners):
            yield Change(wanted, State.LOOSE)


def _files(files: Sequence[File], place: Place, owners: Owners) -> Iterator[Change]:
    for wanted in files:
        found = place.at(wanted.path)
        if not found.exists():
            yield Change(wanted, State.NEW)
            continue
        if wanted.stays and not wanted.is_secret:
            continue
        before = found.read_text("utf-8", "replace")
        if before != wanted.content and not wanted.stays:
            yield Change(wanted, State.OTHER, before)
        elif _is_loose(found, wanted, owners):
            yield Change(wanted, State.LOOSE)


def _is_loose(found: Path, wanted: File | Folder, owners: Owners) -> bool:
    return stat.S_IMODE(found.stat().st_mode) != wanted.mode or not owners.belongs(found, wanted)
