"""A double of GitHub's issues.

Source: GitHub REST API 2022-11-28, "Issues" (list, create, get, update), "Issue comments", "Using pagination". Labels
that are not there are made where the account may write, and dropped without a word where it may not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from controller.sections.tickets.github import GitHubSection
from controller.tickets.github import from_section
from controller.tickets.ticketing import Ticketing
from tests.support.ticket_double import SECRET, TicketDouble
from tests.support.ticket_notices import CELL

REPOSITORIES = ("example/fleet", "example/datacentre")
ISSUES = "/repos/{owner}/{name}/issues"


@dataclass
class GitHubDouble(TicketDouble):
    """GitHub. `may_label`: the account may set labels."""

    state: dict[str, dict[str, Any]] = field(default_factory=dict)
    may_label: bool = True

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get(ISSUES, self._asked(self.list_issues)),
            web.post(ISSUES, self._asked(self.create)),
            web.get(f"{ISSUES}/{{number}}", self._asked(self.get)),
            web.patch(f"{ISSUES}/{{number}}", self._asked(self.change)),
            web.get(f"{ISSUES}/{{number}}/comments", self._asked(self.get_comments)),
            web.post(f"{ISSUES}/{{number}}/comments", self._asked(self.add_comment)),
        ]

    def desk(self, folder: Path, *, token: str = SECRET, **changed: object) -> Ticketing:
        section = {
            "kind": "github",
            "url": self.url,
            "token_file": self.secret_file(folder, token),
            "repository": "example/fleet",
            "repositories": {"datacentre": "example/datacentre"},
            "team_labels": {"datacentre": "hands and eyes"},
            "severity_labels": {"critical": "critical"},
        }
        return from_section(GitHubSection.model_validate({**section, **changed}), CELL)

    def _asked(self, handler: Any) -> Any:
        async def answer(request: web.Request) -> web.Response:
            assert request.headers["Accept"] == "application/vnd.github+json"
            assert request.headers["X-GitHub-Api-Version"] == "2022-11-28"
            assert request.headers["User-Agent"]
            if request.headers.get("Authorization") != f"Bearer {SECRET}":
                return web.json_response({"message": "Bad credentials", "status": "401"}, status=401)
            repository = f"{request.match_info['owner']}/{request.match_info['name']}"
            key = f"{repository}#{request.match_info.get('number', '')}"
            if repository not in REPOSITORIES or (not key.endswith("#") and key not in self.state):
                return web.json_response({"message": "Not Found", "status": "404"}, status=404)
            body = await request.json() if request.method in {"POST", "PATCH"} else {}
            answered: web.Response = handler(request, repository if key.endswith("#") else key, body)
            return answered

        return answer

    def create(self, _request: web.Request, repository: str, body: dict[str, Any]) -> web.Response:
        assert set(body) <= {"title", "body", "labels", "assignees", "milestone"}
        if not 0 < len(body["title"]) <= 256 or len(body["body"]) > 65_536:
            return web.json_response({"message": "Validation Failed", "errors": [{"field": "title"}]}, status=422)
        assert all(0 < len(label) <= 50 for label in body["labels"])
        number = len(self.state) + 1
        labels = [{"id": 1, "name": label, "color": "ededed"} for label in body["labels"] if self.may_label]
        self.state[f"{repository}#{number}"] = {
            "number": number,
            "title": body["title"],
            "body": body["body"],
            "state": "open",
            "state_reason": None,
            "labels": labels,
            "closed_by": None,
            "html_url": f"https://github.example/{repository}/issues/{number}",
            "comments": [],
        }
        return web.json_response(shown(self.state[f"{repository}#{number}"]), status=201)

    def list_issues(self, request: web.Request, repository: str, _body: Any) -> web.Response:
        query = request.query
        assert query["state"] in {"open", "closed", "all"} and 0 < int(query["per_page"]) <= 100
        assert (query["sort"], query["direction"]) == ("created", "desc")
        start = (int(query["page"]) - 1) * int(query["per_page"])
        found = [
            shown(issue)
            for key, issue in reversed(self.state.items())
            if key.startswith(f"{repository}#")
            and query["state"] in {"all", issue["state"]}
            and set(query["labels"].split(",")) <= {label["name"] for label in issue["labels"]}
        ]
        for issue in found:
            del issue["closed_by"]
        return web.json_response(found[start : start + int(query["per_page"])])

    def get(self, _request: web.Request, key: str, _body: Any) -> web.Response:
        return web.json_response(shown(self.state[key]))

    def change(self, _request: web.Request, key: str, body: dict[str, Any]) -> web.Response:
        assert set(body) <= {"title", "body", "state", "state_reason", "labels"}
        assert body["state_reason"] in {"completed", "not_planned", "duplicate", "reopened"}
        closer = {"login": "fleetmend-bot"} if body["state"] == "closed" else None
        self.state[key] |= {"state": body["state"], "state_reason": body["state_reason"], "closed_by": closer}
        return web.json_response(shown(self.state[key]))

    def get_comments(self, request: web.Request, key: str, _body: Any) -> web.Response:
        start = (int(request.query["page"]) - 1) * int(request.query["per_page"])
        return web.json_response(self.state[key]["comments"][start : start + int(request.query["per_page"])])

    def add_comment(self, _request: web.Request, key: str, body: dict[str, Any]) -> web.Response:
        assert set(body) == {"body"} and 0 < len(body["body"]) <= 65_536
        self.state[key]["comments"].append({"id": 1, "body": body["body"], "user": {"login": "fleetmend-bot"}})
        return web.json_response(self.state[key]["comments"][-1], status=201)

    def close_as_technician(self, reference: str, words: str) -> None:
        issue = self.state[reference]
        issue["comments"].append({"id": 2, "body": words, "user": {"login": "terry"}})
        issue |= {"state": "closed", "state_reason": "completed", "closed_by": {"login": "terry"}}

    def comments(self, reference: str) -> list[str]:
        return [comment["body"] for comment in self.state[reference]["comments"]]

    def is_open(self, reference: str) -> bool:
        return bool(self.state[reference]["state"] == "open")

    def count(self) -> int:
        return len(self.state)

    def delete(self, reference: str) -> None:
        del self.state[reference]


def shown(issue: dict[str, Any]) -> dict[str, Any]:
    """Return an issue as the API shows it: of comments, how many."""
    return {**issue, "comments": len(issue["comments"])}
