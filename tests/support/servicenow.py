"""A double of ServiceNow's Table API with the table `incident` as it is delivered.

Source: ServiceNow, "Table API" (parameters, shapes, errors), "Operators available for filters and queries". As the
documents say, a condition and a column that are not known are passed over, and a text that is too long is cut.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from controller.sections.tickets.servicenow import ServiceNowSection
from controller.tickets.servicenow import from_section
from controller.tickets.ticketing import Ticketing
from tests.support.ticket_double import SECRET, TicketDouble
from tests.support.ticket_notices import CELL

USER = "fleetmend"
GROUP = "287ebd7da9fe198100f92cc8d1d2154e"
COLUMNS = {
    "short_description": 160,
    "description": 4000,
    "correlation_id": 100,
    "correlation_display": 100,
    "assignment_group": 32,
    "impact": 40,
    "urgency": 40,
    "state": 40,
    "close_code": 40,
    "close_notes": 4000,
    "u_serial": 40,
    "category": 40,
}
STATES = {"1": "New", "2": "In Progress", "6": "Resolved", "7": "Closed", "8": "Canceled"}
TABLE = "/api/now/table/incident"


@dataclass
class ServiceNowDouble(TicketDouble):
    """ServiceNow. The state: sys_id → column → value; `work_notes` is a list."""

    state: dict[str, dict[str, Any]] = field(default_factory=dict)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get(TABLE, self._asked(self.query)),
            web.post(TABLE, self._asked(self.create)),
            web.get(f"{TABLE}/{{sys_id}}", self._asked(self.get)),
            web.patch(f"{TABLE}/{{sys_id}}", self._asked(self.change)),
        ]

    def desk(self, folder: Path, *, token: str = SECRET, **changed: object) -> Ticketing:
        section = {
            "kind": "servicenow",
            "url": self.url,
            "user": USER,
            "password_file": self.secret_file(folder, token),
            "assignment_groups": {"datacentre": GROUP},
            "impacts": {"critical": "1"},
            "urgencies": {"critical": "1"},
            "always": {"category": "hardware"},
            "fields": {"serial": "u_serial"},
        }
        return from_section(ServiceNowSection.model_validate({**section, **changed}), CELL)

    def _asked(self, handler: Any) -> Any:
        wanted = "Basic " + base64.b64encode(f"{USER}:{SECRET}".encode()).decode()

        async def answer(request: web.Request) -> web.Response:
            if request.headers.get("Authorization") != wanted:
                return failure(401, "User Not Authenticated", "Required to provide Auth information")
            sys_id = request.match_info.get("sys_id", "")
            if sys_id and sys_id not in self.state:
                return failure(404, "No Record found", "Record doesn't exist or ACL restricts the record retrieval")
            body = await request.json() if request.method in {"POST", "PATCH"} else {}
            assert all(isinstance(value, str) for value in body.values()), body
            answered: web.Response = handler(request, sys_id, body)
            return answered

        return answer

    def create(self, _request: web.Request, _sys_id: str, body: dict[str, str]) -> web.Response:
        number = len(self.state) + 1
        sys_id = f"{number:032x}"
        empty = {"closed_by": "", "work_notes": [], "state": "1", "close_notes": "", "close_code": ""}
        self.state[sys_id] = {"sys_id": sys_id, "number": f"INC{number:07}", **empty, **kept(body)}
        return web.json_response({"result": plain(self.state[sys_id])}, status=201)

    def change(self, _request: web.Request, sys_id: str, body: dict[str, str]) -> web.Response:
        record = self.state[sys_id]
        if record["state"] in {"7", "8"}:
            return failure(403, "Operation Failed", "ACL Exception Update Failed due to security constraints")
        if body.get("state") in {"6", "7"} and not (body.get("close_code") and body.get("close_notes")):
            said = "Data Policy Exception: The following fields are mandatory: Resolution code, Resolution notes"
            return failure(403, "Operation Failed", said)
        record |= kept(body)
        if body.get("state") == "6":
            record["closed_by"] = USER
        if body.get("work_notes"):
            record["work_notes"].insert(0, (USER, body["work_notes"]))
        return web.json_response({"result": plain(record)})

    def get(self, request: web.Request, sys_id: str, _body: Any) -> web.Response:
        assert request.query["sysparm_display_value"] == "true"
        notes = self.state[sys_id]["work_notes"]
        shown = "".join(f"2026-01-02 03:04:05 - {by} (Work notes)\n{text}\n\n" for by, text in notes)
        return web.json_response({"result": {"work_notes": shown, "comments": ""}})

    def query(self, request: web.Request, _sys_id: str, _body: Any) -> web.Response:
        assert request.query["sysparm_display_value"] == "all"
        assert 0 < int(request.query["sysparm_limit"]) <= 10_000
        names = request.query["sysparm_fields"].split(",")
        found = list(self.state.values())
        for condition in request.query["sysparm_query"].split("^"):
            found = chosen(found, condition)
        return web.json_response({"result": [displayed(record, names) for record in found]})

    def close_as_technician(self, reference: str, words: str) -> None:
        record = self._record(reference)
        record |= {"state": "7", "closed_by": "Terry Technician", "close_code": "Replaced", "close_notes": words}

    def comments(self, reference: str) -> list[str]:
        return [text for _, text in reversed(self._record(reference)["work_notes"])]

    def is_open(self, reference: str) -> bool:
        return self._record(reference)["state"] not in {"6", "7", "8"}

    def count(self) -> int:
        return len(self.state)

    def delete(self, reference: str) -> None:
        del self.state[self._record(reference)["sys_id"]]

    def _record(self, reference: str) -> dict[str, Any]:
        return next(record for record in self.state.values() if record["number"] == reference)


def kept(body: dict[str, str]) -> dict[str, str]:
    """Return what the table takes of a body."""
    return {name: value[: COLUMNS[name]] for name, value in body.items() if name in COLUMNS}


def plain(record: dict[str, Any]) -> dict[str, str]:
    """Return a record as a change shows it: values alone, journals empty."""
    return {**record, "work_notes": ""}


def displayed(record: dict[str, Any], names: list[str]) -> dict[str, dict[str, str | None]]:
    """Return a record with both of each value; nothing is shown of an empty one."""
    shown = {name: str(record.get(name, "")) for name in names}
    return {
        name: {"value": value, "display_value": (STATES.get(value, value) if name == "state" else value) or None}
        for name, value in shown.items()
    }


def chosen(records: list[dict[str, Any]], condition: str) -> list[dict[str, Any]]:
    """Return the records that a condition leaves; one that is not known leaves all."""
    if condition.startswith("ORDERBYDESC"):
        return records[::-1]
    for operator in ("STARTSWITH", "IN", "="):
        name, found, value = condition.partition(operator)
        if found and name in {*COLUMNS, "number", "sys_id"}:
            wanted = value.split(",")
            return [
                record
                for record in records
                if (record.get(name, "").startswith(value) if operator == "STARTSWITH" else record.get(name) in wanted)
            ]
    return records


def failure(status: int, message: str, detail: str) -> web.Response:
    """Return an error as the Table API gives it."""
    body = {"error": {"message": message, "detail": detail}, "status": "failure"}
    return web.json_response(body, status=status)
