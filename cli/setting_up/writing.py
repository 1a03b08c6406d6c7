"""Carries a plan out: every file whole or not at all, and all of them or none."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from cli.place import Place
from cli.setting_up.plan import Change, File, Folder, Owners


class Unwritten(Exception):
    """Nothing was changed; the text says which file could not be written, and why."""


@dataclass(slots=True)
class Writing:
    """Writes changes, and takes back what was written when one of them fails."""

    place: Place
    owners: Owners
    _undo: list[Callable[[], object]] = field(default_factory=list)

    def write(self, changes: Sequence[Change]) -> None:
        """Have the host as the changes want it.

        Raises:
            Unwritten: one cannot be written; all are as they were before.
        """
        for change in changes:
            path = self.place.at(change.wanted.path)
            try:
                self._make(change.wanted, path)
            except OSError as error:
                self.take_back()
                raise Unwritten(f"{path}: {error.strerror}; nothing was changed") from error

    def take_back(self) -> None:
        """Have everything as it was before the first write, as far as that can be done."""
        for undo in reversed(self._undo):
            with contextlib.suppress(OSError):
                undo()
        self._undo.clear()

    def _make(self, wanted: File | Folder, path: Path) -> None:
        self._make_parents(path.parent)
        if isinstance(wanted, Folder):
            if not path.is_dir():
                path.mkdir(mode=wanted.mode)
                self._undo.append(path.rmdir)
            self._own(path, wanted)
        elif path.exists() and (wanted.stays or path.read_bytes() == wanted.content.encode()):
            self._own(path, wanted)
        else:
            self._replace(wanted, path)

    def _make_parents(self, folder: Path) -> None:
        if folder.is_dir():
            return
        self._make_parents(folder.parent)
        folder.mkdir(mode=0o755)
        self._undo.append(folder.rmdir)

    def _replace(self, wanted: File, path: Path) -> None:
        self._undo.append(_restoring(path))
        _put(path, wanted.content.encode(), lambda fresh: self._own(fresh, wanted))

    def _own(self, path: Path, wanted: File | Folder) -> None:
        """Set owner and mode; the mode last, for a change of owner may take bits from it."""
        owner, group = self.owners.users.get(wanted.owner), self.owners.groups.get(wanted.group)
        if os.geteuid() == 0:
            os.chown(path, -1 if owner is None else owner, -1 if group is None else group)
        path.chmod(wanted.mode)


def _restoring(path: Path) -> Callable[[], object]:
    """Return what gives the file back as it is now."""
    if not path.exists():
        return partial(path.unlink, missing_ok=True)
    content, status = path.read_bytes(), path.stat()

    def own(fresh: Path) -> None:
        os.chown(fresh, status.st_uid, status.st_gid)
        fresh.chmod(stat.S_IMODE(status.st_mode))

    return partial(_put, path, content, own)


def _put(path: Path, content: bytes, own: Callable[[Path], object]) -> None:
    """Replace a file in one step, by one that only we could read before `own` was called with it."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        own(fresh)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
