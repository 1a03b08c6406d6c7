"""Runs one program to its end or to its limit, and keeps what it printed until then. Nothing here waits for a program
that does not die: it is left behind, and said.
"""

from __future__ import annotations

import contextlib
import os
import resource
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

READ_BYTES: Final = 1 << 16
KILL_LIMIT_S: Final = 2.0
"""As in agent/sources/child.py: what does not die of SIGKILL by then sits in an uninterruptible sleep."""

LOOK_S: Final = 0.2
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs look for others, when the agent was not told. Source: systemd.exec(5), the default of a service."""


class DiskFull(Exception):
    """Nothing more can be written."""


@dataclass(frozen=True, slots=True)
class Ran:
    """How a program ended.

    Attributes:
        ended: in words.
        late: it was killed at its limit.
        cut: why not all that it printed was kept, empty when it was.
        stuck: it does not die.
    """

    ended: str
    took_s: float
    late: bool = False
    cut: str = ""
    pid: int = 0
    stuck: bool = False


def environment() -> dict[str, str]:
    """Return what a program sees: nothing of the agent's own but where programs lie."""
    return {"PATH": os.environ.get("PATH", PATH), "LC_ALL": "C", "HOME": "/", "TERM": "dumb"}


class Running:
    """The program that runs now, so that whoever ends the gathering ends it, too."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Run nothing yet."""
        self._process: subprocess.Popen[bytes] | None = None
        self._monotonic = monotonic

    def run(self, command: Sequence[str], target: Path, *, limit_s: float, most_bytes: int) -> Ran:
        """Run a program with what it prints, errors included, going to a file.

        Raises:
            DiskFull: the disk is.
        """
        began = self._monotonic()
        try:
            process = self._process = self._start(command, target.parent, most_bytes)
        except OSError as error:
            return Ran(f"it did not start: {error.strerror}", 0.0)
        try:
            late, cut = self._copy(process, target, began + limit_s, most_bytes)
        finally:
            stuck = self.end()
        took_s = self._monotonic() - began
        return Ran(_say(process, late=late, stuck=stuck, took_s=took_s), took_s, late, cut, process.pid, stuck)

    def end(self) -> bool:
        """Kill what runs, with its whole group; return whether it is still there after that."""
        process, self._process = self._process, None
        if process is None:
            return False
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        if process.stdout is not None:
            process.stdout.close()
        try:
            process.wait(KILL_LIMIT_S)
        except subprocess.TimeoutExpired:
            return True
        return False

    def _start(self, command: Sequence[str], folder: Path, most_bytes: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(),
            cwd=folder,
            start_new_session=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes)),
        )

    def _copy(self, process: subprocess.Popen[bytes], target: Path, until: float, most_bytes: int) -> tuple[bool, str]:
        """Return whether it was late, and why something was cut off. Who holds its output open is not awaited."""
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        room = most_bytes
        with target.open("wb", buffering=0) as file, selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while room > 0:
                left_s = until - self._monotonic()
                if left_s <= 0:
                    return True, ""
                if not selector.select(min(left_s, LOOK_S)):
                    if process.poll() is not None:
                        return False, ""
                    continue
                piece = process.stdout.read(READ_BYTES)
                if not piece:
                    return self._is_late(process, until), ""
                room -= _write(file, piece[:room])
        return False, f"it printed more than {most_bytes} bytes"

    def _is_late(self, process: subprocess.Popen[bytes], until: float) -> bool:
        """Wait for a program that closed its output before its end."""
        try:
            process.wait(max(0.0, until - self._monotonic()))
        except subprocess.TimeoutExpired:
            return True
        return False


def _write(file: IO[bytes], piece: bytes) -> int:
    try:
        view = memoryview(piece)
        while view:
            view = view[file.write(view) :]
    except OSError as error:
        raise DiskFull(f"the disk of the node became full ({error.strerror})") from error
    return len(piece)


def _say(process: subprocess.Popen[bytes], *, late: bool, stuck: bool, took_s: float) -> str:
    if stuck:
        return f"it does not die of SIGKILL: process {process.pid} hangs in the kernel and was left behind"
    if late:
        return f"it was killed after {took_s:.0f} s; what it had given until then is here"
    code = process.returncode
    return f"it ended with code {code}" if code >= 0 else f"signal {-code} ended it"
