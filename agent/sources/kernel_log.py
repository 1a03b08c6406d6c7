"""The kernel log, followed as it is written: no poll, no line lost in silence, and no bytes that stop the reader.

The kernel keeps its records in a ring. Who reads too slowly is told so (EPIPE) and goes on with the oldest record that
is left; the record numbers then say how many were missed.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path
from typing import Final, Protocol

from checks.errors import CannotObserve
from checks.kernel_log import parse_line
from checks.readings import KernelLogState, KernelRecord

RECORD_BYTES: Final = 16_384
"""Twice the longest record. Source: kernel/printk, PRINTKRB_RECORD_MAX 1024 and CONSOLE_EXT_LOG_MAX 8192."""

BATCH_RECORDS: Final = 128
"""After so many records the other tasks of the agent get their turn: a flood must not starve them."""

PIPE_BYTES: Final = 65_536

_RECORD = re.compile(rb"\d+,\d+,\d+,")
"""How every record of the device begins. Source: kernel, Documentation/ABI/testing/dev-kmsg."""


class Reader(Protocol):
    """One open kernel log.

    Attributes:
        is_gapless: whether record numbers never leave one out, so that a gap is a loss even without an overrun.
    """

    is_gapless: bool

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when there is more."""
        ...

    def read(self) -> bytes | None:
        """Return the next record as it lies in the log, `None` when there is none at the moment.

        Raises:
            Overrun: records were overwritten before they were read; the next read goes on after them.
        """
        ...

    def close(self) -> None:
        """Let go of the log."""
        ...


class Overrun(Exception):
    """Records were lost; the number of the next one says how many."""


class DeviceReader:
    """/dev/kmsg: every read returns one whole record."""

    is_gapless = False

    def __init__(self, path: Path, *, read: Callable[[int, int], bytes] = os.read) -> None:
        """Open the log at its oldest record. `read` is the system call."""
        self._read, self._is_log = read, False
        self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    def fileno(self) -> int:
        """Return the device's descriptor."""
        return self._descriptor

    def read(self) -> bytes | None:
        """Return the next record. One that is too long (EINVAL) is passed over by the kernel, and lost."""
        try:
            record = self._read(self._descriptor, RECORD_BYTES)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno in (errno.EPIPE, errno.EINVAL):
                raise Overrun from error
            raise
        if not record:
            raise OSError(errno.ENODEV, "it is no kernel log, it came to an end")
        if not self._is_log and not _RECORD.match(record):
            raise OSError(errno.ENODEV, "it is no kernel log, its first record has no number")
        self._is_log = True
        return record

    def close(self) -> None:
        """Close the device."""
        os.close(self._descriptor)


class PipeReader:
    """The log of a simulated machine: a file that holds the boot so far, and a FIFO on which new lines come.

    The FIFO is opened before the file is read, so that no line falls between them; the record numbers tell which lines
    came both ways. It is opened for writing too, so that it does not end when the writer closes it.
    """

    is_gapless = True

    def __init__(self, history: Path, pipe: Path) -> None:
        """Open the log at its oldest record."""
        self._descriptor = os.open(pipe, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._lines = deque(history.read_bytes().split(b"\n")[:-1])
        self._rest = b""

    def fileno(self) -> int:
        """Return the FIFO's descriptor."""
        return self._descriptor

    def read(self) -> bytes | None:
        """Return the next line."""
        if not self._lines:
            with contextlib.suppress(BlockingIOError):
                *lines, self._rest = (self._rest + os.read(self._descriptor, PIPE_BYTES)).split(b"\n")
                self._lines.extend(lines)
        if len(self._rest) > RECORD_BYTES:
            self._lines.append(self._rest)
            self._rest = b""
        return self._lines.popleft() if self._lines else None

    def close(self) -> None:
        """Close the FIFO."""
        os.close(self._descriptor)


class KernelLogSource:
    """The kernel log of this boot as a stream of records, those already seen left out."""

    name = "kernel_log"

    def __init__(
        self,
        open_reader: Callable[[], Reader] = lambda: DeviceReader(Path("/dev/kmsg")),
        *,
        after_sequence: int = -1,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open nothing yet.

        Args:
            after_sequence: number of the last record that was seen in this boot, -1 for none.
        """
        self._open_reader, self._monotonic = open_reader, monotonic
        self._sequence = after_sequence
        self._reader: Reader | None = None
        self._because = ""
        self._is_gap_a_loss = False
        self._lost = self._lost_before = 0

    async def records(self) -> AsyncGenerator[KernelRecord, None]:
        """Yield records, those of this boot not yet seen first; never ends by itself.

        Raises:
            CannotObserve: the log cannot be opened, or reading it fails.
        """
        reader = self._opened()
        try:
            while True:
                is_drained = False
                for record in self._batch(reader):
                    if record is None:
                        is_drained = True
                        break
                    yield record
                await (_readable(reader.fileno()) if is_drained else asyncio.sleep(0))
        except OSError as error:
            self._because = f"reading failed: {error.strerror}"
            raise CannotObserve(self._because) from error
        finally:
            reader.close()
            self._reader = None

    def backlog(self) -> Iterator[KernelRecord]:
        """Yield the records that are there already, and end.

        Raises:
            CannotObserve: the log cannot be opened, or reading it fails.
        """
        reader = self._opened()
        try:
            while True:
                for record in self._batch(reader):
                    if record is None:
                        return
                    yield record
        except OSError as error:
            self._because = f"reading failed: {error.strerror}"
            raise CannotObserve(self._because) from error

    def state(self) -> KernelLogState:
        """Return how well the log is being read, and count its losses anew from here."""
        with contextlib.suppress(CannotObserve):
            self._opened()
        recently, self._lost_before = self._lost - self._lost_before, self._lost
        return KernelLogState(
            at_s=self._monotonic(),
            readable=self._reader is not None and not self._because,
            because=self._because,
            lost_records=self._lost,
            lost_recently=recently,
        )

    def _opened(self) -> Reader:
        if self._reader is None:
            try:
                self._reader = self._open_reader()
            except OSError as error:
                self._because = _explain(error)
                raise CannotObserve(self._because) from error
            self._is_gap_a_loss = self._sequence >= 0
        return self._reader

    def _batch(self, reader: Reader) -> Iterator[KernelRecord | None]:
        """Yield the next records, and `None` at the end of what there is; a record that says nothing is passed over."""
        for _ in range(BATCH_RECORDS):
            try:
                raw = reader.read()
            except Overrun:
                self._is_gap_a_loss = True
                continue
            self._because = ""
            if raw is None:
                yield None
                return
            record = parse_line(raw)
            if record is not None and self._is_new(record, reader):
                yield record

    def _is_new(self, record: KernelRecord, reader: Reader) -> bool:
        """Return whether the record was not seen before, and count those that are missing before it."""
        if record.sequence is None:
            return True
        if record.sequence <= self._sequence:
            return False
        if self._is_gap_a_loss:
            self._lost += record.sequence - self._sequence - 1 if self._sequence >= 0 else 1
        self._is_gap_a_loss = reader.is_gapless
        self._sequence = record.sequence
        return True


async def _readable(descriptor: int) -> None:
    """Return when there is more to read."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)


def _explain(error: OSError) -> str:
    text = f"{error.filename}: {error.strerror}"
    return f"{text}; it takes root or CAP_SYSLOG" if isinstance(error, PermissionError) else text
