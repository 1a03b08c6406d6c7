"""Who still holds the pipes of a child: what it started and what has left its process group, as daemons do.

Killing the group does not reach these, and each run of such a program would leave one more of them behind.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from typing import IO, Final

STANDARD: Final = (0, 1, 2)
"""The descriptors by which a process holds what it was started with. Source: POSIX."""


def names_of(pipes: Iterable[IO[bytes]]) -> frozenset[str]:
    """Return the names of these pipes, as every process that holds one has them. Source: proc_pid_fd(5)."""
    return frozenset(f"pipe:[{os.fstat(pipe.fileno()).st_ino}]" for pipe in pipes)


def holders_of(names: frozenset[str]) -> Iterator[int]:
    """Yield the processes, but this one, that hold one of the pipes as a standard stream.

    Only links of procfs are read: no file that they lead to is touched, as that may hang.
    """
    for entry in os.listdir("/proc") if names else ():  # noqa: PTH208 # some thousand names, of which no Path is needed
        if entry.isdecimal() and int(entry) != os.getpid() and _holds(entry, names):
            yield int(entry)


def _holds(pid: str, names: frozenset[str]) -> bool:
    for descriptor in STANDARD:
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/{pid}/fd/{descriptor}") in names:  # noqa: PTH115 # as above
                return True
    return False
