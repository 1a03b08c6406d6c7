"""Every case file: the check it is filed under says exactly what the file expects, and no other check says more."""

from __future__ import annotations

from typing import Any

import pytest

from checks.check import LatchedCheck, LevelCheck
from checks.errors import CannotJudge
from checks.finding import Finding
from checks.judge import Judged, judge_lines
from checks.registry import CHECKS
from tests.support.check_cases import Case, all_cases

CASES = all_cases()
BY_ID = {check.id: check for check in CHECKS}


def cases_of(kind: type) -> list[Any]:
    return [pytest.param(case, id=case.name) for case in CASES if isinstance(BY_ID.get(case.check), kind)]


def line_summary(judged: Judged) -> dict[str, Any]:
    names = ("line", "check", "device", "pci", "code", "verdict", "action")
    return {name: getattr(judged, name) for name in names}


def summary(finding: Finding) -> dict[str, Any]:
    return {name: getattr(finding, name) for name in ("device", "code", "verdict", "action")}


@pytest.mark.parametrize("case", cases_of(LatchedCheck))
def test_lines(case: Case) -> None:
    judged = list(judge_lines(case.lines, case.file.accept_userspace))
    assert case.file.expected == [line_summary(each) for each in judged]
    assert all(each.because for each in judged)


@pytest.mark.parametrize("case", cases_of(LevelCheck))
def test_readings(case: Case) -> None:
    check = BY_ID[case.check]
    assert isinstance(check, LevelCheck)
    readings = case.readings(check.reading)
    if isinstance(case.file.expected, dict):
        with pytest.raises(CannotJudge) as raised:
            check.judge(readings)
        assert case.file.expected["cannot_judge"] == str(raised.value)
        return
    findings = check.judge(readings)
    assert case.file.expected == [summary(finding) for finding in findings]
    assert {check.id} >= {finding.check for finding in findings}
    assert all(finding.because for finding in findings)
