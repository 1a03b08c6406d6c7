"""PagerDuty as its documents describe it: events by their published contract, incidents by the REST API."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openapi_core import OpenAPI
from openapi_core.exceptions import OpenAPIError
from openapi_core.testing import MockRequest

from tests.support.http_double import Answering, Got, Said

ROUTING_KEY = "R0123456789abcdef0123456789abcde"
TOKEN = "y_NbAkKc66ryYTWUXYEu"
MAX_EVENT_BYTES = 512 * 1024
CONTRACT = Path(__file__).parents[1] / "contracts" / "pagerduty-events-v2.json"
_API = OpenAPI.from_dict(json.loads(CONTRACT.read_text()))


def flaw_of(event: Any) -> str:
    """Return what PagerDuty would not take of an event, empty when it takes it."""
    text = json.dumps(event).encode()
    if len(text) > MAX_EVENT_BYTES:
        return f"the event has {len(text)} bytes"
    request = MockRequest("http://pagerduty", "post", "/v2/enqueue", data=text, content_type="application/json")
    try:
        _API.validate_request(request)
    except OpenAPIError as error:
        return f"{error}: {error.__cause__}"
    return ""


@dataclass
class PagerDutyDouble(Answering):
    """Keeps incidents by deduplication key.

    Attributes:
        incidents: each as the REST API shows it, oldest first.
        deaf: events are answered 202 and dropped, as an event rule would.
        later: events that were taken and are not processed yet; `process` does that.
        delays: whether they wait there.
    """

    answer: Any = None
    incidents: list[dict[str, Any]] = field(default_factory=list)
    later: list[dict[str, Any]] = field(default_factory=list)
    deaf: bool = False
    delays: bool = False

    def __post_init__(self) -> None:
        """Answer by ourselves."""
        self.answer = self._answer

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events that arrived."""
        return [got.body for got in self.asked("POST", "/v2/enqueue")]

    def process(self) -> None:
        """Do what the events say."""
        while self.later:
            self._process(self.later.pop(0))

    def open(self, key: str) -> dict[str, Any] | None:
        """Return the open incident of a key."""
        found = [each for each in self.incidents if each["incident_key"] == key and each["status"] != "resolved"]
        return found[0] if found else None

    def person(self, action: str, key: str, name: str) -> None:
        """A person acknowledges or resolves."""
        incident, agent = self.open(key), {"id": "PUSER", "type": "user_reference", "summary": name}
        assert incident is not None
        incident["status"] = {"acknowledge": "acknowledged", "resolve": "resolved"}[action]
        incident["last_status_change_by"] = agent
        if action == "acknowledge":
            incident["acknowledgements"] = [{"at": "2026-01-31T03:00:00Z", "acknowledger": agent}]

    def _answer(self, got: Got) -> Said:
        if (got.method, got.path) == ("POST", "/v2/enqueue"):
            return self._enqueue(got.body)
        if (got.method, got.path) == ("GET", "/incidents"):
            return self._listed(got)
        return Said(404, {"error": {"message": "Not Found", "code": 2100}})

    def _enqueue(self, event: dict[str, Any]) -> Said:
        if flaw := flaw_of(event):
            return Said(400, {"status": "invalid event", "message": "Event object is invalid", "errors": [flaw]})
        if not self.deaf:
            self.later.append(event)
        if not self.delays:
            self.process()
        return Said(202, {"status": "success", "message": "Event processed", "dedup_key": event["dedup_key"]})

    def _process(self, event: dict[str, Any]) -> None:
        incident, action = self.open(event["dedup_key"]), event["event_action"]
        if action == "trigger" and incident is None:
            number = len(self.incidents) + 1
            self.incidents.append(
                {
                    "id": f"P{number}",
                    "html_url": f"https://acme.pagerduty.com/incidents/P{number}",
                    "incident_key": event["dedup_key"],
                    "status": "triggered",
                    "title": event["payload"]["summary"],
                    "acknowledgements": [],
                }
            )
        elif action != "trigger" and incident is not None:
            incident["status"] = {"acknowledge": "acknowledged", "resolve": "resolved"}[action]

    def _listed(self, got: Got) -> Said:
        if got.headers.get("Authorization") != f"Token token={TOKEN}":
            return Said(401, {"error": {"message": "Unauthorized", "code": 2006}})
        assert (got.query["date_range"], got.query["sort_by"]) == ("all", "created_at:desc")
        found = [each for each in self.incidents[::-1] if each["incident_key"] == got.query["incident_key"]]
        return Said(200, {"incidents": found[: int(got.query["limit"])], "limit": 1, "offset": 0, "more": False})
