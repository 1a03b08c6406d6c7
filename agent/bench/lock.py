"""One benchmark on a host at a time, whoever asks: a lock that the kernel keeps, and drops with the last who holds it.

The benchmark's processes hold it too. One that outlives its agent, or that not even SIGKILL ends, keeps the next
benchmark out, also after the agent was started anew.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

FILE: Final = "bench.lock"
MODE: Final = 0o600


class NotLocked(Exception):
    """The lock was not given; the text says why."""


@contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Hold the lock in a folder meanwhile; give its descriptor, for the processes that are to hold it as well.

    Raises:
        NotLocked: somebody else holds it, or it cannot be told whether anybody does.
    """
    path = folder / FILE
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, MODE)
    except OSError as error:
        raise NotLocked(f"{path} cannot be opened: {error.strerror}") from error
    try:
        _take(descriptor, path)
        yield descriptor
    finally:
        os.close(descriptor)


def _take(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise NotLocked(f"another benchmark runs on this host, or cannot be ended: it holds {path}") from error
    except OSError as error:
        raise NotLocked(f"{path} cannot be locked: {error.strerror}") from error
