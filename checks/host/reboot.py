"""`host.reboot`: a host that came up again without anybody having told it to go down.

One such reboot proves nothing about the hardware and is no reason to keep work away; what it left behind is evidence,
and a host that does it again is looked at. A reboot that the BMC was told to do looks the same from here.
"""

from __future__ import annotations

from collections.abc import Sequence

from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.kernel_log import excerpt
from checks.readings import AgentReading, LastEnd
from checks.readings.agent import UNEXPECTED, UNSEEN

ID = "host.reboot"
TOLD_S = 3600.0
"""How long it is told. Source: our choice; long enough for a person and for the controller's next look."""


def judge(readings: Sequence[AgentReading]) -> tuple[Finding, ...]:
    """Return that the boot before this one ended unexpectedly, for an hour."""
    newest = readings[-1]
    if newest.last_end is None or newest.at_s >= TOLD_S:
        return ()
    if newest.last_end.how == UNEXPECTED:
        return (_unexpected(newest.last_end, newest.at_s),)
    if newest.last_end.how == UNSEEN:
        because = "the host rebooted while the agent was not running: whether it was meant cannot be told"
        return (Finding(ID, "host", "unseen", Verdict.UNKNOWN, Action.NONE, because),)
    return ()


def _unexpected(end: LastEnd, up_s: float) -> Finding:
    left = f"it left {len(end.traces)} traces of a crash" if end.traces else "it left no trace of a crash"
    because = (
        f"the host came up {up_s / 60:.0f} minutes ago and nobody told it to go down: {left}; "
        "look at the BMC's event log for power and heat"
    )
    evidence = {"previous_boot_id": end.previous_boot_id, "traces": "\n".join(end.traces)}
    if end.last_words:
        evidence["last_words"] = excerpt(end.last_words, limit=2000)
    return Finding(ID, "host", "unexpected", Verdict.DEGRADED, Action.NONE, because, evidence=evidence)


CHECK = LevelCheck(
    id=ID,
    summary="A host that came up again without anybody having told it to go down.",
    reading=AgentReading,
    judge=judge,
    outcomes=(Outcome("unexpected", Verdict.DEGRADED), Outcome("unseen", Verdict.UNKNOWN)),
    thresholds={"told": f"for the first {TOLD_S:.0f} s of the new boot (our choice)"},
)
