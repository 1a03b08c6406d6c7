"""How every fleetmend process logs: one event a line on stderr, JSON for machines, pretty on a terminal.

It stands on this floor because agent and controller never import each other and must not differ in this. A log that
nobody takes (its disk is full, its reader hangs or is gone) keeps no process from its work: lines are lost and counted.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import sys
from typing import Final

import structlog

ERRORS: Final = 2
"""The descriptor of standard error. Source: POSIX."""

AT_ONCE: Final = 4096
"""Bytes that are written without asking again whether they are taken. Source: pipe(7), PIPE_BUF: a pipe that can be
written to takes so many without waiting."""


class Log:
    """A descriptor that is written to as far as it takes something at once, and without a buffer.

    Attributes:
        lost: lines that were not taken since the last that was.
    """

    def __init__(self, descriptor: int = ERRORS) -> None:
        """Write nothing yet."""
        self.lost = 0
        self._descriptor = descriptor
        self._is_torn = False

    def msg(self, message: str) -> None:
        """Write one line, or count it as lost."""
        told = json.dumps({"event": "log.lost", "level": "error", "lines": self.lost}) + "\n" if self.lost else ""
        line = f"{told}{message}\n".encode("utf-8", "backslashreplace")
        if self._is_torn:
            line = b"\n" + line
        taken = self._write(line)
        self.lost = 0 if taken == len(line) else self.lost + 1
        self._is_torn = taken < len(line) and (taken > 0 or self._is_torn)

    log = debug = info = warn = warning = error = critical = fatal = failure = exception = msg

    def _write(self, line: bytes) -> int:
        """Return how many bytes were taken."""
        taken = 0
        with contextlib.suppress(OSError):
            while taken < len(line) and self._takes_more():
                taken += os.write(self._descriptor, line[taken : taken + AT_ONCE])
        return taken

    def _takes_more(self) -> bool:
        """Return whether a write would not wait for whoever reads."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        return any(state & select.POLLOUT for _, state in poll.poll(0))


def configure_logging(*, level: int = logging.INFO) -> None:
    """Set structlog up for this process."""
    _hold_standard_descriptors()
    log, pretty = Log(), sys.stderr is not None and sys.stderr.isatty()
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if pretty else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if pretty else [structlog.processors.dict_tracebacks]),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: log,
        cache_logger_on_first_use=False,
    )


def set_level(name: str) -> None:
    """Log what is at least as grave as this from here on.

    Args:
        name: `debug`, `info`, `warning` or `error`.
    """
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[name.upper()])
    )


def _hold_standard_descriptors() -> None:
    """Fill what a process was started without: a file that got the number of standard error would get its lines."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= ERRORS:
        pass
    os.close(descriptor)
