"""Keeps the log bounded: writes snapshots, and deletes old entries that a snapshot holds.

It runs as a process of its own beside the controller, because folding a large log takes many seconds of thinking that
no decision should wait for. Every write is small, so that the controller's commits slip in between.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import closing
from dataclasses import dataclass

import structlog

from controller.keys import KeyFileError
from controller.policy.belief import Belief
from controller.settings import ControllerSettings
from controller.store.choosing import open_store
from controller.store.log import UNSEALED, EventLog, Snapshot, StoreError
from controller.store.seals import Seals
from controller.store.signing import signer_of
from controller.store.snapshot import SNAPSHOT_VERSION, pieces, restore
from wire.logs import configure_logging

log = structlog.get_logger()

BATCH = 500
"""Entries deleted in one transaction: it lasts milliseconds."""

PAUSE_S = 0.01
NICENESS = 10
EX_IOERR = 74


@dataclass(frozen=True, slots=True)
class Compacted:
    """What was found or done. `snapshot_event_id` is 0 when there is no snapshot."""

    snapshot_event_id: int
    deleted_through: int


def compact(
    event_log: EventLog,
    *,
    snapshot_every: int,
    keep_s: float,
    now: float,
    batch: int = BATCH,
    seals: Seals = UNSEALED,
) -> Compacted:
    """Write a snapshot if so many entries came since the last one; then delete what is older and held by it.

    Args:
        snapshot_every: entries after which a new snapshot is due.
        keep_s: how old entries become.
        now: Unix seconds.
        seals: vouches for the gap that is left.

    Raises:
        StoreError: the log cannot be read or written, or an entry is not the one that was written. What was not
            finished counts as not begun.
    """
    belief, tail = restore(event_log)
    newest = belief.last_event_id - tail
    if tail >= snapshot_every:
        newest = write_snapshot(event_log, belief, now=now).event_id
    while event_log.drop_parts_before(newest, 20):
        time.sleep(PAUSE_S)
    open_incidents = frozenset(belief.open_incidents)
    while event_log.delete_events(
        through=newest, before=now - keep_s, keep_incidents=open_incidents, limit=batch, seals=seals
    ):
        time.sleep(PAUSE_S)
    return Compacted(newest, event_log.deleted_through())


def write_snapshot(event_log: EventLog, belief: Belief, *, now: float) -> Snapshot:
    """Write what is believed and return the snapshot."""
    count = 0
    for count, piece in enumerate(pieces(belief), 1):
        event_log.put_part(belief.last_event_id, count - 1, piece)
        time.sleep(0)
    snapshot = Snapshot(belief.last_event_id, now, SNAPSHOT_VERSION, count)
    event_log.finish_snapshot(snapshot)
    return snapshot


def main() -> None:
    """Compact the log of the controller whose settings come as JSON on standard input.

    Ends with 74 (EX_IOERR) when the log cannot be read or written.
    """
    configure_logging()
    os.nice(NICENESS)
    try:
        _compact_by_settings()
    except (StoreError, KeyFileError, OSError) as error:
        log.error("compaction.failed", because=str(error))
        sys.exit(EX_IOERR)


def _compact_by_settings() -> None:
    settings = ControllerSettings.model_validate_json(sys.stdin.buffer.read())
    began = time.monotonic()
    with closing(open_store(settings.store, settings.state)) as event_log:
        done = compact(
            event_log,
            snapshot_every=settings.store.snapshot_every,
            keep_s=settings.store.keep_days * 86_400.0,
            now=time.time(),
            seals=signer_of(settings),
        )
    log.info(
        "log.compacted",
        snapshot_event_id=done.snapshot_event_id,
        deleted_through=done.deleted_through,
        took_s=round(time.monotonic() - began, 3),
    )


if __name__ == "__main__":
    main()
