"""A double of GitLab's issues.

Source: GitLab, "Issues API" (list project issues, new issue, single project issue, edit issue), "Notes API", "REST API"
(encoded paths, pagination). Labels that are not there are made.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from controller.sections.tickets.gitlab import GitLabSection
from controller.tickets.gitlab import from_section
from controller.tickets.ticketing import Ticketing
from tests.support.ticket_double import SECRET, TicketDouble
from tests.support.ticket_notices import CELL

PROJECTS = ("example/fleet", "example/datacentre")
ISSUES = "/api/v4/projects/{project}/issues"


@dataclass
class GitLabDouble(TicketDouble):
    """GitLab."""

    state: dict[str, dict[str, Any]] = field(default_factory=dict)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get(ISSUES, self._asked(self.list_issues)),
            web.post(ISSUES, self._asked(self.create)),
            web.get(f"{ISSUES}/{{iid}}", self._asked(self.get)),
            web.put(f"{ISSUES}/{{iid}}", self._asked(self.change)),
            web.get(f"{ISSUES}/{{iid}}/notes", self._asked(self.get_notes)),
            web.post(f"{ISSUES}/{{iid}}/notes", self._asked(self.add_note)),
        ]

    def desk(self, folder: Path, *, token: str = SECRET, **changed: object) -> Ticketing:
        section = {
            "kind": "gitlab",
            "url": self.url,
            "token_file": self.secret_file(folder, token),
            "project": "example/fleet",
            "projects": {"datacentre": "example/datacentre"},
            "team_labels": {"datacentre": "hands and eyes"},
            "severity_labels": {"critical": "critical"},
            "confidential": True,
        }
        return from_section(GitLabSection.model_validate({**section, **changed}), CELL)

    def _asked(self, handler: Any) -> Any:
        async def answer(request: web.Request) -> web.Response:
            if request.headers.get("PRIVATE-TOKEN") != SECRET:
                return web.json_response({"message": "401 Unauthorized"}, status=401)
            assert "%2F" in request.raw_path, "a project's path is one encoded part of the address"
            project, iid = request.match_info["project"], request.match_info.get("iid", "")
            if project not in PROJECTS:
                return web.json_response({"message": "404 Project Not Found"}, status=404)
            if iid and f"{project}#{iid}" not in self.state:
                return web.json_response({"message": "404 Not found"}, status=404)
            body = await request.json() if request.method in {"POST", "PUT"} else {}
            answered: web.Response = handler(request, f"{project}#{iid}" if iid else project, body)
            return answered

        return answer

    def create(self, _request: web.Request, project: str, body: dict[str, Any]) -> web.Response:
        assert set(body) <= {"title", "description", "labels", "confidential", "assignee_ids", "issue_type"}
        assert isinstance(body["labels"], str) and body["confidential"] is True
        if not 0 < len(body["title"]) <= 255 or len(body["description"]) > 1_048_576:
            return web.json_response({"message": {"title": ["is too long (maximum is 255 characters)"]}}, status=400)
        iid = len(self.state) + 1
        self.state[f"{project}#{iid}"] = {
            "id": 1000 + iid,
            "iid": iid,
            "title": body["title"],
            "description": body["description"],
            "state": "opened",
            "labels": body["labels"].split(","),
            "closed_by": None,
            "web_url": f"https://gitlab.example/{project}/-/issues/{iid}",
            "notes": [],
        }
        return web.json_response(shown(self.state[f"{project}#{iid}"]), status=201)

    def list_issues(self, request: web.Request, project: str, _body: Any) -> web.Response:
        query = request.query
        assert query["scope"] == "all" and 0 < int(query["per_page"]) <= 100
        numbers, labels = query.getall("iids[]", []), set(filter(None, query.get("labels", "").split(",")))
        found = [
            shown(issue)
            for key, issue in reversed(self.state.items())
            if key.startswith(f"{project}#")
            and query.get("state", "all") in {"all", issue["state"]}
            and labels <= set(issue["labels"])
            and (not numbers or str(issue["iid"]) in numbers)
        ]
        start = (int(query.get("page", "1")) - 1) * int(query["per_page"])
        return web.json_response(found[start : start + int(query["per_page"])])

    def get(self, _request: web.Request, key: str, _body: Any) -> web.Response:
        return web.json_response(shown(self.state[key]))

    def change(self, _request: web.Request, key: str, body: dict[str, Any]) -> web.Response:
        assert set(body) == {"state_event"} and body["state_event"] in {"close", "reopen"}
        closes = body["state_event"] == "close"
        closer = {"id": 1, "username": "fleetmend-bot"} if closes else None
        self.state[key] |= {"state": "closed" if closes else "opened", "closed_by": closer}
        self.note(key, "fleetmend-bot", "closed" if closes else "reopened", system=True)
        return web.json_response(shown(self.state[key]))

    def get_notes(self, request: web.Request, key: str, _body: Any) -> web.Response:
        assert (request.query["sort"], request.query["order_by"]) == ("desc", "created_at")
        start = (int(request.query["page"]) - 1) * int(request.query["per_page"])
        newest = self.state[key]["notes"][::-1]
        return web.json_response(newest[start : start + int(request.query["per_page"])])

    def add_note(self, _request: web.Request, key: str, body: dict[str, Any]) -> web.Response:
        assert set(body) == {"body"} and 0 < len(body["body"]) <= 1_000_000
        self.note(key, "fleetmend-bot", body["body"])
        return web.json_response(self.state[key]["notes"][-1], status=201)

    def note(self, key: str, by: str, text: str, *, system: bool = False) -> None:
        self.state[key]["notes"].append({"id": 1, "body": text, "author": {"id": 1, "username": by}, "system": system})

    def close_as_technician(self, reference: str, words: str) -> None:
        self.note(reference, "terry", words)
        self.note(reference, "terry", "closed", system=True)
        self.state[reference] |= {"state": "closed", "closed_by": {"id": 2, "username": "terry"}}

    def comments(self, reference: str) -> list[str]:
        return [note["body"] for note in self.state[reference]["notes"] if not note["system"]]

    def is_open(self, reference: str) -> bool:
        return bool(self.state[reference]["state"] == "opened")

    def count(self) -> int:
        return len(self.state)

    def delete(self, reference: str) -> None:
        del self.state[reference]


def shown(issue: dict[str, Any]) -> dict[str, Any]:
    """Return an issue as the API shows it, without its notes."""
    return {name: value for name, value in issue.items() if name != "notes"}
