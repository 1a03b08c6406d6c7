"""What a check is. The list of all of them is checks/registry.py.

Two kinds exist:

- A *level* check is given a window of readings of its source and returns every fault that holds at the newest one;
  what it no longer returns is cleared, after the policy it declares.
- A *latched* check is given kernel-log records as they come; what it returns stays raised until `released` says, from
  later readings, that it mended. A log line cannot un-happen, so silence alone never clears hardware faults.

The agent's runner owns timing, deadlines, logging and the one broad `except`: a check does none of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from checks.finding import Action, Finding, Verdict
from checks.policy import AT_ONCE, Policy
from checks.readings import GpuReading, KernelLogState, KernelRecord, Reading


@dataclass(frozen=True, slots=True)
class Outcome:
    """One thing a check can say, for the catalogue and for the tests that hold it to this.

    Attributes:
        code: as in the finding; `*` stands for any text, so `unknown_*` covers every code that begins so.
    """

    code: str
    verdict: Verdict
    action: Action = Action.NONE

    def covers(self, finding: Finding) -> bool:
        """Return whether the finding is of this kind."""
        said = (finding.verdict, finding.action)
        return said == (self.verdict, self.action) and fnmatchcase(finding.code, self.code)


@dataclass(frozen=True, slots=True)
class Recovery:
    """What happened on the node since a latched finding was last seen: the facts `released` judges.

    Attributes:
        rebooted: the boot id changed.
        device_reset: the device was reset by an order, or its driver was reloaded.
        quiet_s: seconds since the line last appeared.
        gpu: the GPU as a fresh, successful NVML reading taken after the event shows it; `None` without one.
    """

    rebooted: bool
    device_reset: bool
    quiet_s: float
    gpu: GpuReading | None


@dataclass(frozen=True, slots=True)
class LevelCheck:
    """A check over readings taken at intervals.

    Attributes:
        reading: the type of reading it judges; its source follows from that.
        judge: pure; gets the readings of the last `window_s` seconds, oldest first, never empty.
        outcomes: everything it can say. What the runner says of any check (`unobserved`, `overdue`, `crashed`,
            `unjudged`) is not among them.
        window_s: 0 means the newest reading alone.
        policy: when what it sees counts.
        thresholds: name → value with unit and source, for the generated reference.
    """

    id: str
    summary: str
    reading: type[Reading]
    judge: Callable[[Sequence[Any]], tuple[Finding, ...]]
    outcomes: tuple[Outcome, ...]
    window_s: float = 0.0
    policy: Policy = AT_ONCE
    thresholds: dict[str, str] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """Name of the agent's source that takes its readings."""
        return self.reading.SOURCE


@dataclass(frozen=True, slots=True)
class LatchedCheck:
    """A check over kernel-log records.

    Attributes:
        outcomes: everything it can say.
        heals: a finding that is `ok` ends the one that is raised under its key: the kernel itself said that it is over.
        judge: pure; gets the last `lookback` records, oldest first, the new one last. Findings are about the new one.
        released: pure; the sentence why the finding is over, or empty while it is not.
    """

    id: str
    summary: str
    judge: Callable[[Sequence[KernelRecord]], tuple[Finding, ...]]
    released: Callable[[Finding, Recovery], str]
    outcomes: tuple[Outcome, ...]
    lookback: int = 1
    heals: bool = False
    thresholds: dict[str, str] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """Name of the agent's source that takes its records."""
        return KernelLogState.SOURCE


Check = LevelCheck | LatchedCheck
