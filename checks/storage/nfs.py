"""`storage.nfs`: file servers that answer late, or to which the connection breaks again and again.

The mounts still answer, else `storage.hang` says so; jobs only wait longer than they should. One finding a server.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from checks.check import LevelCheck, Outcome
from checks.counters import growth
from checks.filesystems import server_name
from checks.finding import Action, Finding, Verdict
from checks.readings import NfsMount, NfsReading

ID = "storage.nfs"
WINDOW_S = 600.0

RETRANSMITTED_PERCENT = 5.0
MINIMUM_RETRANSMITTED = 10
"""Within the window. Source: our choice; over TCP a request is sent again only when its connection broke or the server
was silent for a minute (nfs(5), `timeo`), so a healthy server shows none."""

RECONNECTS = 5
"""Within the window. Source: our choice; an idle connection is closed after 5 min (kernel, XS_IDLE_DISC_TO) and opened
again at the next use, which makes two."""


def judge(readings: Sequence[NfsReading]) -> tuple[Finding, ...]:
    """Return what is wrong with every server."""
    mounts = sorted(readings[-1].mounts, key=_server)
    servers = groupby(mounts, key=_server)
    return tuple(finding for server, alike in servers for finding in _judge(server, list(alike), readings))


def _server(mount: NfsMount) -> str:
    return server_name(mount.device) or mount.mount


def _judge(server: str, mounts: Sequence[NfsMount], readings: Sequence[NfsReading]) -> Iterator[Finding]:
    histories = [_history(mount, readings) for mount in mounts]
    operations = sum(growth(each.operations for each in history) for history in histories)
    sent = sum(growth(each.transmissions for each in history) for history in histories)
    timeouts = sum(growth(each.timeouts for each in history) for history in histories)
    reconnects = max(growth(each.connections for each in history) for history in histories)
    again = max(0, sent - operations)
    minutes = f"within {WINDOW_S / 60:.0f} min"
    if timeouts:
        yield _finding(server, mounts, "timeouts", f"{timeouts} requests were not answered in time {minutes}")
    if again >= MINIMUM_RETRANSMITTED and 100.0 * again > RETRANSMITTED_PERCENT * operations:
        yield _finding(server, mounts, "retransmits", f"{again} of {operations} requests were sent again {minutes}")
    if reconnects >= RECONNECTS:
        yield _finding(server, mounts, "reconnects", f"the connection was made {reconnects} times anew {minutes}")


def _history(mount: NfsMount, readings: Sequence[NfsReading]) -> list[NfsMount]:
    return [each for reading in readings for each in reading.mounts if each.mount == mount.mount]


def _finding(server: str, mounts: Sequence[NfsMount], code: str, what: str) -> Finding:
    because = f"the file server {server}: {what}; look at the server and the way to it"
    evidence = {"mounts": ", ".join(mount.mount for mount in mounts), "kind": mounts[0].kind}
    return Finding(ID, server, code, Verdict.DEGRADED, Action.NONE, because, evidence=evidence)


CHECK = LevelCheck(
    id=ID,
    summary="NFS servers that answer late, or to which the connection breaks again and again.",
    reading=NfsReading,
    judge=judge,
    outcomes=(
        Outcome("timeouts", Verdict.DEGRADED),
        Outcome("retransmits", Verdict.DEGRADED),
        Outcome("reconnects", Verdict.DEGRADED),
    ),
    window_s=WINDOW_S,
    thresholds={
        "timeouts": f"any major timeout within {WINDOW_S / 60:.0f} min (nfs(5): after timeo and its repeats)",
        "retransmits": f"more than {RETRANSMITTED_PERCENT:.0f} %, at least {MINIMUM_RETRANSMITTED} (our choice)",
        "reconnects": f"{RECONNECTS} within {WINDOW_S / 60:.0f} min (our choice)",
    },
)
