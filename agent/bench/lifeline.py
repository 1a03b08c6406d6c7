"""A benchmark's process ends with the one that started it, however that one ends: nobody else would end it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Final

PR_SET_PDEATHSIG: Final = 1
"""Source: linux/prctl.h."""


def die_with_parent(parent: int | None = None) -> None:
    """Be killed once the parent is gone.

    Args:
        parent: its process id, where it is known: one that is gone already ends this process at once.
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent is not None and os.getppid() != parent:
        sys.exit(f"the process {parent} that started this one is gone")
