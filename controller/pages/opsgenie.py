"""Pages by Opsgenie's Alert API v2.

Whatever changes something is answered 202 and done later; what came of it is asked for by the request's id. An alert's
alias keeps it one: while it is open, the same alias makes no second one and calls nobody again.
Source: Opsgenie, "Alert API" (fields and their limits, request status, identifiers).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote, urlsplit

import msgspec

from controller.adapters import Answer, Filed, Heard, Notice
from controller.errors import Permanent, Retryable
from controller.notices.http import HttpClient, HttpRefusal
from controller.notices.lengths import full, links_of, summary
from controller.notices.secret import read_secret
from controller.notices.wording import cut, one_line
from controller.pages.asking import answers_of
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


class Report(msgspec.Struct, frozen=True, rename="camel"):
    """Who did what to an alert."""

    acknowledged_by: str | None = None
    closed_by: str | None = None


class Alert(msgspec.Struct, frozen=True):
    """An alert, as far as it is needed."""

    status: Literal["open", "closed"]
    id: str = ""
    acknowledged: bool = False
    owner: str | None = None
    report: Report | None = None


class ShownAlert(msgspec.Struct, frozen=True):
    """An answer with an alert."""

    data: Alert


class Note(msgspec.Struct, frozen=True):
    """One note of an alert."""

    note: str | None = None


class ShownNotes(msgspec.Struct, frozen=True):
    """An answer with notes."""

    data: list[Note]


class Taken(msgspec.Struct, frozen=True, rename="camel"):
    """The answer to a request that is done later."""

    request_id: str


class Done(msgspec.Struct, frozen=True, rename="camel"):
    """What came of a request."""

    is_success: bool
    status: str | None = None
    alert_id: str | None = None


class ShownDone(msgspec.Struct, frozen=True):
    """An answer with what came of a request."""

    data: Done


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
        if found is not None and found.status == "open":
            return Filed(alias, self._page_of(found.id), found=True)
        done = await self._change("/v2/alerts", self._alert_for(notice, alias))
        return Filed(alias, self._page_of(done.alert_id or ""))

    async def update(self, reference: str, notice: Notice) -> None:
        """Add a note unless it is there. An alert that was closed is made anew, with what is new in it."""
        found = await self._alert(reference)
        if found is None or found.status != "open":
            await self._change("/v2/alerts", self._alert_for(notice, reference))
            return
        mark = f"[{notice.key}]"
        if not any(mark in note for note in await self._notes(reference)):
            note = f"{cut(notice.news, MAX_DESCRIPTION - len(mark) - 1)} {mark}"
            await self._change(_path(reference, "/notes"), {**_BY_US, "note": note})

    async def acknowledge(self, reference: str, notice: Notice) -> None:
        """Say that somebody has it: Opsgenie calls nobody further."""
        found = await self._alert(reference)
        if found is not None and found.status == "open" and not found.acknowledged:
            await self._change(_path(reference, "/acknowledge"), {**_BY_US, "note": cut(notice.news, MAX_DESCRIPTION)})

    async def close(self, reference: str, notice: Notice) -> None:
        """Close the alert with a note, and return once it is closed."""
        found = await self._alert(reference)
        if found is not None and found.status == "open":
            await self._change(_path(reference, "/close"), {**_BY_US, "note": cut(notice.news, MAX_DESCRIPTION)})

    async def look(self, references: Sequence[str]) -> Mapping[str, Answer]:
        """Return how each alert stands: one request an alert, since an alias is no word of Opsgenie's search."""

        async def ask(reference: str) -> Answer:
            return _answer(await self._alert(reference))

        return await answers_of(references, ask)

    async def _change(self, path: str, body: object) -> Done:
        """Have something changed, and return what came of it.

        Raises:
            Retryable: it is not done yet.
            Permanent: it was tried, and did not work.
        """
        client = self._client()
        taken: Taken = (await client.call("POST", path, json=body)).read(Taken)
        try:
            reply = await client.call("GET", f"/v2/alerts/requests/{quote(taken.request_id, safe='')}")
        except HttpRefusal as refusal:
            if refusal.status != 404:
                raise
            raise Retryable(f"{client.receiver} has not done what it took yet", after_s=DONE_AFTER_S) from refusal
        done: Done = reply.read(ShownDone).data
        if not done.is_success:
            why = one_line(done.status or "it does not say why", 300)
            raise Permanent(f"{client.receiver} took a request and did not do it: {why}")
        return done

    async def _alert(self, alias: str) -> Alert | None:
        try:
            reply = await self._client().call("GET", _path(alias))
        except HttpRefusal as refusal:
            if refusal.status == 404:
                return None
            raise
        found: Alert = reply.read(ShownAlert).data
        return found

    async def _notes(self, alias: str) -> list[str]:
        reply = await self._client().call("GET", f"{_path(alias, '/notes')}&limit=100&order=desc")
        notes: list[Note] = reply.read(ShownNotes).data
        return [each.note or "" for each in notes]

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

    def _page_of(self, alert_id: str) -> str:
        """Return where people open an alert; nothing where the address is not one of Opsgenie's own."""
        host = urlsplit(self.url).hostname or ""
        if not alert_id or not host.endswith("opsgenie.com"):
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


def _answer(alert: Alert | None) -> Answer:
    if alert is None:
        return Answer(Heard.GONE)
    report = alert.report or Report()
    if alert.status == "closed":
        return Answer(Heard.CLOSED, one_line(report.closed_by or "", MAX_NAME))
    if alert.acknowledged:
        return Answer(Heard.ACKNOWLEDGED, one_line(report.acknowledged_by or alert.owner or "", MAX_NAME))
    return Answer(Heard.OPEN)
