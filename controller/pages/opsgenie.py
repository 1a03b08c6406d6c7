"""Pages by Opsgenie's Alert API v2.

Whatever changes something is answered 202 and done later; what came of it is asked for by the request's id. An alert's
alias keeps it one: while it is open, the same alias makes no second one and calls nobody again.
Source: Opsgenie, "Alert API" (fields and their limits, request status, identifiers).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from controller.adapters import Answer, Filed, Heard, Notice
from controller.errors import Permanent, Retryable
from controller.notices.http import HttpClient, HttpRefusal
from controller.notices.lengths import full, links_of, summary
from controller.notices.secret import read_secret
from controller.notices.wording import cut, one_line
from controller.pages.keys import dedup_key
from controller.sections.pages.opsgenie import OpsgenieSection

MAX_MESSAGE = 130
MAX_DESCRIPTION = 15_000
MAX_DETAILS = 8_000
MAX_ENTITY = 512
MAX_TAG = 50
MAX_NAME = 100

PRIORITIES = {"critical": "P1", "warning": "P3", "info": "P5"}

DONE_AFTER_S = 2.0
"""So long after a request what came of it is asked again. Source: our choice; it takes a second or two."""

Record = dict[str, Any]


@dataclass(slots=True)
class Opsgenie:
    """Opsgenie.

    Attributes:
        responders: fleetmend's team → Opsgenie's.
    """

    url: str
    token: str
    cell: str
    responders: Mapping[str, str] = field(default_factory=dict)
    name: str = "opsgenie"
    timeout_s: float = 10.0
    clock: Callable[[], float] = time.time
    repeatable: bool = True

    async def send(self, notice: Notice) -> Filed:
        """Create an alert unless one is open, and return it once it is there. Its reference is its alias."""
        alias = dedup_key(notice, cell=self.cell, name=self.name)
        found = await self._alert(alias)
        if found is not None and found["status"] == "open":
            return Filed(alias, self._page_of(found.get("id")), found=True)
        done = await self._change("/v2/alerts", self._alert_for(notice, alias))
        return Filed(alias, self._page_of(done.get("alertId")))

    async def update(self, reference: str, notice: Notice) -> None:
        """Add a note unless it is there. An alert that was closed is made anew, with what is new in it."""
        found = await self._alert(reference)
        if found is None or found["status"] != "open":
            await self._change("/v2/alerts", self._alert_for(notice, reference))
            return
        mark = f"[{notice.key}]"
        if not any(mark in note for note in await self._notes(reference)):
            note = f"{cut(notice.news, MAX_DESCRIPTION - len(mark) - 1)} {mark}"
            await self._change(_path(reference, "/notes"), {**_BY_US, "note": note})

    async def acknowledge(self, reference: str, notice: Notice) -> None:
        """Say that somebody has it: Opsgenie calls nobody further."""
        found = await self._alert(reference)
        if found is not None and found["status"] == "open" and not found.get("acknowledged"):
            await self._change(_path(reference, "/acknowledge"), {**_BY_US, "note": cut(notice.news, MAX_DESCRIPTION)})

    async def close(self, reference: str, notice: Notice) -> None:
        """Close the alert with a note, and return once it is closed."""
        found = await self._alert(reference)
        if found is not None and found["status"] == "open":
            await self._change(_path(reference, "/close"), {**_BY_US, "note": cut(notice.news, MAX_DESCRIPTION)})

    async def look(self, references: Sequence[str]) -> Mapping[str, Answer]:
        """Return how each alert stands: one request an alert, since an alias is no word of Opsgenie's search."""
        return {reference: _answer(await self._alert(reference)) for reference in references}

    async def _change(self, path: str, body: object) -> Record:
        """Have something changed, and return what came of it.

        Raises:
            Retryable: it is not done yet.
            Permanent: it was tried, and did not work.
        """
        client = self._client()
        said = (await client.call("POST", path, json=body)).read()
        request = said.get("requestId") if isinstance(said, dict) else None
        if not isinstance(request, str) or not request:
            raise Permanent(f"{client.receiver} took a request and did not say which")
        try:
            return _done((await client.call("GET", f"/v2/alerts/requests/{quote(request, safe='')}")).read(), client)
        except HttpRefusal as refusal:
            if refusal.status != 404:
                raise
            raise Retryable(f"{client.receiver} has not done what it took yet", after_s=DONE_AFTER_S) from refusal

    async def _alert(self, alias: str) -> Record | None:
        client = self._client()
        try:
            found = _data((await client.call("GET", _path(alias))).read(), client)
        except HttpRefusal as refusal:
            if refusal.status == 404:
                return None
            raise
        if not isinstance(found, dict) or found.get("status") not in {"open", "closed"}:
            raise Permanent(f"{client.receiver} answered something else than an alert")
        return found

    async def _notes(self, alias: str) -> list[str]:
        client = self._client()
        found = _data((await client.call("GET", f"{_path(alias, '/notes')}&limit=100&order=desc")).read(), client)
        records = [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
        return [str(each.get("note", "")) for each in records]

    def _alert_for(self, notice: Notice, alias: str) -> Record:
        links = "\n".join(f"{words}: {address}" for words, address in links_of(notice).items())
        team = self.responders.get(notice.team, "")
        alert = {
            "message": summary(notice, MAX_MESSAGE) or notice.incident_id,
            "alias": alias,
            "description": cut(f"{full(notice)}\n{links}".rstrip(), MAX_DESCRIPTION),
            "responders": [{"name": team, "type": "team"}] if team else [],
            "tags": [one_line(tag, MAX_TAG) for tag in ("fleetmend", notice.severity, notice.fault_class) if tag],
            "details": _details(notice),
            "entity": one_line(notice.node or notice.fault_class, MAX_ENTITY),
            "priority": PRIORITIES.get(notice.severity, "P1"),
        }
        return {name: value for name, value in {**_BY_US, **alert}.items() if value}

    def _client(self) -> HttpClient:
        headers = {"Authorization": f"GenieKey {self.token}"}
        return HttpClient("Opsgenie", self.url, headers, timeout_s=self.timeout_s, clock=self.clock)

    def _page_of(self, alert_id: object) -> str:
        """Return where people open an alert; nothing where the address is not one of Opsgenie's own."""
        host = urlsplit(self.url).hostname or ""
        if not isinstance(alert_id, str) or not host.endswith("opsgenie.com"):
            return ""
        return f"https://app.{host.removeprefix('api.')}/alert/detail/{quote(alert_id, safe='')}/details"


def from_section(section: OpsgenieSection, cell: str) -> Opsgenie:
    """Return the adapter of a table of the settings.

    Raises:
        SettingsError: its secret cannot be read.
    """
    token = read_secret(section.token_file, "token_file")
    return Opsgenie(section.url, token, cell, section.responders, section.called, section.timeout_s)


_BY_US = {"source": "fleetmend", "user": "fleetmend"}


def _path(alias: str, rest: str = "") -> str:
    return f"/v2/alerts/{quote(alias, safe='')}{rest}?identifierType=alias"


def _data(said: object, client: HttpClient) -> object:
    if not isinstance(said, dict) or "data" not in said:
        raise Permanent(f"{client.receiver} answered something else than expected: it has no data")
    return said["data"]


def _done(said: object, client: HttpClient) -> Record:
    data = _data(said, client)
    if not isinstance(data, dict) or not isinstance(data.get("isSuccess"), bool):
        raise Permanent(f"{client.receiver} did not say what came of a request")
    if not data["isSuccess"]:
        raise Permanent(f"{client.receiver} took a request and did not do it: {one_line(str(data.get('status')), 300)}")
    return data


def _details(notice: Notice) -> dict[str, str]:
    """Return the facts as far as Opsgenie has room for them, which counts names and texts together."""
    found = {"incident": notice.incident_id, "device": notice.device, "team": notice.team, **notice.facts}
    kept, room = {}, MAX_DETAILS
    for name, text in found.items():
        said = one_line(text, 1_000)
        room -= len(name) + len(said)
        if said and room >= 0:
            kept[name] = said
    return kept


def _answer(alert: Record | None) -> Answer:
    if alert is None:
        return Answer(Heard.GONE)
    report = alert.get("report")
    told = report if isinstance(report, dict) else {}
    if alert["status"] == "closed":
        return Answer(Heard.CLOSED, one_line(str(told.get("closedBy", "")), MAX_NAME))
    if alert.get("acknowledged"):
        by = told.get("acknowledgedBy") or alert.get("owner") or ""
        return Answer(Heard.ACKNOWLEDGED, one_line(str(by), MAX_NAME))
    return Answer(Heard.OPEN)
