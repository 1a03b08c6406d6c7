"""Standard output, when it cannot be written: closed, full, or read by nobody any more."""

from __future__ import annotations

import os
import sys
from errno import EDQUOT, EFBIG, EIO, ENOSPC

CANNOT_WRITE = frozenset({EDQUOT, EFBIG, EIO, ENOSPC})
"""Source: write(2)."""


def ensure() -> None:
    """Give a process that was started without them somewhere to write, so that no file it opens takes their place."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 # it lasts as long as the process
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115 # as above


def give_up() -> None:
    """Write nothing more, also not what is buffered."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def is_unwritable(error: OSError) -> bool:
    """Return whether it was a descriptor that could not be written, and no file that could not be opened."""
    return error.filename is None and error.errno in CANNOT_WRITE
