"""Every case file: the check it is filed under says exactly what the file expects, and no other check says more."""

from __future__ import annotations

from typing import Any

import pytest

from checks.check import LatchedCheck, LevelCheck, Outcome
from checks.errors import CannotJudge
from checks.evaluator import judge
from checks.finding import Finding, Verdict
from checks.judge import Judged, LatchedJudge, judge_lines
from checks.kernel_log import parse_line
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
    judged = list(judge_lines(case.lines, case.header.accept_userspace))
    assert case.expected == [line_summary(each) for each in judged]
    assert all(each.because for each in judged)


@pytest.mark.parametrize("case", cases_of(LevelCheck))
def test_readings(case: Case) -> None:
    check = BY_ID[case.check]
    assert isinstance(check, LevelCheck)
    assert {check.reading} == {type(reading) for reading in case.readings}
    if isinstance(case.expected, dict):
        with pytest.raises(CannotJudge) as raised:
            judge(check, case.readings)
        assert case.expected["cannot_judge"] == str(raised.value)
        return
    findings = judge(check, case.readings)
    assert case.expected == [summary(finding) for finding in findings]
    assert {check.id} >= {finding.check for finding in findings}
    assert all(finding.because for finding in findings)


def test_what_is_said_is_declared() -> None:
    undeclared = {
        f"{case.name}: {finding.code} {finding.verdict} {finding.action}"
        for case in CASES
        for finding in findings_of(case)
        if not covering(finding) and not is_young(case, finding)
    }
    assert undeclared == set()


def test_everything_a_level_check_declares_has_a_case() -> None:
    """The exception is what only data could vary: codes with a `*` in them need one case of any."""
    said = {
        (finding.check, outcome) for case in CASES for finding in findings_of(case) for outcome in covering(finding)
    }
    declared = {(check.id, each) for check in CHECKS if isinstance(check, LevelCheck) for each in check.outcomes}
    assert {f"{check}: {outcome}" for check, outcome in declared - said} == set()


def is_young(case: Case, finding: Finding) -> bool:
    """Return whether the finding is unknown for no other reason than that the host was just booted."""
    check = BY_ID[finding.check]
    is_early = isinstance(check, LevelCheck) and case.readings[-1].at_s < check.policy.boot_grace_s
    return is_early and finding.verdict is Verdict.UNKNOWN and finding.code in {each.code for each in check.outcomes}


def covering(finding: Finding) -> list[Outcome]:
    return [outcome for outcome in BY_ID[finding.check].outcomes if outcome.covers(finding)]


def findings_of(case: Case) -> list[Finding]:
    """Return what the case's check says; of a latched one, of every record."""
    check = BY_ID[case.check]
    if isinstance(check, LatchedCheck):
        latched = LatchedJudge()
        records = [record for line in case.lines if (record := parse_line(line)) is not None]
        return [finding for record in records for finding in latched.feed(record)]
    return [] if isinstance(case.expected, dict) else list(judge(check, case.readings))
