"""`host.agent`: sources of the agent that hang in the kernel for good.

A process that SIGKILL does not end waits for a driver or a file system that will not come back. What it was to read is
`unknown` from then on, and only a reboot ends it. NVML is not among these: `gpu.nvml` says it better.
"""

from __future__ import annotations

from collections.abc import Sequence

from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.policy import Policy
from checks.readings import AgentReading, SourceState

ID = "host.agent"


def judge(readings: Sequence[AgentReading]) -> tuple[Finding, ...]:
    """Return every source of which a process cannot be killed."""
    return tuple(_finding(source) for source in readings[-1].sources if source.stuck)


def _finding(source: SourceState) -> Finding:
    because = f"nothing can be read from {source.name} any more: {source.stuck}; only a reboot ends that"
    return Finding(ID, source.name, "stuck", Verdict.DEGRADED, Action.REBOOT, because)


CHECK = LevelCheck(
    id=ID,
    summary="Sources of the agent that hang in the kernel for good.",
    reading=AgentReading,
    judge=judge,
    outcomes=(Outcome("stuck", Verdict.DEGRADED, Action.REBOOT),),
    policy=Policy(raise_after=6, because="a minute: a server that comes back lets the process go"),
    thresholds={"stuck": "a process outlives SIGKILL by 2 s, for 6 looks of 10 s (our choice)"},
)
