"""A double of Jira: Cloud's REST API v3, or Data Center's v2.

Source: Atlassian, "Jira Cloud platform REST API v3" (create issue, search and reconcile issues, bulk fetch issues, get
issue, comments, transitions), "Jira Data Center REST API" (search), "Atlassian Document Format" (nodes and marks).
"""

from __future__ import annotations

import base64
import itertools
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from controller.sections.tickets.jira import JiraSection
from controller.tickets.jira import from_section
from controller.tickets.ticketing import Ticketing
from tests.support.ticket_double import SECRET, TicketDouble
from tests.support.ticket_notices import CELL

USER = "fleetmend@example.com"
US, TECHNICIAN = "fleetmend", "Terry Technician"
STATUSES = {"To Do": "new", "In Progress": "indeterminate", "Done": "done"}
WAYS = {
    "To Do": {"11": ("Start", "In Progress"), "31": ("Resolve issue", "Done")},
    "In Progress": {"31": ("Resolve issue", "Done")},
    "Done": {"41": ("Reopen issue", "To Do")},
}
"""Status → id of a transition → its name and where it leads."""

KNOWN_FIELDS = frozenset(
    {"project", "issuetype", "summary", "description", "labels", "priority", "components", "customfield_10042"}
)


@dataclass
class Issue:
    fields: dict[str, Any]
    status: str = "To Do"
    comments: list[dict[str, Any]] = field(default_factory=list)
    histories: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class JiraDouble(TicketDouble):
    """Jira. `lags`: what was made is not found by a search yet. `moved`: old key → new."""

    state: dict[str, Issue] = field(default_factory=dict)
    is_cloud: bool = True
    lags: bool = False
    moved: dict[str, str] = field(default_factory=dict)
    clock: itertools.count[int] = field(default_factory=lambda: itertools.count(10))

    @property
    def api(self) -> str:
        return "/rest/api/3" if self.is_cloud else "/rest/api/2"

    def routes(self) -> list[web.RouteDef]:
        search = "/search/jql" if self.is_cloud else "/search"
        bulk = [web.post(f"{self.api}/issue/bulkfetch", self._asked(self.bulk))] if self.is_cloud else []
        return [
            *bulk,
            web.post(f"{self.api}/issue", self._asked(self.create)),
            web.post(f"{self.api}{search}", self._asked(self.search)),
            web.get(f"{self.api}/issue/{{key}}", self._asked(self.get)),
            web.get(f"{self.api}/issue/{{key}}/comment", self._asked(self.get_comments)),
            web.post(f"{self.api}/issue/{{key}}/comment", self._asked(self.add_comment)),
            web.get(f"{self.api}/issue/{{key}}/transitions", self._asked(self.get_transitions)),
            web.post(f"{self.api}/issue/{{key}}/transitions", self._asked(self.transition)),
        ]

    def desk(self, folder: Path, *, token: str = SECRET, **changed: object) -> Ticketing:
        section = {
            "kind": "jira",
            "url": self.url,
            "deployment": "cloud" if self.is_cloud else "data_center",
            "user": USER if self.is_cloud else "",
            "token_file": self.secret_file(folder, token),
            "project": "FLEET",
            "projects": {"datacentre": "DC"},
            "components": {"datacentre": "GPU"},
            "priorities": {"critical": "Highest"},
            "fields": {"serial": "customfield_10042"},
        }
        return from_section(JiraSection.model_validate({**section, **changed}), CELL)

    def _asked(self, handler: Any) -> Any:
        account = base64.b64encode(f"{USER}:{SECRET}".encode()).decode()
        wanted = f"Basic {account}" if self.is_cloud else f"Bearer {SECRET}"

        async def answer(request: web.Request) -> web.Response:
            if request.headers.get("Authorization") != wanted:
                return web.json_response(
                    {"message": "Client must be authenticated to access this resource."}, status=401
                )
            key = request.match_info.get("key", "")
            if key and self.moved.get(key, key) not in self.state:
                said = ["Issue does not exist or you do not have permission to see it."]
                return web.json_response({"errorMessages": said, "errors": {}}, status=404)
            body = await request.json() if request.method == "POST" else None
            answered: web.Response = handler(request, self.moved.get(key, key), body)
            return answered

        return answer

    def create(self, _request: web.Request, _key: str, body: Any) -> web.Response:
        assert set(body) == {"fields"}
        fields, flaws = body["fields"], {}
        for name in set(fields) - KNOWN_FIELDS:
            flaws[name] = f"Field '{name}' cannot be set. It is not on the appropriate screen, or unknown."
        if fields["project"] not in ({"key": "FLEET"}, {"key": "DC"}):
            flaws["project"] = "valid project is required"
        if fields["issuetype"] != {"name": "Task"}:
            flaws["issuetype"] = "Specify a valid issue type"
        if fields.get("priority") not in (None, {"name": "Highest"}):
            flaws["priority"] = "The priority selected is invalid."
        if not 0 < len(fields["summary"]) <= 255 or "\n" in fields["summary"]:
            flaws["summary"] = "The summary is invalid because it contains newline characters or is too long."
        if any(" " in label or len(label) > 255 for label in fields["labels"]):
            flaws["labels"] = "The label can't contain spaces."
        self.check_text(fields["description"])
        if flaws:
            return web.json_response({"errorMessages": [], "errors": flaws}, status=400)
        key = f"{fields['project']['key']}-{len(self.state) + 1}"
        self.state[key] = Issue(fields)
        made = {"id": str(10_000 + len(self.state)), "key": key, "self": f"{self.url}{self.api}/issue/{key}"}
        return web.json_response(made, status=201)

    def check_text(self, text: Any) -> None:
        """Hold a text to what Jira takes."""
        assert len(json.dumps(text, ensure_ascii=False) if self.is_cloud else text) <= 32_767
        if self.is_cloud:
            assert text["type"] == "doc" and text["version"] == 1
            for node in text["content"]:
                check_block(node)

    def search(self, _request: web.Request, _key: str, body: Any) -> web.Response:
        assert set(body) <= {"jql", "fields", "maxResults", "nextPageToken", "startAt", "validateQuery"}
        assert isinstance(body["fields"], list) and 0 < body["maxResults"] <= 100
        assert self.is_cloud is not isinstance(body.get("validateQuery"), bool) or "validateQuery" not in body
        if match := re.fullmatch(r'labels = "(\S+)" ORDER BY created ASC', body["jql"]):
            keys = [key for key, issue in self.state.items() if match[1] in issue.fields["labels"] and not self.lags]
        else:
            match = re.fullmatch(r'key in \(("[A-Z0-9-]+"(?:, "[A-Z0-9-]+")*)\)', body["jql"])
            assert match and not self.is_cloud and body["validateQuery"] is False, body["jql"]
            keys = [key for key in re.findall(r'"([^"]+)"', match[1]) if key in self.state]
        found = [self.shown(key) for key in keys]
        return web.json_response({"issues": found, **({"isLast": True} if self.is_cloud else {"total": len(found)})})

    def bulk(self, _request: web.Request, _key: str, body: Any) -> web.Response:
        assert set(body) <= {"issueIdsOrKeys", "fields", "expand", "properties", "fieldsByKeys"}
        assert 0 < len(body["issueIdsOrKeys"]) <= 100
        keys = [self.moved.get(key, key) for key in body["issueIdsOrKeys"]]
        return web.json_response({"issues": [self.shown(key) for key in keys if key in self.state], "issueErrors": []})

    def get(self, request: web.Request, key: str, _body: Any) -> web.Response:
        expand = request.query.get("expand")
        changelog = {"changelog": {"histories": self.state[key].histories}} if expand == "changelog" else {}
        return web.json_response({**self.shown(key), **changelog})

    def shown(self, key: str) -> dict[str, Any]:
        issue = self.state[key]
        status = {"name": issue.status, "statusCategory": {"key": STATUSES[issue.status]}}
        resolution = {"name": "Done"} if issue.status == "Done" else None
        fields = {"summary": issue.fields["summary"], "labels": issue.fields["labels"]}
        return {"id": "10001", "key": key, "fields": {**fields, "status": status, "resolution": resolution}}

    def get_comments(self, request: web.Request, key: str, _body: Any) -> web.Response:
        start, most = int(request.query["startAt"]), int(request.query["maxResults"])
        assert request.query["orderBy"] in {"created", "-created", "+created"}
        comments = self.state[key].comments
        page = comments[start : start + most]
        return web.json_response({"comments": page, "startAt": start, "maxResults": most, "total": len(comments)})

    def add_comment(self, _request: web.Request, key: str, body: Any) -> web.Response:
        assert set(body) == {"body"}
        self.check_text(body["body"])
        self.state[key].comments.append({"body": body["body"], "author": {"displayName": US}})
        return web.json_response({"id": "1", **self.state[key].comments[-1]}, status=201)

    def get_transitions(self, _request: web.Request, key: str, _body: Any) -> web.Response:
        ways = WAYS[self.state[key].status]
        transitions = [
            {"id": number, "name": name, "to": {"name": to, "statusCategory": {"key": STATUSES[to]}}}
            for number, (name, to) in ways.items()
        ]
        return web.json_response({"expand": "transitions", "transitions": transitions})

    def transition(self, _request: web.Request, key: str, body: Any) -> web.Response:
        assert set(body) == {"transition"} and set(body["transition"]) == {"id"}
        number = body["transition"]["id"]
        if number not in WAYS[self.state[key].status]:
            said = [f"It seems that you have tried to perform a workflow operation that is not valid: {number}"]
            return web.json_response({"errorMessages": said, "errors": {}}, status=400)
        self._move(key, WAYS[self.state[key].status][number][1], US)
        return web.Response(status=204)

    def _move(self, key: str, status: str, by: str) -> None:
        issue = self.state[key]
        created = f"2026-01-02T03:04:{next(self.clock):02}.000+0000"
        moved = {"created": created, "author": {"displayName": by}, "items": [{"field": "status", "toString": status}]}
        issue.status = status
        issue.histories.insert(0 if self.is_cloud else len(issue.histories), moved)

    def close_as_technician(self, reference: str, words: str) -> None:
        document = {
            "type": "doc",
            "version": 1,
            "content": [{"type": "paragraph", "content": [{"type": "text", "text": words}]}],
        }
        body = document if self.is_cloud else words
        self.state[reference].comments.append({"body": body, "author": {"displayName": TECHNICIAN}})
        self._move(reference, "Done", TECHNICIAN)

    def comments(self, reference: str) -> list[str]:
        return [json.dumps(each["body"], ensure_ascii=False) for each in self.state[reference].comments]

    def is_open(self, reference: str) -> bool:
        return self.state[reference].status != "Done"

    def count(self) -> int:
        return len(self.state)

    def delete(self, reference: str) -> None:
        del self.state[reference]


def check_block(node: dict[str, Any]) -> None:
    """Hold one block of a document to the format."""
    match node["type"]:
        case "paragraph":
            each = node["content"]
        case "heading":
            assert 1 <= node["attrs"]["level"] <= 6
            each = node["content"]
        case "codeBlock":
            assert all("marks" not in text for text in node["content"])
            each = node["content"]
        case "bulletList":
            assert node["content"]
            for item in node["content"]:
                assert item["type"] == "listItem" and item["content"][0]["type"] == "paragraph"
                check_block(item["content"][0])
            return
        case other:
            raise AssertionError(f"no such block: {other}")
    for text in each:
        check_text(text)


def check_text(node: dict[str, Any]) -> None:
    """Hold a text node to the format: it is not empty, and has known marks."""
    assert node["type"] == "text" and isinstance(node["text"], str) and node["text"]
    for mark in node.get("marks", []):
        assert mark["type"] in {"strong", "code", "link"}
        assert mark["type"] != "link" or mark["attrs"]["href"].startswith(("http://", "https://"))
