"""Kills what changes files with SIGKILL, before each change of its own. For processes with one thread: it forks."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any, Final

CHANGES: Final = {"os.rename", "os.mkdir", "os.remove", "os.chown"}
"""What Python tells its audit hooks of changes of a folder; a file that is opened to be written, besides."""


def dies(act: Callable[[], object], at: int) -> bool:
    """Return whether an act was killed before its change of this number, the first is 1; it ended well, if not."""
    child = os.fork()
    if child == 0:
        left = at

        def hook(event: str, details: tuple[Any, ...]) -> None:
            nonlocal left
            writes = event == "open" and isinstance(details[2], int) and details[2] & (os.O_WRONLY | os.O_CREAT)
            if event in CHANGES or writes:
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        act()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status in {0, signal.SIGKILL}, status
    return status != 0
