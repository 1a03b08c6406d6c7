"""The kernel log of a simulated machine: a file that holds the boot so far, and a FIFO for who follows it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HISTORY: Final = "kmsg.log"
PIPE: Final = "kmsg.pipe"
TAIL_BYTES: Final = 16_384
INFORMATION: Final = 6
KERNEL: Final = 0
"""Facility and severity. Source: RFC 5424, section 6.2.1; only the kernel itself logs as facility 0."""


@dataclass(frozen=True, slots=True)
class KernelLogFiles:
    """The log in a machine's directory. Who writes holds the machine's lock, so that numbers are given once.

    Attributes:
        wall: gives Unix time.
    """

    directory: Path
    wall: Callable[[], float] = time.time

    @property
    def history(self) -> Path:
        """The file of this boot."""
        return self.directory / HISTORY

    @property
    def pipe(self) -> Path:
        """The FIFO."""
        return self.directory / PIPE

    def create(self) -> None:
        """Make what is not there yet."""
        self.history.touch()
        with contextlib.suppress(FileExistsError):
            os.mkfifo(self.pipe)

    def start_boot(self, lines: Sequence[str], *, booted_at: float) -> None:
        """Begin a new log with these lines."""
        self.history.write_bytes(b"")
        self.append(lines, severity=INFORMATION, booted_at=booted_at)

    def append(self, lines: Sequence[str], *, severity: int, booted_at: float) -> None:
        """Write one record a line, as the kernel itself would."""
        first = self._last_sequence() + 1
        since_boot_us = max(0, int((self.wall() - booted_at) * 1e6))
        records = [
            f"{KERNEL << 3 | severity},{first + offset},{since_boot_us + offset},-;{escape(line)}\n".encode()
            for offset, line in enumerate(lines)
        ]
        with self.history.open("ab") as history:
            history.write(b"".join(records))
        self._pass_on(records)

    def _pass_on(self, records: Sequence[bytes]) -> None:
        """Write to whoever follows. What does not fit any more is lost to it, as in the kernel's own ring."""
        try:
            descriptor = os.open(self.pipe, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return
        try:
            with contextlib.suppress(BlockingIOError, BrokenPipeError):
                for record in records:
                    os.write(descriptor, record)
        finally:
            os.close(descriptor)

    def _last_sequence(self) -> int:
        with self.history.open("rb") as history:
            size = history.seek(0, os.SEEK_END)
            history.seek(max(0, size - TAIL_BYTES))
            lines = history.read().splitlines()
        return int(lines[-1].split(b",", 2)[1]) if lines else -1


def escape(text: str) -> str:
    """Return the text as the kernel shows it: what is not printable as `\\xNN`.

    Source: kernel/printk/printk.c, `append_char`.
    """
    return "".join(chr(byte) if 32 <= byte < 127 and byte != 92 else f"\\x{byte:02x}" for byte in text.encode())
