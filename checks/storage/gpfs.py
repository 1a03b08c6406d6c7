"""`storage.gpfs`: a node whose GPFS (IBM Storage Scale) daemon was active and is no longer."""

from __future__ import annotations

from collections.abc import Sequence

from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.policy import Policy
from checks.readings import GpfsReading

ID = "storage.gpfs"
ACTIVE = "active"
MEANINGS = {
    "down": "the daemon does not run: mmstartup, or see why it ended",
    "arbitrating": "it waits for a quorum of the cluster's nodes",
    "unresponsive": "the daemon runs and does not answer",
}
"""Source: IBM Storage Scale, Command Reference, `mmgetstate`."""


def judge(readings: Sequence[GpfsReading]) -> tuple[Finding, ...]:
    """Return whether the node has left its cluster; one that never was active is not expected to be."""
    reading = readings[-1]
    if not reading.was_active or reading.state == ACTIVE:
        return ()
    if not reading.present:
        because = "GPFS was active here, and now the node belongs to no cluster"
        return (_finding(reading, "removed", Verdict.UNKNOWN, because),)
    if reading.state not in MEANINGS:
        because = f"GPFS was active here, and its state is told as {reading.state or 'nothing'}"
        return (_finding(reading, "unreadable", Verdict.UNKNOWN, because),)
    because = f"GPFS is {reading.state} on this node: {MEANINGS[reading.state]}"
    return (_finding(reading, reading.state, Verdict.FAILED, because),)


def _finding(reading: GpfsReading, code: str, verdict: Verdict, because: str) -> Finding:
    told = {"node": reading.node, "quorum": reading.quorum, "nodes_up": reading.nodes_up, "nodes": reading.nodes}
    evidence = {name: text for name, text in told.items() if text}
    return Finding(ID, "gpfs", code, verdict, Action.NONE, because, evidence=evidence)


CHECK = LevelCheck(
    id=ID,
    summary="A node whose GPFS daemon was active and is no longer.",
    reading=GpfsReading,
    judge=judge,
    outcomes=(
        *(Outcome(state, Verdict.FAILED, Action.NONE) for state in MEANINGS),
        Outcome("removed", Verdict.UNKNOWN),
        Outcome("unreadable", Verdict.UNKNOWN),
    ),
    policy=Policy(
        raise_after=2,
        boot_grace_s=600.0,
        because="a daemon that is restarted arbitrates for a moment, and at the start of a host it comes late",
    ),
    thresholds={"expected": "once active on this host", "active": "mmgetstate says `active`"},
)
