"""How the boot before this one ended: by our order, in order, or without anybody having meant it.

A host that goes down in order ends the agent with it, which notes that. So a new boot for which there is neither such a
note nor an order to reboot began with a crash, a power loss, or somebody's hand on the switch.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from agent import ledger as ledgers
from agent.ledger import LEDGER
from checks.readings import LastEnd
from checks.readings.agent import ORDERED, ORDERLY, UNEXPECTED, UNSEEN
from wire.orders import OrderAction

STARTS: Final = "starts"
"""Key under which the outbox keeps the boot of the last start, and how that one ended."""

SEEN_DOWN_S: Final = 1800.0
"""Between the agent's end and the next boot, the end counts as a part of that reboot. Source: our choice; an 8-GPU host
takes up to 15 minutes from the shutdown to its kernel. An agent that was ended long before saw nothing of it."""

TRACES: Final = ("sys/fs/pstore", "var/lib/systemd/pstore", "var/crash")
"""Where a kernel that crashes leaves something. Source: kernel, Documentation/admin-guide/pstore-blk.rst;
systemd-pstore.service(8), which moves it; kdump-config(8)."""

MAX_TRACES: Final = 20
LAST_WORDS_BYTES: Final = 2048


class Journal(Protocol):
    """What is needed of the outbox."""

    def load(self, key: str) -> dict[str, Any]:
        """Return what was saved under the key, empty when nothing was."""
        ...

    def save(self, key: str, value: dict[str, Any]) -> None:
        """Keep the value under the key, durably."""
        ...


class Start(msgspec.Struct, frozen=True):
    """The last start of the agent, as it is kept.

    Attributes:
        started_at, stopped_at: Unix time; `stopped_at` is 0 while it runs, and stays so when it is killed. A version
            that did not note its ends left both at 0.
        last_end: how the boot before this one ended, `None` for the first that the agent ever saw.
    """

    boot_id: str = ""
    started_at: float = 0.0
    stopped_at: float = 0.0
    last_end: LastEnd | None = None


def begin(journal: Journal, boot_id: str, *, now: float, up_s: float, root: Path = Path("/")) -> Start:
    """Return this start, with how the boot before ended.

    Args:
        now: Unix time.
        up_s: for how long the host has been up.
        root: below which a crash leaves its traces.
    """
    before = _load(journal)
    last_end = before.last_end
    if before.boot_id not in ("", boot_id):
        how = _how(journal, before, booted_at=now - up_s)
        traces = find_traces(root, since=before.started_at) if how == UNEXPECTED else []
        last_end = LastEnd(how, before.boot_id, tuple(str(path) for path in traces), last_words(traces))
    return Start(boot_id, now, last_end=last_end)


def keep(journal: Journal, start: Start) -> None:
    """Keep this start, once it was told."""
    journal.save(STARTS, msgspec.to_builtins(start))


def leave(journal: Journal, *, now: float) -> None:
    """Note that the agent was ended in order."""
    journal.save(STARTS, msgspec.to_builtins(msgspec.structs.replace(_load(journal), stopped_at=now)))


def previous_boot_id(journal: Journal) -> str:
    """Return the boot of the last start, empty before the first."""
    return _load(journal).boot_id


def find_traces(root: Path, *, since: float) -> list[Path]:
    """Return what crashes left after `since` (Unix time), the newest first."""
    dated = [(changed, path) for folder in TRACES for path, changed in _files(root / folder) if changed >= since]
    return [path for _, path in sorted(dated, reverse=True)][:MAX_TRACES]


def last_words(traces: list[Path]) -> str:
    """Return the end of the newest kernel log among the traces, empty when there is none."""
    for path in traces:
        if "dmesg" in path.name:
            try:
                return path.read_bytes()[-LAST_WORDS_BYTES:].decode("utf-8", "replace")
            except OSError:
                continue
    return ""


def _load(journal: Journal) -> Start:
    """A state that cannot be read is that of an agent that never ran: nothing is claimed of what it cannot know."""
    try:
        return msgspec.convert(journal.load(STARTS), type=Start)
    except msgspec.ValidationError:
        return Start()


def _how(journal: Journal, before: Start, *, booted_at: float) -> str:
    if _was_ordered(journal, before.boot_id):
        return ORDERED
    if not before.started_at:
        return UNSEEN
    if not before.stopped_at:
        return UNEXPECTED
    return ORDERLY if booted_at - before.stopped_at <= SEEN_DOWN_S else UNSEEN


def _was_ordered(journal: Journal, boot_id: str) -> bool:
    try:
        entries = ledgers.load(journal.load(LEDGER)).entries.values()
    except ValueError:
        return False
    return any(entry.action == OrderAction.REBOOT and entry.boot_id == boot_id for entry in entries)


def _files(folder: Path) -> Iterator[tuple[Path, float]]:
    """Yield what is in a folder and in its folders, with when it was last changed."""
    for pattern in ("*", "*/*"):
        for path in folder.glob(pattern):
            try:
                if path.is_file():
                    yield path, path.stat().st_mtime
            except OSError:
                continue
