"""A file on a disk to measure with, of which nothing is left, however its process ends.

It has no name from the moment it is made, so that the kernel frees it with the process, also with one that was killed.
What is written is random, and each block says its number: neither compression nor a wrong block goes unseen.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import tempfile
from pathlib import Path
from typing import Final

from agent.bench.child import Broken

BLOCK_BYTES: Final = 4 << 20
"""Read and written at once. Source: our choice; large enough that a disk's bandwidth shows and not its latency, small
enough that a disk of 10 MB/s still answers within the second after which a job's arrival must be heard."""

STAMP_BYTES: Final = 8


class ScratchFile:
    """An open file without a name, written and read in blocks past the page cache where the file system lets us.

    Attributes:
        is_direct: whether the page cache is left out of it.
    """

    def __init__(self, folder: Path) -> None:
        """Make it.

        Raises:
            Broken: the folder is none, or cannot be written to.
        """
        self._pattern = os.urandom(BLOCK_BYTES - STAMP_BYTES)
        self._block = mmap.mmap(-1, BLOCK_BYTES)
        try:
            self._file, self.is_direct = _open_nameless(folder)
        except OSError as error:
            raise Broken(f"no scratch file can be made in {folder}: {error.strerror}") from error

    def __enter__(self) -> ScratchFile:
        """Give the file."""
        return self

    def __exit__(self, *_: object) -> None:
        """Free it."""
        os.close(self._file)
        self._block.close()

    def write(self, number: int) -> None:
        """Write one block and wait until the disk has it.

        Raises:
            OSError: the disk does not take it.
        """
        self._block[:] = number.to_bytes(STAMP_BYTES, "little") + self._pattern
        self._whole(os.pwritev(self._file, [self._block], number * BLOCK_BYTES))
        if not self.is_direct:
            os.fdatasync(self._file)

    def forget(self) -> None:
        """Ask the kernel to drop what it keeps of the file, so that reading asks the disk."""
        os.fsync(self._file)
        with contextlib.suppress(OSError):
            os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_DONTNEED)

    def read(self, number: int) -> None:
        """Read one block.

        Raises:
            OSError: the disk does not give it.
        """
        self._whole(os.preadv(self._file, [self._block], number * BLOCK_BYTES))

    def holds(self, number: int) -> bool:
        """Return whether what was read last is the block of that number, as it was written."""
        return self._block[:] == number.to_bytes(STAMP_BYTES, "little") + self._pattern

    @staticmethod
    def _whole(count: int) -> None:
        if count != BLOCK_BYTES:
            raise OSError(errno.EIO, f"{count} bytes in place of {BLOCK_BYTES}")


def _open_nameless(folder: Path) -> tuple[int, bool]:
    """Return the file, and whether it goes past the page cache."""
    for flags, is_direct in ((os.O_DIRECT, True), (0, False)):
        try:
            return _nameless(folder, flags), is_direct
        except OSError as error:
            if error.errno != errno.EINVAL or not is_direct:
                raise
    raise AssertionError("the last way either returns or raises")


def _nameless(folder: Path, flags: int) -> int:
    try:
        return os.open(folder, os.O_RDWR | os.O_TMPFILE | flags, 0o600)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
            raise
    descriptor, name = tempfile.mkstemp(prefix=".fleetmend-", dir=folder)
    Path(name).unlink()
    if not flags:
        return descriptor
    try:
        return os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR | flags)
    finally:
        os.close(descriptor)
