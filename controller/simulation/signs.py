"""What a fault shows: recordings of what a host's sources read, judged by the checks that judge a real host's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from checks.check import LevelCheck
from checks.evaluator import FAULTS, judge
from checks.finding import Finding, Verdict
from checks.judge import LatchedJudge
from checks.kernel_log import parse_line
from checks.readings import KernelRecord
from checks.recording import read
from checks.registry import CHECKS

FOLDER: Final = Path(__file__).with_name("signs")


def _load(path: Path) -> tuple[Finding, ...]:
    _, taken = read(path.read_bytes().splitlines(), name=str(path))
    content = [each.what for each in taken]
    records = [each for each in content if isinstance(each, bytes)]
    readings = [each for each in content if not isinstance(each, bytes)]
    found = [*_of_records(records), *_of_readings(readings)]
    return tuple(finding for finding in found if finding.verdict in {*FAULTS, Verdict.OK})


def _of_records(lines: list[bytes]) -> Iterator[Finding]:
    latched = LatchedJudge()
    for line in lines:
        record = parse_line(line)
        if isinstance(record, KernelRecord):
            yield from latched.feed(record)


def _of_readings(readings: list[Any]) -> Iterator[Finding]:
    if not readings:
        return
    for check in CHECKS:
        if isinstance(check, LevelCheck) and check.reading is type(readings[-1]):
            yield from judge(check, readings)


SIGNS: Final[Mapping[str, tuple[Finding, ...]]] = {path.stem: _load(path) for path in sorted(FOLDER.glob("*.jsonl"))}
"""Name of a recording → what the checks find in it; nothing for what they rightly endure."""


def shown_by(sign: str, device: str, serial: str) -> tuple[Finding, ...]:
    """Return what a check says of the part that shows a sign.

    Args:
        device: empty where the recording's own will do, as for a disk.
    """
    return tuple(replace(finding, device=device or finding.device, serial=serial, pci="") for finding in SIGNS[sign])
