"""What a site's own programs answer: Nagios exit codes, findings in JSON, and what is neither."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.errors import CannotJudge
from checks.finding import Action, Finding, Verdict
from checks.readings.site import site_reading
from checks.site import MOST_FINDINGS, site_check

ID = "site.licence"
CHECK = site_check(ID)


def answer(exit_code: int, output: str = "", errors: str = "") -> tuple[Finding, ...]:
    return CHECK.judge([site_reading(ID)(1.0, exit_code, output, errors)])


def told(*findings: dict[str, Any]) -> tuple[Finding, ...]:
    return answer(0, json.dumps({"findings": list(findings)}))


@pytest.mark.parametrize(
    "output",
    [
        "",
        "OK - all well | t=1\nmore",
        "DISK OK: 0 CRITICAL, 0 WARNING",
        "no CRITICAL: all well",
        "[seats] all free",
        '{"findings": []}',
        ' \n{"findings": []}\n',
        '\ufeff{"findings": []}',
    ],
)
def test_nothing_is_found(output: str) -> None:
    assert answer(0, output) == ()


@pytest.mark.parametrize(
    ("exit_code", "code", "verdict"),
    [(1, "warning", Verdict.DEGRADED), (2, "critical", Verdict.FAILED), (3, "unknown", Verdict.UNKNOWN)],
)
def test_an_exit_code_is_a_verdict_and_the_first_line_its_sentence(exit_code: int, code: str, verdict: Verdict) -> None:
    (finding,) = answer(exit_code, "\n seats: 3 left | seats=3;5;1 \nlong text | other=1\n", "noise")
    assert finding == Finding(
        ID, "host", code, verdict, Action.NONE, "seats: 3 left", evidence={"performance": "seats=3;5;1"}
    )


@pytest.mark.parametrize(
    ("exit_code", "output", "errors", "because"),
    [
        (1, "", "Traceback\nNameError: seats\n", "ended with code 1 (NameError: seats) without a line of text, so it "),
        (2, " | seats=3", "", "ended with code 2 without a line of text"),
        (127, "licence: not found", "", "ended with code 127; 0 is ok, 1 degraded, 2 failed, 3 unknown"),
        (-9, "OK", "", "was ended by signal 9; 0 is ok"),
        (1, '{"findings": []}', "", "printed JSON and ended with code 1; who tells findings ends with 0"),
        (0, '{"findings": [}', "", "JSON is none of ours: JSON is malformed"),
        (0, "{}", "", "missing required field `findings`"),
        (0, '{"findings": [], "more": 1}', "", "unknown field `more`"),
        (
            0,
            '{"findings": [{"verdict": "failed", "because": "x"}], "findings": []}',
            "",
            "'findings' is given twice in",
        ),
        (
            0,
            'deprecated\n{"findings": [{"verdict": "failed", "because": "x"}]}',
            "",
            "told findings in JSON among other",
        ),
        (0, '[{"verdict": "failed", "because": "x"}]', "", "told findings in JSON among other text; one object"),
        (0, "DISK CRITICAL - full", "", "ended with code 0, and its first line says CRITICAL: 0 is ok, 1 degraded,"),
        (0, "WARNING: few seats | seats=1", "", "its first line says WARNING"),
        (0, "UNKNOWN", "", "its first line says UNKNOWN"),
    ],
)
def test_what_is_no_answer_is_said_to_be_none(exit_code: int, output: str, errors: str, because: str) -> None:
    with pytest.raises(CannotJudge) as caught:
        answer(exit_code, output, errors)
    assert because in str(caught.value)


def test_a_byte_order_mark_hides_no_finding() -> None:
    assert len(answer(0, '\ufeff {"findings": [{"verdict": "failed", "because": "x"}]}')) == 1


def test_a_finding_is_told_whole() -> None:
    whole = {
        "device": "mlx5_0/1",
        "code": "seats",
        "verdict": "failed",
        "action": "reboot",
        "because": "no seat is left",
        "pci": "0000:3b:00",
        "serial": "0x1",
        "evidence": {"seats": "0"},
    }
    assert told(whole, {"verdict": "degraded", "because": "few are left"}) == (
        Finding(
            ID,
            "mlx5_0/1",
            "seats",
            Verdict.FAILED,
            Action.REBOOT,
            "no seat is left",
            pci="0000:3b:00",
            serial="0x1",
            evidence={"seats": "0"},
        ),
        Finding(ID, "host", "", Verdict.DEGRADED, Action.NONE, "few are left"),
    )


@pytest.mark.parametrize(
    ("findings", "because"),
    [
        ([{"verdict": "bad", "because": "x"}], "Invalid enum value 'bad' - at `$.findings[0].verdict`"),
        ([{"verdict": "failed"}], "missing required field `because` - at `$.findings[0]`"),
        ([{"verdict": "failed", "because": ""}], "length >= 1 - at `$.findings[0].because`"),
        ([{"verdict": "failed", "because": "x", "check": "gpu.xid"}], "unknown field `check`"),
        ([{"verdict": "ok", "because": "x"}], "$.findings[0]: what is ok is left out"),
        ([{"verdict": "unknown", "because": "x", "action": "reboot"}], "$.findings[0]: what is unknown asks for no"),
        ([{"verdict": "failed", "because": "x"}] * 2, "$.findings[1]: another one has device 'host' and code ''"),
        ([{"verdict": "failed", "because": "x"}] * (MOST_FINDINGS + 1), "length <= 256"),
    ],
)
def test_a_wrong_finding_is_named(findings: list[dict[str, Any]], because: str) -> None:
    with pytest.raises(CannotJudge) as caught:
        told(*findings)
    assert because in str(caught.value)


@given(st.integers(-64, 255), st.one_of(st.text(), st.text().map("{".__add__)), st.text())
def test_any_answer_is_judged_or_refused(exit_code: int, output: str, errors: str) -> None:
    try:
        findings = answer(exit_code, output, errors)
    except CannotJudge:
        return
    if not findings:
        assert exit_code == 0
    assert all(any(outcome.covers(finding) for outcome in CHECK.outcomes) for finding in findings)
    assert all(finding.because for finding in findings)
