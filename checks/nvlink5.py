"""Decodes the register words that Xid 144 to 150 print for NVLink 5.

Source: NVIDIA Xid catalogue, NVLink 5 tables. Drivers before R575 number the units another way (V1) than later ones
(V2). V1 repeats the Xid in the low five bits and V2 does not, so no word fits both, and the driver need not be known.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from checks.data import Nvlink5Row, nvlink5_rows
from checks.finding import Action, Verdict
from checks.latched import Judgement

XIDS = range(144, 151)

VALUE_STATUS_XIDS = frozenset({149, 150})
"""In these the second word is a value; in the others every bit of it is an event of its own."""

_MESSAGE = re.compile(
    r"(?P<unit>[A-Z][A-Z0-9_]{0,63})\s+(?P<level>Fatal|Non-?fatal)\s+XC\s?\d{1,4}\s+i\s?\d{1,4}\s+Link\s+(?P<link>-?\d{1,4})"
    r"\s+[(\[](?P<intr_info>0x[0-9a-fA-F]{1,16})(?:,?\s+(?P<error_status>0x[0-9a-fA-F]{1,16}))?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class LinkEvent:
    """What the message says. `intr_info` and `error_status` are its first two words."""

    xid: int
    unit: str
    is_fatal: bool
    link: int
    intr_info: int
    error_status: int

    @property
    def evidence(self) -> dict[str, str]:
        """The words as they stood in the log."""
        words = {"intr_info": f"{self.intr_info:#010x}", "error_status": f"{self.error_status:#010x}"}
        return {"unit": self.unit, "link": str(self.link), **words}


def parse(xid: int, message: str) -> LinkEvent | None:
    """Return the event, `None` when the message has no register words."""
    match = _MESSAGE.match(message)
    if match is None:
        return None
    return LinkEvent(
        xid=xid,
        unit=match["unit"],
        is_fatal=match["level"] == "Fatal",
        link=int(match["link"]),
        intr_info=int(match["intr_info"], 16),
        error_status=int(match["error_status"] or "0", 16),
    )


def judge(event: LinkEvent) -> Judgement:
    """Return what the event means: the worst row that it fits, never better than the line's own word."""
    found = [_judge_row(event, row, promoted=promoted) for row, promoted in _rows(event)]
    if event.is_fatal:
        found.append(_unlisted_fatal(event))
    elif not found:
        reason = "non-fatal, and not in the decode table"
        found = [Judgement(Verdict.DEGRADED, Action.CONTACT_SUPPORT, reason, event.evidence)]
    return min(found, key=_rank)


def possible(xid: int) -> set[tuple[Verdict, Action]]:
    """Return every verdict and action that an event of this code can have."""
    event = LinkEvent(xid, "", is_fatal=True, link=0, intr_info=0, error_status=0)
    ours = [row for row in nvlink5_rows() if row.xid == xid]
    judged = [_judge_row(event, row, promoted=promoted) for row in ours for promoted in (False, True)]
    unlisted = (Verdict.DEGRADED, Action.CONTACT_SUPPORT)
    return {(each.verdict, each.action) for each in (*judged, _unlisted_fatal(event))} | {unlisted}


def _rank(judgement: Judgement) -> int:
    return (Verdict.FAILED, Verdict.DEGRADED, Verdict.OK).index(judgement.verdict)


def _rows(event: LinkEvent) -> list[tuple[Nvlink5Row, bool]]:
    """Return the rows that fit, each with whether its promote bit is set."""
    ours = [row for row in nvlink5_rows() if row.xid == event.xid and _has_status(row, event)]
    v1 = [(row, _bit(event, row.promoted_by_v1_bit)) for row in ours if event.intr_info & row.v1_mask == row.v1_value]
    if v1:
        return v1
    return [(row, _bit(event, row.promoted_by_v2_bit)) for row in ours if event.intr_info & row.v2_mask == row.v2_value]


def _bit(event: LinkEvent, number: int | None) -> bool:
    return number is not None and bool(event.intr_info >> number & 1)


def _has_status(row: Nvlink5Row, event: LinkEvent) -> bool:
    if row.xid in VALUE_STATUS_XIDS:
        return row.error_status == event.error_status
    return bool(row.error_status & event.error_status)


def _judge_row(event: LinkEvent, row: Nvlink5Row, *, promoted: bool) -> Judgement:
    unit, link = row.units[-1], f"link {event.link}"
    follow_up = row.investigate.replace("_", " ").replace("/", " or ")
    if promoted:
        return Judgement(Verdict.FAILED, Action.RESET_GPU, f"{unit}, {link}: promoted to fatal", event.evidence)
    if row.severity in ("fatal", "link_fatal"):
        action = Action.RESET_GPU if row.action == "reset_gpu" else Action.CONTACT_SUPPORT
        reach = "fatal to the link" if row.severity == "link_fatal" else "fatal to all links of the GPU"
        return Judgement(Verdict.FAILED, action, f"{unit}, {link}: {reach}; {follow_up}", event.evidence)
    if row.action == "xid_154_eval":
        reason = f"{unit}, {link}: non-fatal; Xid 154 decides if there is one"
        return Judgement(Verdict.DEGRADED, Action.RESTART_APP, reason, event.evidence)
    verdict = Verdict.OK if row.investigate == "ignore" else Verdict.DEGRADED
    return Judgement(verdict, Action.NONE, f"{unit}, {link}: non-fatal; {follow_up}", event.evidence)


def _unlisted_fatal(event: LinkEvent) -> Judgement:
    reason = f"{event.unit}, link {event.link}: the driver calls it fatal"
    return Judgement(Verdict.FAILED, Action.RESET_GPU, reason, event.evidence)
