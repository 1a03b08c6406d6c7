"""Readings in, findings out, as each check's policy lets them count: the one way, for the daemon, for one look at a
host, and for recordings that are judged again.

Pure: what is remembered is the window of readings that some check still looks at. How many readings a fault must show
in is kept with what is raised (agent/book.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, Final

from checks.check import LevelCheck
from checks.finding import Action, Finding, Verdict
from checks.policy import EVERYWHERE, PeerRule
from checks.readings import Reading

MAX_WINDOW: Final = 4096
"""No window holds more readings than this, however often fresh ones are asked for."""

FAULTS: Final = (Verdict.FAILED, Verdict.DEGRADED)
"""Worst first."""


@dataclass(slots=True)
class Window:
    """The readings of one source, as far back as one of its checks looks."""

    checks: tuple[LevelCheck, ...]
    _readings: deque[Any] = field(default_factory=lambda: deque(maxlen=MAX_WINDOW))

    @property
    def newest(self) -> Any:
        """The newest reading, `None` before the first."""
        return self._readings[-1] if self._readings else None

    def add(self, reading: Reading) -> None:
        """Keep the reading, and of the older ones those that some check still looks at."""
        self._readings.append(reading)
        longest_s = max((check.window_s for check in self.checks), default=0.0)
        while self._readings[0].at_s < reading.at_s - longest_s:
            self._readings.popleft()

    def newest_first(self) -> Iterator[Any]:
        """Yield the readings that are kept."""
        yield from reversed(self._readings)

    def views(self) -> list[tuple[LevelCheck, list[Any]]]:
        """Return each check with the readings it judges, oldest first."""
        return [(check, self._seen_by(check)) for check in self.checks]

    def _seen_by(self, check: LevelCheck) -> list[Any]:
        newest = self._readings[-1]
        if check.window_s == 0.0:
            return [newest]
        return [reading for reading in self._readings if reading.at_s >= newest.at_s - check.window_s]


def judge(check: LevelCheck, readings: Sequence[Any]) -> tuple[Finding, ...]:
    """Return what the check says of the newest reading, as its policy lets it count.

    Raises:
        CannotJudge: the check cannot judge the reading.
    """
    findings = check.judge(readings)
    if check.policy.peers is not None:
        findings = compare(findings, check.policy.peers, among=_parts(readings[-1]))
    return tuple(_young(finding, readings[-1].at_s, check.policy.boot_grace_s) for finding in findings)


def compare(findings: Iterable[Finding], rule: PeerRule, *, among: int) -> tuple[Finding, ...]:
    """Return the findings with each fault that most of `among` devices show as one fault of the host."""
    by_code = sorted(findings, key=_kind)
    return tuple(each for _, alike in groupby(by_code, _kind) for each in _merged(list(alike), rule, among))


def _merged(alike: list[Finding], rule: PeerRule, among: int) -> Iterator[Finding]:
    devices = sorted({finding.device for finding in alike})
    if alike[0].verdict not in FAULTS or len(devices) < rule.minimum or len(devices) <= rule.share * among:
        yield from alike
        return
    worst = min(alike, key=lambda finding: FAULTS.index(finding.verdict))
    because = f"{len(devices)} of {among} devices, {worst.device} among them: {worst.because}; {rule.because}"
    evidence = {"devices": ", ".join(devices)}
    yield Finding(worst.check, EVERYWHERE, worst.code, worst.verdict, rule.action, because, evidence=evidence)


def _kind(finding: Finding) -> tuple[bool, str]:
    return finding.verdict in FAULTS, finding.code


def _parts(reading: Reading) -> int:
    return len(getattr(reading, reading.PARTS)) if reading.PARTS else 1


def _young(finding: Finding, up_s: float, grace_s: float) -> Finding:
    """Return the finding, as `unknown` while the host is so young that the fault may be a part of its start."""
    if up_s >= grace_s or finding.verdict not in FAULTS:
        return finding
    because = f"{finding.because}; it counts once the host is up for {grace_s:.0f} s, now it is for {up_s:.0f} s"
    return replace(finding, verdict=Verdict.UNKNOWN, action=Action.NONE, because=because)
