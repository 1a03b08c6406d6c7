"""What the page of incidents shows: those in memory that fit a filter, newest first, a page at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from urllib.parse import urlencode

from controller.api import plan, rows
from controller.api.cell_view import CellView
from controller.api.phrases import spaced
from controller.api.problems import Problem
from controller.api.shapes import IncidentRow
from controller.policy.incident import Incident

A_PAGE = 100
FILTERS = ("state", "class", "node", "text")
STATES = ("open", "waiting", "with people", "closed")


@dataclass(frozen=True, slots=True)
class ListedIncident:
    """One incident with what comes next, empty for one that is closed."""

    row: IncidentRow
    next: str


@dataclass(frozen=True, slots=True)
class IncidentList:
    """The page of incidents.

    Attributes:
        asked: the filters in force, by name.
        states: state → address of the same filters with it; empty state is all.
        classes: fault classes that there are.
        number: of the page, from 1; `before`, `after`: addresses of the pages beside it, empty where there is none.
    """

    incidents: tuple[ListedIncident, ...]
    asked: Mapping[str, str]
    states: Mapping[str, str]
    classes: tuple[str, ...]
    number: int
    before: str
    after: str


def incident_list(cell: CellView, query: Mapping[str, str]) -> IncidentList:
    """Return a page of incidents.

    Raises:
        Problem: 422, a filter or the page's number is none.
    """
    asked = {name: query[name].strip() for name in FILTERS if query.get(name, "").strip()}
    if asked.get("state", "open") not in STATES:
        raise Problem(422, f"{asked['state'][:40]!r} is no state to ask for", ", ".join(STATES), field="state")
    number, now = _number(query.get("page", "1")), cell.now()
    chosen = list(islice(_chosen(cell, asked), (number - 1) * A_PAGE, number * A_PAGE + 1))
    listed = tuple(
        ListedIncident(rows.incident_row(i), "" if i.closed_at else plan.next_of(i, now)) for i in chosen[:A_PAGE]
    )
    return IncidentList(
        listed,
        asked,
        {state: _address({**asked, "state": state}) for state in ("", *STATES)},
        tuple(sorted({incident.fault_class for incident in cell.belief.incidents.values()})),
        number,
        _address(asked, number - 1) if number > 1 else "",
        _address(asked, number + 1) if len(chosen) > A_PAGE else "",
    )


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text[:9]) < 1_000_000):
        raise Problem(422, f"{text[:40]!r} is no page", "a number from 1", field="page")
    return int(text)


def _chosen(cell: CellView, asked: Mapping[str, str]) -> Iterator[Incident]:
    return (incident for incident in reversed(cell.belief.incidents.values()) if _fits(incident, asked))


def _fits(incident: Incident, asked: Mapping[str, str]) -> bool:
    text = asked.get("text", "").casefold()
    return (
        asked.get("class", incident.fault_class) == incident.fault_class
        and asked.get("node", incident.node) == incident.node
        and _is_in(incident, asked.get("state", ""))
        and any(text in said.casefold() for said in _said(incident))
    )


def _is_in(incident: Incident, state: str) -> bool:
    match state:
        case "open":
            return not incident.closed_at
        case "waiting":
            return incident.state == "waiting"
        case "with people":
            return incident.state in {"handed_over", "aborted"} or plan.waits_for_approval(incident)
        case "closed":
            return bool(incident.closed_at)
    return True


def _said(incident: Incident) -> tuple[str, ...]:
    return incident.id, incident.node, incident.device, incident.part, spaced(incident.fault_class), incident.because


def _address(asked: Mapping[str, str], number: int = 1) -> str:
    kept = {name: value for name, value in asked.items() if value}
    query = urlencode(kept | ({"page": str(number)} if number > 1 else {}))
    return f"/incidents?{query}" if query else "/incidents"
