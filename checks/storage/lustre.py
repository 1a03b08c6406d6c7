"""`storage.lustre`: a Lustre client that has stopped, or that its servers do not answer.

A client that hit a defect of its own stays useless until the host is rebooted. A target that it is not connected to is
mostly the server's matter: one finding a file system, however many targets are gone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.policy import Policy
from checks.readings import LustreReading, LustreTarget

ID = "storage.lustre"
HEALTHY = "healthy"
CONNECTED = frozenset({"FULL", "IDLE", "NEW", "CLOSED"})
"""`IDLE`: given up for want of use. `NEW` and `CLOSED`: being mounted or unmounted.
Source: lustre/include/lustre_import.h, `enum lustre_imp_state`."""

CONFIGURATION = "MGC"
"""Begins the name of the connection to the server of configuration, without which mounts work on."""

MANY = 8
"""So many targets are named."""


def judge(readings: Sequence[LustreReading]) -> tuple[Finding, ...]:
    """Return what is wrong with the client and its connections."""
    reading = readings[-1]
    if not reading.present:
        return ()
    wanted = [target for target in reading.targets if target.active is not False]
    lost = sorted((each for each in wanted if each.state and each.state not in CONNECTED), key=_filesystem)
    return (
        *_judge_health(reading.health),
        *(_lost(name, list(alike), wanted) for name, alike in groupby(lost, key=_filesystem)),
        *_judge_blind(wanted),
    )


def _judge_health(health: str) -> Iterator[Finding]:
    if not health:
        because = "what the Lustre client says of its health cannot be read"
        yield Finding(ID, "host", "unreadable", Verdict.UNKNOWN, Action.NONE, because)
    elif health != HEALTHY:
        said = " ".join(health.split())
        because = f"the Lustre client says that it is not healthy ({said}): drain and reboot the host"
        yield Finding(ID, "host", "unhealthy", Verdict.FAILED, Action.REBOOT, because, evidence={"health": said})


def _judge_blind(wanted: Sequence[LustreTarget]) -> Iterator[Finding]:
    blind = [target for target in wanted if not target.state]
    if blind:
        because = (
            f"the state of {len(blind)} of {len(wanted)} Lustre connections cannot be read, {blind[0].name} among "
            "them: it takes root since Lustre 2.11"
        )
        yield Finding(ID, "host", "connections_unreadable", Verdict.UNKNOWN, Action.NONE, because)


def _filesystem(target: LustreTarget) -> str:
    """Return `fs` of `fs-OST0001`, and the whole name of what is about no one file system."""
    return target.name.partition("-")[0]


def _lost(filesystem: str, lost: Sequence[LustreTarget], wanted: Sequence[LustreTarget]) -> Finding:
    among = sum(_filesystem(target) == filesystem for target in wanted)
    named = ", ".join(f"{target.name} {target.state}" for target in lost[:MANY])
    because = (
        f"{len(lost)} of {among} connections to Lustre's {filesystem} do not stand ({named}"
        f"{', ...' if len(lost) > MANY else ''}): look at these servers and the way to them"
    )
    evidence = {"targets": named, "servers": ", ".join(sorted({each.connection for each in lost if each.connection}))}
    told = {name: text for name, text in evidence.items() if text}
    verdict = Verdict.DEGRADED if filesystem.startswith(CONFIGURATION) else Verdict.FAILED
    return Finding(ID, filesystem, "disconnected", verdict, Action.NONE, because, evidence=told)


CHECK = LevelCheck(
    id=ID,
    summary="A Lustre client that has stopped, or that its servers do not answer.",
    reading=LustreReading,
    judge=judge,
    outcomes=(
        Outcome("unhealthy", Verdict.FAILED, Action.REBOOT),
        Outcome("disconnected", Verdict.FAILED, Action.NONE),
        Outcome("disconnected", Verdict.DEGRADED),
        Outcome("unreadable", Verdict.UNKNOWN),
        Outcome("connections_unreadable", Verdict.UNKNOWN),
    ),
    policy=Policy(
        raise_after=4,
        clear_after=2,
        because="about a minute: a client that lost its server, or was evicted, connects anew within seconds",
    ),
    thresholds={"connected": "import state FULL or IDLE, in 4 readings", "healthy": "health_check says `healthy`"},
)
