"""Checks that a site adds by programs of its own (`checks.d/`, entry points): what they answer, judged.

A program answers as a Nagios plug-in does, by its exit code and a first line of text, or with findings as JSON. What is
neither is `unknown`: a program that breaks has found nothing out. Pure, so a recording of its answers is judged
anywhere, also where the program is not.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from functools import partial
from typing import Annotated, Any, Final

import msgspec

from checks.check import LevelCheck, Outcome
from checks.errors import CannotJudge
from checks.finding import Action, Finding, Verdict
from checks.policy import EVERYWHERE, Policy
from checks.readings.site import SiteReading, site_reading

OK, WARNING, CRITICAL, UNKNOWN = 0, 1, 2, 3
"""Source: Monitoring Plugins Development Guidelines, "Plugin Return Codes"."""

MOST_TEXT: Final = 1000
"""Characters of a plug-in's first line that are kept. Source: our choice; a sentence is meant."""

MOST_FINDINGS: Final = 256
POLICY: Final = Policy(raise_after=2, because="a program that fails once may itself have failed")

BYTE_ORDER_MARK: Final = "\ufeff"

_STATUS = re.compile(r"(?:[A-Z]\S* )?(WARNING|CRITICAL|UNKNOWN)(?: -|:| *$)")
"""How a plug-in's first line names a status that is not ok. Source: Monitoring Plugins Development Guidelines, "Plugin
Output for Nagios": `SERVICE STATUS: Information text`."""

_FINDINGS = re.compile(r"^\s*\[\s*[{\]]|\{\s*\"findings\"\s*:")
"""Findings in JSON that are not the whole answer, or have no object around them."""

Text = Annotated[str, msgspec.Meta(max_length=MOST_TEXT)]
Sentence = Annotated[str, msgspec.Meta(min_length=1, max_length=MOST_TEXT)]


class SiteFinding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One fault as a program tells it: the keys of a finding, but for the check, which is the program."""

    verdict: Verdict
    because: Sentence
    device: Text = EVERYWHERE
    code: Text = ""
    action: Action = Action.NONE
    pci: Text = ""
    serial: Text = ""
    evidence: Annotated[dict[Text, Text], msgspec.Meta(max_length=64)] = {}


class SiteFindings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole answer in JSON. Nothing found is an empty list, never a missing one."""

    findings: Annotated[list[SiteFinding], msgspec.Meta(max_length=MOST_FINDINGS)]


def site_check(check_id: str) -> LevelCheck:
    """Return the check over one program's answers.

    Args:
        check_id: `site.<name>`.
    """
    return LevelCheck(
        id=check_id,
        summary=f"The site's own program {check_id.partition('.')[2]}.",
        reading=site_reading(check_id),
        judge=partial(judge, check_id),
        outcomes=tuple(_outcomes()),
        policy=POLICY,
        thresholds={"readings": "2 in a row (our choice; `raise_after` of its settings)"},
    )


def judge(check_id: str, readings: Sequence[SiteReading]) -> tuple[Finding, ...]:
    """Return what the newest answer says.

    Raises:
        CannotJudge: it is no answer; with what is wrong and what is right.
    """
    answer = readings[-1]
    said = answer.output.strip().removeprefix(BYTE_ORDER_MARK).strip()
    if said.startswith("{"):
        return tuple(_told(check_id, answer, said))
    return tuple(_plugged(check_id, answer, said))


def _plugged(check_id: str, answer: SiteReading, said: str) -> Iterator[Finding]:
    """Judge the answer of a plug-in."""
    text, _, performance = said.partition("\n")[0].partition("|")
    text = text.strip()[:MOST_TEXT]
    if answer.exit_code == OK:
        if flaw := _why_not_ok(text, said):
            raise CannotJudge(f"the program {_say_end(answer)}, and {flaw}")
        return
    if answer.exit_code not in (WARNING, CRITICAL, UNKNOWN):
        raise CannotJudge(f"the program {_say_end(answer)}; 0 is ok, 1 degraded, 2 failed, 3 unknown")
    if not text:
        raise CannotJudge(f"the program {_say_end(answer)} without a line of text, so it broke and found nothing")
    verdict, code = {
        WARNING: (Verdict.DEGRADED, "warning"),
        CRITICAL: (Verdict.FAILED, "critical"),
        UNKNOWN: (Verdict.UNKNOWN, "unknown"),
    }[answer.exit_code]
    evidence = {"performance": performance.strip()[:MOST_TEXT]} if performance.strip() else {}
    yield Finding(check_id, EVERYWHERE, code, verdict, Action.NONE, text, evidence=evidence)


def _why_not_ok(text: str, said: str) -> str:
    """Return what in an answer contradicts its exit code of 0, empty where nothing does."""
    if status := _STATUS.match(text):
        return f"its first line says {status[1]}: 0 is ok, 1 degraded, 2 failed, 3 unknown"
    if _FINDINGS.search(said):
        return 'told findings in JSON among other text; one object {"findings": [...]} is all that it may print then'
    return ""


def _told(check_id: str, answer: SiteReading, said: str) -> Iterator[Finding]:
    """Judge an answer in JSON."""
    if answer.exit_code != OK:
        raise CannotJudge(f"the program printed JSON and {_say_end(answer)}; who tells findings ends with 0")
    try:
        told = msgspec.json.decode(said, type=SiteFindings)
        json.loads(said, object_pairs_hook=_without_twins)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise CannotJudge(f"the program's JSON is none of ours: {error}") from error
    seen = set[tuple[str, str]]()
    for number, each in enumerate(told.findings):
        if flaw := _flaw(each, seen):
            raise CannotJudge(f"the program's JSON is none of ours: $.findings[{number}]: {flaw}")
        seen.add((each.device, each.code))
        yield _finding(check_id, each)


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object; one that gives a key twice may mean either, and an empty list must not win over findings.

    Raises:
        ValueError: with the keys that are given twice.
    """
    if twins := [key for key, times in Counter(key for key, _ in pairs).items() if times > 1]:
        raise ValueError(f"{', '.join(map(repr, twins))} is given twice in one object, and can be given but once")
    return dict(pairs)


def _flaw(each: SiteFinding, seen: Set[tuple[str, str]]) -> str:
    if each.verdict is Verdict.OK:
        return "what is ok is left out"
    if each.verdict is Verdict.UNKNOWN and each.action is not Action.NONE:
        return "what is unknown asks for no action"
    if (each.device, each.code) in seen:
        return f"another one has device {each.device!r} and code {each.code!r}, too"
    return ""


def _finding(check_id: str, each: SiteFinding) -> Finding:
    return Finding(
        check_id,
        each.device,
        each.code,
        each.verdict,
        each.action,
        each.because,
        pci=each.pci,
        serial=each.serial,
        evidence=each.evidence,
    )


def _say_end(answer: SiteReading) -> str:
    end = f"ended with code {answer.exit_code}" if answer.exit_code >= 0 else f"was ended by signal {-answer.exit_code}"
    said = answer.errors.strip().splitlines()
    return f"{end} ({said[-1][:MOST_TEXT]})" if said else end


def _outcomes() -> Iterator[Outcome]:
    yield Outcome("warning", Verdict.DEGRADED)
    yield Outcome("critical", Verdict.FAILED)
    yield from (Outcome("*", verdict, action) for verdict in (Verdict.DEGRADED, Verdict.FAILED) for action in Action)
    yield Outcome("*", Verdict.UNKNOWN)
