"""Opsgenie as its documents describe it: changes are taken with 202 and done later, alerts are found by their alias."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from tests.support.http_double import Answering, Got, Said

TOKEN = "0a1b2c3d-1111-2222-3333-444455556666"
LIMITS: Mapping[str, int] = {
    "message": 130,
    "alias": 512,
    "description": 15_000,
    "entity": 512,
    "source": 100,
    "note": 25_000,
}
"""Source: Opsgenie, "Alert API", "Create Alert", JSON body fields."""

FIELDS = {*LIMITS, "responders", "visibleTo", "actions", "tags", "details", "priority", "user"}
_NOT_DONE = {"success": False, "isSuccess": False, "alertId": "", "alias": ""}
TAGS, TAG, DETAILS = 20, 50, 8_000


def flaw_of(alert: Mapping[str, Any]) -> str:
    """Return what Opsgenie would not take of a new alert, empty when it takes it."""
    if unknown := set(alert) - FIELDS:
        return f"unknown fields {sorted(unknown)}"
    if not alert.get("message"):
        return "message can not be empty"
    too_long = [name for name, limit in LIMITS.items() if len(alert.get(name, "")) > limit]
    details = sum(len(name) + len(text) for name, text in alert.get("details", {}).items())
    if too_long or details > DETAILS or len(alert.get("tags", [])) > TAGS:
        return f"too long: {too_long}, details {details}"
    if any(len(tag) > TAG for tag in alert.get("tags", [])):
        return "a tag is too long"
    return "" if alert.get("priority", "P3") in {"P1", "P2", "P3", "P4", "P5"} else "priority"


@dataclass
class OpsgenieDouble(Answering):
    """Keeps alerts.

    Attributes:
        alerts: each as the API shows it, oldest first; `notes` is a list beside.
        delays: what was taken is not processed until `process`.
        deaf: what was taken is never done, and its request says so.
    """

    answer: Any = None
    alerts: list[dict[str, Any]] = field(default_factory=list)
    later: dict[str, Got] = field(default_factory=dict)
    outcomes: dict[str, dict[str, Any]] = field(default_factory=dict)
    deaf: bool = False
    delays: bool = False

    def __post_init__(self) -> None:
        """Answer by ourselves."""
        self.answer = self._answer

    def process(self) -> None:
        """Do what was taken."""
        while self.later:
            request = next(iter(self.later))
            self.outcomes[request] = self._do(self.later.pop(request))

    def find(self, alias: str) -> dict[str, Any] | None:
        """Return the newest alert of an alias."""
        return next((alert for alert in self.alerts[::-1] if alert["alias"] == alias), None)

    def person(self, action: str, alias: str, name: str) -> None:
        """A person acknowledges or closes."""
        alert = self.find(alias)
        assert alert is not None
        if action == "acknowledge":
            alert["acknowledged"], alert["report"] = True, {"ackTime": 1, "acknowledgedBy": name}
        else:
            alert["status"], alert["report"] = "closed", {"closeTime": 1, "closedBy": name}

    def _answer(self, got: Got) -> Said:
        if got.headers.get("Authorization") != f"GenieKey {TOKEN}":
            return Said(401, {"message": "Could not authenticate"})
        if got.method == "POST":
            return self._taken(got)
        if got.path.startswith("/v2/alerts/requests/"):
            return self._outcome(got.path.rpartition("/")[2])
        return self._shown(got)

    def _taken(self, got: Got) -> Said:
        if got.path == "/v2/alerts" and (flaw := flaw_of(got.body)):
            return Said(422, {"message": "Request body is not processable.", "errors": {"message": flaw}})
        request = f"request-{len(self.asked('POST'))}"
        self.later[request] = got
        if not self.delays:
            self.process()
        return Said(202, {"result": "Request will be processed", "took": 0.1, "requestId": request})

    def _outcome(self, request: str) -> Said:
        if request not in self.outcomes:
            return Said(404, {"message": "Request not found. It might not be processed, yet."})
        return Said(200, {"data": self.outcomes[request], "took": 0.1})

    def _do(self, got: Got) -> dict[str, Any]:
        if self.deaf:
            return _NOT_DONE | {"status": "Integration is disabled"}
        alert = self._created(got.body) if got.path == "/v2/alerts" else self._changed(got)
        if alert is None:
            return _NOT_DONE | {"status": "Alert does not exist"}
        return {"success": True, "isSuccess": True, "status": "done", "alertId": alert["id"], "alias": alert["alias"]}

    def _created(self, body: dict[str, Any]) -> dict[str, Any]:
        found = self.find(body["alias"])
        if found is not None and found["status"] == "open":
            found["count"] += 1
            return found
        made = {**body, "id": f"id-{len(self.alerts) + 1}", "status": "open", "acknowledged": False, "count": 1}
        self.alerts.append({**made, "notes": []})
        return self.alerts[-1]

    def _changed(self, got: Got) -> dict[str, Any] | None:
        alias, action = _of(got.path)
        alert = self.find(alias)
        if alert is None:
            return None
        if action == "notes":
            alert["notes"].append(got.body["note"])
        else:
            self.person(action, alias, got.body["user"])
        return alert

    def _shown(self, got: Got) -> Said:
        assert got.query["identifierType"] == "alias"
        alias, what = _of(got.path)
        alert = self.find(alias)
        if alert is None:
            return Said(404, {"message": "Alert is not found"})
        if what == "notes":
            return Said(200, {"data": [{"note": note, "owner": "fleetmend"} for note in alert["notes"][::-1]]})
        return Said(200, {"data": {name: value for name, value in alert.items() if name != "notes"}})


def _of(path: str) -> tuple[str, str]:
    """Return alias and action of a path. A server splits before it decodes, aiohttp has decoded: actions are known."""
    rest = path.removeprefix("/v2/alerts/")
    for action in ("notes", "acknowledge", "close"):
        if rest.endswith(f"/{action}"):
            return unquote(rest.removesuffix(f"/{action}")), action
    return unquote(rest), ""
