"""The folder in which bundles arrive and are kept. Names come from grants that this controller signed, never from a
request, and a bundle is among those kept only when it is whole: what lies there was checked and synced before.

`partial/` holds what is on its way, `kept/` what is whole; each bundle has a record beside it. How much has come is the
length of the file: nothing else has to be written down, and a controller that was killed goes on from there.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
import structlog

from wire.evidence import Claims

log = structlog.get_logger()

READ_BYTES: Final = 1 << 20
FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class NoRoom(Exception):
    """The bundle does not fit: the disk or a quota is full; the text says which."""


class Mismatch(Exception):
    """What came is not what was announced; it was thrown away."""


class Record(msgspec.Struct, frozen=True):
    """One bundle.

    Attributes:
        sha256: as the node announced it; of a bundle that is kept, as it was found.
        at: when it was announced, Unix seconds.
    """

    upload: str
    node: str
    incident_id: str
    size_bytes: int
    sha256: str
    at: float


@dataclass(frozen=True, slots=True)
class Quota:
    """How much may lie on the shelf.

    Attributes:
        keep_free_bytes: of the disk, which the event log may share.
    """

    node_bytes: int
    total_bytes: int
    keep_free_bytes: int


@dataclass(slots=True)
class Shelf:
    """The bundles of one controller. Its methods block: call them from a thread where they may take long. Several may
    run at once, each about another bundle."""

    folder: Path
    quota: Quota
    _kept: dict[str, Record] = field(default_factory=dict)
    _partial: dict[str, Record] = field(default_factory=dict)

    def open(self) -> None:
        """Make the folder, or take up what lies in it.

        Raises:
            OSError: it cannot be made or read.
        """
        for folder in (self._of("partial"), self._of("kept")):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._finish_moves()
        self._kept = {record.upload: record for record in _records(self._of("kept"))}
        self._partial = {record.upload: record for record in _records(self._of("partial"))}

    def kept(self) -> tuple[Record, ...]:
        """Return every whole bundle, oldest first."""
        return tuple(sorted(self._kept.values(), key=lambda record: (record.at, record.upload)))

    def find(self, upload: str) -> Record | None:
        """Return the whole bundle of this name."""
        return self._kept.get(upload)

    def path(self, upload: str) -> Path:
        """Return where a whole bundle lies."""
        return self._file("kept", upload)

    def announced(self, upload: str) -> Record | None:
        """Return the bundle of this name, whole or on its way."""
        return self._kept.get(upload) or self._partial.get(upload)

    def offset(self, upload: str) -> int:
        """Return how many bytes of a bundle are here."""
        kept = self._kept.get(upload)
        if kept is not None:
            return kept.size_bytes
        with contextlib.suppress(FileNotFoundError):
            return self._file("partial", upload).stat().st_size
        return 0

    def announce(self, claims: Claims, *, size_bytes: int, sha256: str, now: float) -> Record:
        """Begin a bundle, or begin it anew where it is another one than was announced before.

        Raises:
            NoRoom: the disk is full.
        """
        record = Record(claims.upload, claims.node, claims.incident_id, size_bytes, sha256, now)
        with _room_for():
            _write(self._file("partial", claims.upload), b"")
            _write(self._record("partial", claims.upload), msgspec.json.encode(record))
        self._partial[record.upload] = record
        return record

    def append(self, upload: str, piece: bytes) -> None:
        """Add to a bundle that is on its way.

        Raises:
            NoRoom: the disk is full; what fitted is kept.
        """
        with _room_for(), self._file("partial", upload).open("ab", buffering=0) as file:
            view = memoryview(piece)
            while view:
                view = view[file.write(view) :]

    def sync(self, upload: str) -> None:
        """Return when what came so far is on the disk."""
        with _room_for(), self._file("partial", upload).open("ab") as file:
            os.fsync(file.fileno())

    def finish(self, upload: str) -> Record:
        """Check a bundle that is whole, and keep it.

        Raises:
            Mismatch: it is not what was announced; it is gone.
        """
        record = self._partial[upload]
        found = _sha256(self._file("partial", upload))
        if found != record.sha256:
            self.drop(upload)
            raise Mismatch(f"it was announced with SHA-256 {record.sha256} and came with {found}")
        self._file("partial", upload).rename(self._file("kept", upload))
        self._record("partial", upload).rename(self._record("kept", upload))
        for folder in ("kept", "partial"):
            _sync_folder(self._of(folder))
        self._kept[upload] = record
        del self._partial[upload]
        return record

    def drop(self, upload: str) -> None:
        """Throw a bundle away, whole or not."""
        self._kept.pop(upload, None)
        self._partial.pop(upload, None)
        for folder in ("partial", "kept"):
            self._record(folder, upload).unlink(missing_ok=True)
            self._file(folder, upload).unlink(missing_ok=True)

    def outdated(self, *, before: float, open_incidents: Collection[str]) -> tuple[Record, ...]:
        """Return the whole bundles that are older, but for those of open incidents."""
        return tuple(r for r in self.kept() if r.at < before and r.incident_id not in open_incidents)

    def drop_forgotten(self, *, before: float) -> int:
        """Throw away what was begun before and never came to its end; return how many that were."""
        forgotten = [record.upload for record in tuple(self._partial.values()) if record.at < before]
        for upload in forgotten:
            self.drop(upload)
        return len(forgotten)

    def make_room(self, claims: Claims, size_bytes: int, *, open_incidents: Collection[str]) -> tuple[Record, ...]:
        """Return the bundles to throw away so that another fits, oldest first; those of open incidents stay.

        Raises:
            NoRoom: it does not fit whatever is thrown away.
        """
        others = [r for r in (*self._kept.values(), *self._partial.values()) if r.upload != claims.upload]
        node_over = size_bytes + sum(r.size_bytes for r in others if r.node == claims.node) - self.quota.node_bytes
        over = size_bytes + sum(r.size_bytes for r in others) - self.quota.total_bytes
        disk_over = size_bytes + self._awaited() + self.quota.keep_free_bytes - shutil.disk_usage(self.folder).free
        going: list[Record] = []
        for record in self.kept():
            if max(node_over, over, disk_over) <= 0:
                break
            of_node = record.node == claims.node
            if record.incident_id in open_incidents or not (of_node or max(over, disk_over) > 0):
                continue
            going.append(record)
            node_over -= record.size_bytes if of_node else 0
            over, disk_over = over - record.size_bytes, disk_over - record.size_bytes
        _refuse_what_is_over(claims.node, node_over=node_over, over=over, disk_over=disk_over)
        return tuple(going)

    def _awaited(self) -> int:
        """Return how much of what was announced has yet to come."""
        return sum(max(0, r.size_bytes - self.offset(r.upload)) for r in tuple(self._partial.values()))

    def _finish_moves(self) -> None:
        """A controller that was killed between the two moves of `finish` had checked the bundle before."""
        for record in _records(self._of("partial")):
            if self._file("kept", record.upload).exists():
                self._record("partial", record.upload).rename(self._record("kept", record.upload))

    def _of(self, folder: str) -> Path:
        return self.folder / folder

    def _file(self, folder: str, upload: str) -> Path:
        return self.folder / folder / f"{upload}.tar.gz"

    def _record(self, folder: str, upload: str) -> Path:
        return self.folder / folder / f"{upload}.json"


def _refuse_what_is_over(node: str, *, node_over: int, over: int, disk_over: int) -> None:
    if node_over > 0:
        raise NoRoom(f"the bundles of {node} would take {node_over} bytes more than evidence.node_bytes lets them")
    if over > 0:
        raise NoRoom(f"all bundles would take {over} bytes more than evidence.total_bytes lets them")
    if disk_over > 0:
        raise NoRoom(f"the disk would have {disk_over} bytes less than evidence.keep_free_bytes left")


@contextlib.contextmanager
def _room_for() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise NoRoom(f"the disk of the controller is full: {error.strerror}") from error
        raise


def _records(folder: Path) -> Iterator[Record]:
    """Yield what the records in a folder say. One that cannot be read, or has no bundle, is passed over and logged."""
    for path in sorted(folder.glob("*.json")):
        try:
            record = msgspec.json.decode(path.read_bytes(), type=Record)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            log.warning("evidence.unreadable", path=str(path), because=str(error))
            continue
        if record.upload == path.stem:
            yield record


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        os.fsync(file.fileno())
        while piece := file.read(READ_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
