"""Checks of a site's own packages: foreign code in the agent's process, believed only what a check may say.

Whatever such a check is or returns, the worst that comes of it is that it stands as `unknown` and says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any, Final

import msgspec

from agent.time_limit import limited
from checks.check import Check, LatchedCheck, LevelCheck, Outcome
from checks.errors import CannotJudge
from checks.finding import Action, Finding, Verdict
from checks.policy import Policy
from checks.readings import READINGS
from checks.site import MOST_FINDINGS

JUDGE_LIMIT_S: Final = 1.0
"""Of one judgement by a site's own check. Source: our choice; ours take microseconds, and the agent does nothing else
meanwhile."""

WANTED: Final[dict[str, tuple[type, ...]]] = {
    "summary": (str,),
    "outcomes": (tuple,),
    "window_s": (int, float),
    "policy": (Policy,),
    "lookback": (int,),
    "heals": (bool,),
    "thresholds": (dict,),
}
"""Attribute of a check → of which type it is: dataclasses look at none of them."""


def why_no_check(check: object, name: str) -> str:
    """Return what is wrong with what the entry point `name` leads to, to end a sentence that begins with its value."""
    if not isinstance(check, LevelCheck | LatchedCheck):
        return f"is {check!r}, and not a LevelCheck or a LatchedCheck of checks/check.py"
    if check.id != name:
        return f"is the check {check.id!r}: entry point and check have one name"
    for attribute, kinds in WANTED.items():
        value = getattr(check, attribute, None)
        if hasattr(check, attribute) and not isinstance(value, kinds):
            return f"has {attribute} {value!r}, and a {kinds[-1].__name__} is wanted"
    if not all(isinstance(outcome, Outcome) for outcome in check.outcomes):
        return f"has outcomes {check.outcomes!r}, and each must be an Outcome of checks/check.py"
    if isinstance(check, LevelCheck) and check.reading not in READINGS:
        return f"judges {getattr(check.reading, '__name__', check.reading)}, which no source of the agent takes"
    return ""


def guarded(check: Check) -> Check:
    """Return the check, held to its time and to what a check may say."""

    def judge(readings: Any) -> tuple[Finding, ...]:
        return _findings(check, check.judge(readings))

    if isinstance(check, LevelCheck):
        return replace(check, judge=limited(judge, limit_s=JUDGE_LIMIT_S))
    return replace(
        check,
        judge=limited(judge, limit_s=JUDGE_LIMIT_S),
        released=limited(_saying_why(check.released), limit_s=JUDGE_LIMIT_S),
    )


def _findings(check: Check, found: object) -> tuple[Finding, ...]:
    """Return the findings that a check returned; its generators are run here, within its time.

    Raises:
        CannotJudge: these are no findings of this check.
    """
    if not isinstance(found, Iterable) or isinstance(found, str | bytes | Mapping):
        raise CannotJudge(f"the check returned {found!r}, and not findings")
    findings = tuple(islice(found, MOST_FINDINGS + 1))
    if len(findings) > MOST_FINDINGS:
        raise CannotJudge(f"the check returned more than {MOST_FINDINGS} findings")
    return tuple(_finding(check, each) for each in findings)


def _finding(check: Check, found: object) -> Finding:
    if not isinstance(found, Finding):
        raise CannotJudge(f"the check returned {found!r} among its findings")
    try:
        finding = msgspec.convert(msgspec.to_builtins(found), Finding)
    except (msgspec.ValidationError, TypeError, ValueError) as error:
        raise CannotJudge(f"the check returned a finding that is none: {error}: {found!r}") from error
    if finding.check != check.id:
        raise CannotJudge(f"the check returned a finding of the check {finding.check!r}")
    if finding.verdict is Verdict.OK and not getattr(check, "heals", False):
        raise CannotJudge(f"the check returned a finding that is ok: what is ok is left out: {found!r}")
    if finding.verdict is Verdict.UNKNOWN and finding.action is not Action.NONE:
        raise CannotJudge(f"the check returned a finding that is unknown and asks for {finding.action}: {found!r}")
    return finding


def _saying_why(released: Callable[..., object]) -> Callable[..., str]:
    def why(*arguments: object) -> str:
        because = released(*arguments)
        if not isinstance(because, str):
            raise TypeError(f"released() returned {because!r}, and a sentence is wanted, empty while it is not over")
        return because

    return why
