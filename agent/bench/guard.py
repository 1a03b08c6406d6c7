"""The process that leads a benchmark's group: `python -m agent.bench.guard HELD COMMAND...`.

It reads the wish and hands it on, then waits for the benchmark. While its own standard input stays open the agent
lives; at its end everything in the group is killed, the tools that a benchmark started as well: the kernel's signal on
a parent's death reaches nobody but its own children.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from typing import Final

PR_SET_PDEATHSIG: Final = 1
"""Source: linux/prctl.h."""

STANDARD_INPUT: Final = 0
PIECE_BYTES: Final = 4096


def main() -> int:
    """Run the benchmark that the command line names; return its exit code, 128 and the signal when one ended it.

    HELD is the descriptor of the lock, which the benchmark holds as well.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    held, *command = sys.argv[1:]
    wish = sys.stdin.buffer.readline()
    libc = ctypes.CDLL(None)

    def prepare() -> None:
        """Die with this process, and heed the signals that it does not."""
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    child = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=(int(held),), preexec_fn=prepare)
    threading.Thread(target=_watch_agent, daemon=True).start()
    if child.stdin is not None:
        _hand_on(child.stdin.fileno(), wish)
        child.stdin.close()
    code = child.wait()
    return code if code >= 0 else 128 - code


def _watch_agent() -> None:
    """Kill the group, and with it this process, when the agent is gone."""
    while os.read(STANDARD_INPUT, PIECE_BYTES):
        continue
    os.killpg(0, signal.SIGKILL)


def _hand_on(descriptor: int, wish: bytes) -> None:
    try:
        while wish:
            wish = wish[os.write(descriptor, wish) :]
    except BrokenPipeError:
        return


if __name__ == "__main__":
    sys.exit(main())
