"""Pages by PagerDuty's Events API v2, and what became of them by its REST API where a token is given.

The answer 202 says that an event was taken, not that anybody is paged: events are processed later, and an event rule or
a maintenance window may drop them. With a token a page has arrived when PagerDuty has an incident for it.
Source: PagerDuty, "Events API v2 overview", "Send an alert event" (limits, severities), and REST API "List incidents".
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

import msgspec

from controller.adapters import Answer, Filed, Heard, Notice
from controller.api.moments import iso
from controller.errors import Permanent, Retryable
from controller.notices.http import HttpClient
from controller.notices.lengths import full, links_of, summary
from controller.notices.secret import read_secret
from controller.notices.wording import one_line
from controller.pages.asking import answers_of
from controller.pages.keys import dedup_key
from controller.sections.pages.pagerduty import PagerDutySection

MAX_SUMMARY = 1024
MAX_FIELD = 255
"""Characters of component, group and class. Source: our choice; PagerDuty shows them in a column."""

MAX_DETAIL = 1_000
"""Characters of one fact; with `full` this keeps an event far below PagerDuty's 512 KiB."""

SEVERITIES = {"critical": "critical", "warning": "warning", "info": "info"}
"""Ours → theirs. PagerDuty has `error` too, between warning and critical, which no playbook has."""

SEEN_AFTER_S = 2.0
"""So long after an event its incident is looked for again. Source: our choice; it takes seconds."""

STATES = {"triggered": Heard.OPEN, "acknowledged": Heard.ACKNOWLEDGED, "resolved": Heard.CLOSED}


class Agent(msgspec.Struct, frozen=True):
    """Who did something."""

    summary: str | None = None


class Acknowledgement(msgspec.Struct, frozen=True):
    """One of an incident's."""

    acknowledger: Agent | None = None


class Incident(msgspec.Struct, frozen=True):
    """An incident as the REST API shows it, as far as it is needed."""

    status: str
    html_url: str | None = None
    acknowledgements: list[Acknowledgement] = []
    last_status_change_by: Agent | None = None


class Incidents(msgspec.Struct, frozen=True):
    """A page of them."""

    incidents: list[Incident]


class Taken(msgspec.Struct, frozen=True):
    """What the Events API answers."""

    status: str


@dataclass(slots=True)
class PagerDutyEvents:
    """PagerDuty without a token: what it took is believed.

    An event with the key of an open alert is added to it and pages nobody a second time.
    """

    events_url: str
    routing_key: str
    cell: str
    name: str = "pagerduty"
    timeout_s: float = 10.0
    clock: Callable[[], float] = time.time
    repeatable: bool = True

    async def send(self, notice: Notice) -> Filed:
        """Trigger an alert. Its reference is its deduplication key."""
        key = dedup_key(notice, cell=self.cell, name=self.name)
        await self.enqueue("trigger", key, notice)
        return Filed(key)

    async def update(self, reference: str, notice: Notice) -> None:
        """Add what is new to the alert. One that was resolved is triggered anew."""
        await self.enqueue("trigger", reference, notice)

    async def acknowledge(self, reference: str, notice: Notice) -> None:
        """Say that somebody has it: PagerDuty calls nobody further."""
        await self.enqueue("acknowledge", reference, notice)

    async def close(self, reference: str, notice: Notice) -> None:
        """Resolve the alert."""
        await self.enqueue("resolve", reference, notice)

    async def enqueue(self, action: str, key: str, notice: Notice) -> None:
        """Send one event.

        Raises:
            Retryable, Permanent: PagerDuty did not take it.
        """
        client = HttpClient("PagerDuty", self.events_url, timeout_s=self.timeout_s, clock=self.clock)
        reply = await client.call("POST", "/v2/enqueue", json=event_of(notice, action, key, self.routing_key))
        taken: Taken = reply.read(Taken)
        if taken.status != "success":
            raise Permanent(f"{client.receiver} answered {reply.status} and did not say that it took the event")


@dataclass(slots=True)
class PagerDuty:
    """PagerDuty with a token: a page has arrived when there is an incident for it, and it says how that stands."""

    events: PagerDutyEvents
    api_url: str
    token: str
    name: str = "pagerduty"
    repeatable: bool = True

    async def send(self, notice: Notice) -> Filed:
        """Trigger an alert unless one is open, and return it once PagerDuty has an incident for it.

        Raises:
            Retryable: there is none yet.
        """
        key = dedup_key(notice, cell=self.events.cell, name=self.name)
        if (found := await self._open(key)) is not None:
            return Filed(key, found.html_url or "", found=True)
        await self.events.enqueue("trigger", key, notice)
        if (made := await self._open(key)) is not None:
            return Filed(key, made.html_url or "")
        raise Retryable(
            "PagerDuty took the event and has no incident for it yet; if none comes, an event rule or a maintenance "
            "window of the service drops it",
            after_s=SEEN_AFTER_S,
        )

    async def update(self, reference: str, notice: Notice) -> None:
        """Add what is new to the alert. One that was resolved is triggered anew."""
        await self.events.update(reference, notice)

    async def acknowledge(self, reference: str, notice: Notice) -> None:
        """Say that somebody has it, unless PagerDuty knows that already."""
        if (found := await self._open(reference)) is not None and found.status == "triggered":
            await self.events.acknowledge(reference, notice)

    async def close(self, reference: str, notice: Notice) -> None:
        """Resolve the alert, and return once its incident is.

        Raises:
            Retryable: it is not yet.
        """
        if await self._open(reference) is None:
            return
        await self.events.close(reference, notice)
        if await self._open(reference) is not None:
            raise Retryable("PagerDuty took the resolution, and its incident is open still", after_s=SEEN_AFTER_S)

    async def look(self, references: Sequence[str]) -> Mapping[str, Answer]:
        """Return how the newest incident of each key stands: one request a key, PagerDuty finds no two at once."""

        async def ask(reference: str) -> Answer:
            return _answer(await self._newest(reference))

        return await answers_of(references, ask)

    async def _open(self, key: str) -> Incident | None:
        found = await self._newest(key)
        return found if found is not None and found.status != "resolved" else None

    async def _newest(self, key: str) -> Incident | None:
        headers = {"Authorization": f"Token token={self.token}", "Accept": "application/json"}
        client = HttpClient(
            "PagerDuty", self.api_url, headers, timeout_s=self.events.timeout_s, clock=self.events.clock
        )
        query = {"incident_key": key, "date_range": "all", "sort_by": "created_at:desc", "limit": "1"}
        found: Incidents = (await client.call("GET", f"/incidents?{urlencode(query)}")).read(Incidents)
        return found.incidents[0] if found.incidents else None


def from_section(section: PagerDutySection, cell: str) -> PagerDutyEvents | PagerDuty:
    """Return the adapter of a table of the settings.

    Raises:
        SettingsError: a secret cannot be read.
    """
    routing_key = read_secret(section.routing_key_file, "routing_key_file")
    events = PagerDutyEvents(section.events_url, routing_key, cell, section.called, section.timeout_s)
    if section.token_file is None:
        return events
    token = read_secret(section.token_file, "token_file")
    return PagerDuty(events, section.api_url, token, section.called)


def event_of(notice: Notice, action: str, key: str, routing_key: str) -> dict[str, object]:
    """Return an event as PagerDuty wants it."""
    event: dict[str, object] = {"routing_key": routing_key, "event_action": action, "dedup_key": key}
    if action != "trigger":
        return event
    links = [{"href": address, "text": words} for words, address in links_of(notice).items()]
    client = {"client": "fleetmend", "client_url": notice.url} if notice.url else {"client": "fleetmend"}
    return event | client | {"links": links, "payload": _payload(notice)}


def _payload(notice: Notice) -> dict[str, object]:
    facts = {name: one_line(text, MAX_DETAIL) for name, text in notice.facts.items()}
    told = {"incident": notice.incident_id, "team": notice.team, "text": full(notice)}
    payload = {
        "summary": summary(notice, MAX_SUMMARY) or notice.incident_id,
        "severity": SEVERITIES.get(notice.severity, "critical"),
        "source": one_line(notice.node, MAX_FIELD) or notice.fault_class or "fleetmend",
        "timestamp": iso(notice.at),
        "component": one_line(notice.device, MAX_FIELD),
        "group": one_line(notice.facts.get("rack", ""), MAX_FIELD),
        "class": one_line(notice.fault_class, MAX_FIELD),
        "custom_details": {name: text for name, text in {**facts, **told}.items() if text},
    }
    return {name: value for name, value in payload.items() if value}


def _answer(incident: Incident | None) -> Answer:
    if incident is None:
        return Answer(Heard.GONE)
    state = STATES.get(incident.status, Heard.OPEN)
    if state is Heard.ACKNOWLEDGED:
        last = incident.acknowledgements[-1:]
        return Answer(state, _name_of(last[0].acknowledger if last else None))
    return Answer(state, _name_of(incident.last_status_change_by) if state is Heard.CLOSED else "")


def _name_of(agent: Agent | None) -> str:
    return one_line(agent.summary or "", MAX_FIELD) if agent is not None else ""
