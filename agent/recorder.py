"""What the agent is given to judge, written down as it comes, so that it can be judged again (checks/recording.py).

A recorder never stands in the way of what it records: a disk that takes no more ends the recording and nothing else.
"""

from __future__ import annotations

import asyncio
import gzip
import importlib.metadata
import sys
from collections.abc import Collection
from datetime import UTC, datetime
from errno import EINVAL
from os import SEEK_END
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol, cast

import structlog

from checks.recording import FORMAT, Entry, Header, Started, What, encode, entry_of

log = structlog.get_logger()

STANDARD_OUTPUT: Final = "-"
GZIP_SUFFIX: Final = ".gz"
HEAD: Final = b'{"fleetmend_recording":'
"""What the first line of every recording begins with (checks/recording.py)."""

PIECE_BYTES: Final = 1 << 16


class Observer(Protocol):
    """Is told everything that is judged, in order."""

    def __call__(self, what: What, *, source: str, at: float) -> None:
        """Take note of it. `at`: Unix time at which the reading of it began."""
        ...

    def close(self) -> None:
        """Take note of nothing more."""
        ...


class Nobody:
    """Takes note of nothing."""

    def __call__(self, what: What, *, source: str, at: float) -> None:
        """Let it pass."""

    def close(self) -> None:
        """Nothing is open."""


NOBODY: Final = Nobody()


class Recorder:
    """Writes a recording.

    Attributes:
        entries: how many lines were written after the first.
        ended: set when nothing more is written.
        failure: why writing failed, empty while it has not.
    """

    def __init__(self, out: BinaryIO, *, only: Collection[str] = (), most_bytes: int = 0) -> None:
        """Write nothing yet.

        Args:
            only: names of the sources whose readings are kept; all when there are none.
            most_bytes: the recording ends before it is longer; 0 for no limit.
        """
        self.entries = 0
        self.ended = asyncio.Event()
        self.failure = ""
        self._out, self._only, self._most_bytes = out, frozenset(only), most_bytes
        self._written = 0

    def begin(self, header: Header) -> None:
        """Write the first line."""
        self._write(header)

    def go_on(self, boot_id: str, *, at: float, written: int) -> None:
        """Write that the agent started again, into a recording that holds so many bytes."""
        self._written = written
        self._write(entry_of(Started(boot_id), at=at))

    def __call__(self, what: What, *, source: str, at: float) -> None:
        """Write one line."""
        if self.ended.is_set() or (self._only and source and source not in self._only):
            return
        self._write(entry_of(what, at=at, source=source))
        self.entries += 1

    def close(self) -> None:
        """End the recording, whole."""
        self.ended.set()
        if self._out is sys.stdout.buffer:
            return
        try:
            self._out.close()
        except OSError as error:
            self.failure = self.failure or error.strerror or str(error)

    def _write(self, line: Header | Entry) -> None:
        text = encode(line)
        if self._most_bytes and self._written + len(text) > self._most_bytes:
            log.warning("recording.ended", because=f"it holds {self._most_bytes} bytes", entries=self.entries)
            self.close()
            return
        try:
            self._out.write(text)
            self._out.flush()
        except OSError as error:
            self.failure = error.strerror or str(error)
            log.error("recording.ended", because=self.failure, entries=self.entries)
            self.close()
        self._written += len(text)


def create(path: str) -> BinaryIO:
    """Return a new file to record into: standard output for `-`, compressed where the name ends in `.gz`.

    Raises:
        OSError: it cannot be made.
    """
    if path == STANDARD_OUTPUT:
        return sys.stdout.buffer
    if path.endswith(GZIP_SUFFIX):
        return cast(BinaryIO, gzip.open(path, "wb"))
    return Path(path).open("wb")


def record_beside(path: Path, header: Header, *, most_bytes: int, now: float) -> Observer:
    """Return what records a daemon into a file, or takes note of nothing when that cannot be written.

    A recording that is there already goes on; it is plain text, so that its size is what was written.
    """
    try:
        out = _at_end(path)
    except OSError as error:
        log.error("recording.refused", path=str(path), because=error.strerror)
        return NOBODY
    recorder, written = Recorder(out, most_bytes=most_bytes), out.tell()
    if written:
        recorder.go_on(header.boot_id, at=now, written=written)
    else:
        recorder.begin(header)
    return recorder


def _at_end(path: Path) -> BinaryIO:
    """Return a recording, open behind its last whole line: a kill, or a disk that was full, may have left half of one.

    Raises:
        OSError: it cannot be written, or is something else.
    """
    if path.exists() and not path.is_file():
        raise OSError(EINVAL, "it is there already, and is no file")
    file = path.open("a+b")
    file.seek(0)
    if not HEAD.startswith(file.read(len(HEAD))):
        file.close()
        raise OSError(EINVAL, "it is there already, and is no recording")
    file.truncate(_end_of_lines(file))
    file.seek(0, SEEK_END)
    return file


def _end_of_lines(file: BinaryIO) -> int:
    """Return where the last whole line ends, 0 when there is none."""
    end = file.seek(0, SEEK_END)
    while end > 0:
        begin = max(0, end - PIECE_BYTES)
        file.seek(begin)
        if (place := file.read(end - begin).rfind(b"\n")) >= 0:
            return begin + place + 1
        end = begin
    return 0


def reader_of(path: Path) -> Any:
    """Return a recording that is open for reading.

    Raises:
        OSError: it cannot be read.
    """
    return gzip.open(path, "rb") if path.name.endswith(GZIP_SUFFIX) else path.open("rb")


def header_of(node: str, boot_id: str, *, accept_userspace: bool) -> Header:
    """Return what a recording of this node that begins now says of itself."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    version = importlib.metadata.version("fleetmend")
    return Header(FORMAT, f"recorded on {node} from {now}", node, boot_id, version, accept_userspace)
