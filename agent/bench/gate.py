"""When a benchmark may run, and when it has to end. Pure: it is told what was seen, and says what follows.

The order is fixed: a lease that holds, somebody who says that the node has no work, the lock of this host, and then ten
seconds in which every look at the GPUs shows nobody on them. What cannot be told is never taken for idle. The same
looks go on while it runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from checks.bench_outcome import Outcome

IDLE_S: Final = 10.0
"""For so long nobody must be on the GPUs. Source: the reference of active benchmarks."""

PATIENCE_S: Final = 30.0
"""After so long without ten idle seconds it is given up: the memory of a job that ended is back within some, and so is
the utilisation that NVML still shows. Source: our choice."""

LONGEST_GAP_S: Final = 2.0
"""Between two looks that follow each other: what was idle at both was idle between. Source: our choice; they are half a
second apart, and NVML of a GPU at full load may take some hundred milliseconds."""

MEMORY_LIMIT_BYTES: Final = 1 << 30
"""In use on a GPU that nobody uses. Source: the reference of active benchmarks, 0.5 to 1 GiB above what the driver
takes for itself, which drivers before 510 do not tell apart and which is up to half of this."""


class Stage(StrEnum):
    """How far it is."""

    ASKED = "asked"
    AGREED = "agreed"
    PROVING = "proving"
    RUNNING = "running"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class GpuUse:
    """How much one GPU is used.

    Attributes:
        foreign: the processes on it that are none of the benchmark's own, as people know them.
        unknown: what is not told of it, one sentence each.
    """

    name: str
    foreign: tuple[str, ...] = ()
    used_bytes: int = 0
    utilization_percent: int = 0
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sight:
    """One look at all GPUs.

    Attributes:
        at_s: when it began, monotonic.
        unknown: why nothing can be told, empty when it can.
    """

    at_s: float
    gpus: tuple[GpuUse, ...] = ()
    unknown: str = ""


@dataclass(frozen=True, slots=True)
class Terms:
    """Under which it may run.

    Attributes:
        idle_by: who says that the node has no work, empty when nobody does.
        lease_ends_s: monotonic.
        limit_s: of the run itself.
        idle_s: for so long nobody must be on the GPUs before it.
    """

    lease: str
    idle_by: str
    lease_ends_s: float
    limit_s: float
    idle_s: float = IDLE_S


@dataclass(frozen=True, slots=True)
class Gate:
    """Where one run stands. Every method returns where it stands then; one that has ended never moves again.

    Attributes:
        began_s: when it was asked for, monotonic.
        idle_since_s: since when every look showed nobody; `None` while somebody was seen at the last.
        looked_s: when the last look began.
        ran_since_s: when the benchmark was started, `None` while it never was.
        outcome, because: of a run that the gate ended.
    """

    terms: Terms
    began_s: float
    stage: Stage = Stage.ASKED
    idle_since_s: float | None = None
    looked_s: float = 0.0
    ran_since_s: float | None = None
    outcome: Outcome = Outcome.SKIP
    because: str = ""

    @property
    def is_open(self) -> bool:
        """Whether the benchmark may be started now."""
        if self.stage is not Stage.PROVING or self.idle_since_s is None:
            return False
        return self.looked_s - self.idle_since_s >= self.terms.idle_s

    @property
    def is_shut(self) -> bool:
        """Whether nothing may run under it any more."""
        return self.stage is Stage.ENDED

    def agreed(self, now_s: float) -> Gate:
        """Return the gate after its terms were read."""
        if self.stage is not Stage.ASKED:
            return self
        because = self._why_no_terms() or self._why_over(now_s)
        return self.ended(because) if because else replace(self, stage=Stage.AGREED)

    def locked(self, now_s: float, *, refusal: str = "") -> Gate:
        """Return the gate after the lock was asked for. `refusal`: why it was not given, empty when it was."""
        if self.stage is not Stage.AGREED:
            return self
        because = self._why_over(now_s) or refusal
        return self.ended(because) if because else replace(self, stage=Stage.PROVING)

    def looked(self, sight: Sight, now_s: float) -> Gate:
        """Return the gate after a look at the GPUs that came back at `now_s`."""
        if self.stage not in (Stage.PROVING, Stage.RUNNING):
            return self
        because = self._why_over(now_s) or why_not_told(sight)
        if because:
            return self.ended(because)
        if foreign := why_foreign(sight):
            return self.ended(foreign, Outcome.SKIP)
        if self.stage is Stage.RUNNING:
            return replace(self, looked_s=sight.at_s)
        return self._proved(sight, now_s)

    def started(self, now_s: float) -> Gate:
        """Return the gate for a benchmark that starts now; shut, if the lease is over meanwhile.

        Raises:
            ValueError: it may not start.
        """
        if not self.is_open:
            raise ValueError(f"a benchmark may not be started: {self.stage}, {self.because or 'not proven idle'}")
        if because := self._why_over(now_s):
            return self.ended(because)
        return replace(self, stage=Stage.RUNNING, ran_since_s=now_s)

    def passed(self, now_s: float) -> Gate:
        """Return the gate after time went by in which nothing was seen."""
        because = self._why_over(now_s) if self.stage is not Stage.ENDED else ""
        return self.ended(because) if because else self

    def ended(self, because: str, outcome: Outcome | None = None) -> Gate:
        """Return the gate shut for good. What ran came to no end of its own, which is an error of the test.

        Args:
            outcome: another one than that; a job that arrives is what the node is for, and no error.
        """
        if self.stage is Stage.ENDED:
            return self
        usual = Outcome.ERROR if self.stage is Stage.RUNNING else Outcome.SKIP
        return replace(self, stage=Stage.ENDED, outcome=outcome or usual, because=because)

    def _proved(self, sight: Sight, now_s: float) -> Gate:
        used = why_used(sight)
        if used and now_s - self.began_s >= PATIENCE_S:
            return self.ended(f"the node is not idle: {used}")
        is_gap = sight.at_s - self.looked_s > LONGEST_GAP_S
        since = None if used else sight.at_s if self.idle_since_s is None or is_gap else self.idle_since_s
        return replace(self, idle_since_s=since, looked_s=sight.at_s)

    def _why_no_terms(self) -> str:
        if not self.terms.lease:
            return "the controller gave no lease"
        if not self.terms.idle_by:
            return "it is not known whether the node is idle: nobody says that it has no work"
        return "" if self.terms.limit_s > 0 else f"it may take {self.terms.limit_s:g} s, which is no time"

    def _why_over(self, now_s: float) -> str:
        if now_s >= self.terms.lease_ends_s:
            return f"the lease {self.terms.lease} is over"
        if self.ran_since_s is not None and now_s - self.ran_since_s >= self.terms.limit_s:
            return f"it did not end within {self.terms.limit_s:g} s"
        return ""


def why_not_told(sight: Sight) -> str:
    """Return what is not known of who uses the GPUs, empty when all is."""
    if sight.unknown:
        return f"it is not known whether the GPUs are idle: {sight.unknown}"
    unknown = [sentence for gpu in sight.gpus for sentence in gpu.unknown]
    return f"it is not known whether the GPUs are idle: {'; '.join(unknown)}" if unknown else ""


def why_foreign(sight: Sight) -> str:
    """Return who else is on the GPUs, empty when nobody is."""
    found = [f"{process} is on {gpu.name}" for gpu in sight.gpus for process in gpu.foreign]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"{found[0]}{more}" if found else ""


def why_used(sight: Sight) -> str:
    """Return what shows that a GPU is used by somebody who is not seen, empty when nothing does."""
    return "; ".join(sentence for gpu in sight.gpus for sentence in _signs_of_use(gpu))


def _signs_of_use(gpu: GpuUse) -> Iterator[str]:
    if gpu.used_bytes >= MEMORY_LIMIT_BYTES:
        yield f"{gpu.used_bytes >> 20} MiB of the memory of {gpu.name} are in use"
    if gpu.utilization_percent > 0:
        yield f"{gpu.name} is {gpu.utilization_percent} % busy"
