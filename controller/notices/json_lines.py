"""Tickets or pages as lines of JSON in a file, for whatever reads it: `tail`, a log shipper, another system.

Every line is a whole notice. Its `event` says what it is: `filed`, or `updated` or `closed` of the one that `reference`
names.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import structlog

from controller import durable
from controller.adapters import Filed, Notice
from controller.errors import Permanent, Retryable

log = structlog.get_logger()

PASSING = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EINTR, errno.EAGAIN, errno.ESTALE, errno.EMFILE}
)
"""Errors that pass when somebody makes room or a mount comes back."""


def as_json(notice: Notice, event: str, reference: str = "") -> bytes:
    """Return the notice as one line of JSON; text that is no Unicode (half a character of a kernel log) becomes `?`.

    Args:
        event: `filed`, `updated` or `closed`.
        reference: of the notice that is updated or closed.
    """
    whole = {"event": event, **({"reference": reference} if reference else {}), **asdict(notice)}
    return json.dumps(whole, ensure_ascii=False).encode(errors="replace")


@dataclass(slots=True)
class JsonLinesNotifier:
    """Appends one line a notice, durable on return. The same key again adds nothing and returns the same reference.

    A line that a crash cut short is ended and left: nobody was told that it had arrived, so its notice comes again.
    """

    path: Path
    name: str = "json_lines"
    repeatable: bool = True
    _lines: dict[str, int] | None = None
    _count: int = 0
    _sending: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def send(self, notice: Notice) -> Filed:
        """Append it; its reference is `<file>:<line number>`."""
        line = await self._append(notice.key, as_json(notice, "filed"))
        return Filed(f"{self.path}:{line}")

    async def update(self, reference: str, notice: Notice) -> None:
        """Append what is new."""
        await self._append(notice.key, as_json(notice, "updated", reference))

    async def close(self, reference: str, notice: Notice) -> None:
        """Append what came of it."""
        await self._append(notice.key, as_json(notice, "closed", reference))

    async def _append(self, key: str, text: bytes) -> int:
        async with self._sending:
            try:
                return await asyncio.to_thread(self._line_of, key, text)
            except OSError as error:
                self._lines = None
                sentence = f"{self.path} cannot be written: {error.strerror}"
                raise (Retryable(sentence, after_s=5.0) if error.errno in PASSING else Permanent(sentence)) from error

    def _line_of(self, key: str, text: bytes) -> int:
        if self._lines is None:
            if self.path.exists() and not self.path.is_file():
                raise Permanent(f"{self.path} must be a regular file: notices are read back from it")
            self._lines = self._recall()
        if key not in self._lines:
            durable.append(self.path, text + b"\n")
            self._count += 1
            self._lines[key] = self._count
        return self._lines[key]

    def _recall(self) -> dict[str, int]:
        """Return key → line number of what the file holds, and end its last line if a crash did not."""
        self._count, line, unreadable = 0, b"\n", 0
        lines: dict[str, int] = {}
        with contextlib.suppress(FileNotFoundError), self.path.open("rb") as file:
            for self._count, line in enumerate(file, 1):
                key = _key_of(line)
                lines.setdefault(key, self._count)
                unreadable += not key
        if not line.endswith(b"\n"):
            durable.append(self.path, b"\n")
        if unreadable:
            log.warning("notices.unreadable", path=str(self.path), lines=unreadable)
        return lines


def _key_of(line: bytes) -> str:
    """Return the key of the notice in a line, empty when the line holds none."""
    try:
        read: Any = json.loads(line)
    except (ValueError, RecursionError):
        return ""
    key = read.get("key") if isinstance(read, dict) else None
    return key if isinstance(key, str) else ""
