"""Kernel-log lines in, findings out: the one way, for the agent and for `fleetmend judge` alike.

Pure and incremental: what has to be remembered between lines (the last records per check, the names of GPUs, the
record that an indented line goes on with) is kept here and nowhere else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from checks.check import LatchedCheck
from checks.finding import Finding
from checks.gpu_names import GpuNames, learn
from checks.kernel_log import believed, continuation, parse_line
from checks.readings import KernelRecord
from checks.registry import CHECKS

LATCHED_CHECKS = tuple(check for check in CHECKS if isinstance(check, LatchedCheck))
"""Every check over kernel-log records, in the registry's order."""


def identify(
    finding: Finding, uuid_by_pci: Mapping[str, str], serial_by_device: Mapping[str, str] | None = None
) -> Finding:
    """Return the finding under its GPU's UUID and with its serial, as far as they are known.

    Args:
        serial_by_device: serials under UUID or PCI address.
    """
    device = uuid_by_pci.get(finding.pci, finding.device) if finding.device == finding.pci else finding.device
    serials = serial_by_device or {}
    serial = finding.serial or serials.get(device) or serials.get(finding.pci) or ""
    if (device, serial) == (finding.device, finding.serial):
        return finding
    return replace(finding, device=device, serial=serial)


class LatchedJudge:
    """Judges records as they come, by checks that look back on the ones before."""

    def __init__(self, checks: Sequence[LatchedCheck] = LATCHED_CHECKS) -> None:
        """Remember nothing yet."""
        self._names = GpuNames()
        self._looked_back: list[tuple[LatchedCheck, deque[KernelRecord]]] = [
            (check, deque(maxlen=check.lookback)) for check in checks
        ]

    def feed(self, record: KernelRecord) -> tuple[Finding, ...]:
        """Return what the record means. It must be `believed` already: a forged one would be remembered."""
        self._names = learn(self._names, record)
        return tuple(self._judge(record))

    def _judge(self, record: KernelRecord) -> Iterator[Finding]:
        for check, records in self._looked_back:
            records.append(record)
            for finding in check.judge(tuple(records)):
                yield identify(finding, self._names.uuid_by_pci, self._names.serial_by_pci)


@dataclass(frozen=True, slots=True)
class Judged:
    """What one line means, as `fleetmend judge` prints it. `line` counts from 1."""

    line: int
    check: str
    device: str
    pci: str
    code: str
    verdict: str
    action: str
    because: str

    def as_json(self) -> str:
        """Return it as one line of JSON."""
        return msgspec.json.encode(self).decode()


class LineReader:
    """Reads lines of any form as records. Any bytes at all are taken; a line may go on with the record before it."""

    def __init__(self) -> None:
        """Begin before the first line."""
        self._previous: KernelRecord | None = None

    def read(self, raw: bytes) -> KernelRecord | None:
        """Return the record that the next line holds."""
        record = parse_line(raw)
        if record is None and self._previous is not None:
            record = continuation(self._previous, raw)
        self._previous = record or self._previous
        return record


class LineJudge:
    """Judges raw lines of any form. Any bytes at all are taken; what means nothing gives nothing."""

    def __init__(self, *, accept_userspace: bool = False) -> None:
        """Begin before the first line.

        Args:
            accept_userspace: believe also what any process could have written to the log.
        """
        self._accept_userspace = accept_userspace
        self._judge = LatchedJudge()
        self._reader = LineReader()
        self._line = 0

    def feed(self, raw: bytes) -> list[Judged]:
        """Return what the next line means."""
        self._line += 1
        record = self._reader.read(raw)
        if record is None or not believed(record, accept_userspace=self._accept_userspace):
            return []
        return [judged(self._line, finding) for finding in self._judge.feed(record)]


def judge_lines(lines: Iterable[bytes], accept_userspace: bool = False) -> Iterator[Judged]:
    """Yield what each line means, in the lines' order."""
    judge = LineJudge(accept_userspace=accept_userspace)
    for raw in lines:
        yield from judge.feed(raw)


def judged(line: int, finding: Finding) -> Judged:
    """Return what a line means, by the finding that came of it."""
    return Judged(
        line=line,
        check=finding.check,
        device=finding.device,
        pci=finding.pci,
        code=finding.code,
        verdict=finding.verdict.value,
        action=finding.action.value,
        because=finding.because,
    )
