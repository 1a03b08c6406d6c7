"""Pages by Alertmanager's API v2.

Alertmanager forgets: an alert ends by itself at its `endsAt`, and a restart loses all of them, because it counts on
being told again and again. So an alert is sent with an end that is far off, and each look at it sends it again when
half of that time is over, or when a member of the cluster does not have it. After a restart of ours, too: what a member
still has is sent on as it is; what nobody has is made from the reference, with fewer words.
Source: Alertmanager, "Alerting clients", "High availability" (each alert to every member), OpenAPI of the API v2.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import msgspec

from controller.adapters import Answer, Filed, Heard, Notice
from controller.api.moments import iso
from controller.errors import Permanent, Retryable
from controller.notices.http import RETRY_AFTER_S, HttpClient, HttpRefusal
from controller.notices.lengths import full, links_of, summary
from controller.notices.secret import read_secret
from controller.notices.wording import one_line
from controller.pages.alert_labels import (
    Labels,
    filters_for,
    identity,
    is_whole,
    labels_in,
    labels_of,
    quoted,
    reference_of,
)
from controller.sections.pages.alertmanager import AlertmanagerSection

MAX_SUMMARY = 300
MAX_DESCRIPTION = 4_000
"""Source: our choice; a look at `AT_ONCE` alerts must fit into the MiB that is read of an answer."""

AT_ONCE = 50
SOON_S = 1.0
"""Two clocks that are so far apart are the same."""

REMEMBERED = 10_000
"""Closed alerts that are remembered, so that a look that was under way wakes none. Source: our choice."""

Alert = dict[str, Any]
"""One as it is sent."""


class Status(msgspec.Struct, frozen=True):
    """How an alert stands."""

    silenced_by: list[str] = msgspec.field(default_factory=list, name="silencedBy")


class Shown(msgspec.Struct, frozen=True, rename="camel"):
    """One as a member shows it."""

    labels: dict[str, str]
    starts_at: str
    ends_at: Annotated[datetime, msgspec.Meta(tz=True)]
    annotations: dict[str, str] = {}
    status: Status = Status()
    generator_url: str = msgspec.field(default="", name="generatorURL")

    def sent_again(self) -> Alert:
        """Return it as it was sent, without its end."""
        return {"annotations": self.annotations, "generatorURL": self.generator_url, "startsAt": self.starts_at}


class Silence(msgspec.Struct, frozen=True, rename="camel"):
    """Who silenced something, and why."""

    created_by: str = ""
    comment: str = ""


@dataclass(slots=True)
class Alertmanager:
    """The members of one Alertmanager cluster, or the only one. One that takes an alert is enough; all are tried.

    Attributes:
        stays_s: how far off the end of an alert is when it is sent.
    """

    urls: tuple[str, ...]
    cell: str
    headers: Mapping[str, str] = field(default_factory=dict)
    stays_s: float = 86_400.0
    name: str = "alertmanager"
    timeout_s: float = 10.0
    clock: Callable[[], float] = time.time
    repeatable: bool = True
    _open: dict[str, Alert] = field(default_factory=dict)
    _closed: dict[str, None] = field(default_factory=dict)
    _owed: dict[str, Alert] = field(default_factory=dict)
    _changing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def send(self, notice: Notice) -> Filed:
        """Fire an alert, and return it once a member shows it. Its reference is its labels, as matchers."""
        reference = reference_of(labels_of(notice, cell=self.cell))
        await self.update(reference, notice)
        return Filed(reference, self._page_of(reference))

    async def update(self, reference: str, notice: Notice) -> None:
        """Have the alert say what the notice says now; nobody is called again for that."""
        labels = _labels(reference)
        async with self._changing:
            alert = self._alert(labels, _annotations(notice), notice.url, notice.at)
            await self._put(alert, lambda client: self._shows(client, labels))
            self._open[reference] = alert
            self._closed.pop(reference, None)
            self._owed.pop(reference, None)

    async def close(self, reference: str, notice: Notice) -> None:
        """Resolve the alert, and return once no member that could be asked shows it any more."""
        labels = _labels(reference)
        async with self._changing:
            before = self._open.get(reference, {}).get("startsAt", iso(notice.at))
            ended = self._alert(labels, _annotations(notice), notice.url, notice.at)
            ended |= {"startsAt": min(before, iso(self.clock())), "endsAt": iso(self.clock())}
            if not await self._put(ended, lambda client: self._is_over(client, labels)):
                self._owed[reference] = ended
            self._open.pop(reference, None)
            self._closed[reference] = None
            for oldest in list(islice(self._closed, max(0, len(self._closed) - REMEMBERED))):
                del self._closed[oldest]

    async def look(self, references: Sequence[str]) -> Mapping[str, Answer]:
        """Return how each alert stands, and keep alive what is open. A silence that people made counts as their word.

        One request for fifty alerts and member.
        """
        async with self._changing:
            await self._pay()
            asked = {each: labels for each in references if each not in self._closed and (labels := labels_in(each))}
            seen: dict[str, list[Shown]] = {each: [] for each in asked}
            await self._each(lambda client: self._look_at(client, asked, seen))
            told = {each: await self._answer(seen[each]) for each in asked}
        return {each: told.get(each) or self._unasked(each) for each in references}

    def _unasked(self, reference: str) -> Answer:
        return Answer(Heard.CLOSED if reference in self._closed else Heard.GONE)

    async def _pay(self) -> None:
        """Tell the end of alerts to members that could not be told: one that still has them would call people."""
        for reference, ended in list(self._owed.items()):
            try:
                if await self._put(ended, partial(self._is_over, labels=ended["labels"])):
                    del self._owed[reference]
            except (Retryable, Permanent):
                return

    async def _look_at(self, client: HttpClient, asked: Mapping[str, Labels], seen: dict[str, list[Shown]]) -> None:
        """Ask one member for all of them, and send again what it lacks or is about to end."""
        found = await self._alerts(client, asked.values())
        again = []
        for reference, labels in asked.items():
            alert = found.get(identity(labels))
            if alert is not None:
                seen[reference].append(alert)
            if alert is None or alert.ends_at.timestamp() - self.clock() < self.stays_s / 2:
                again.append(self._renewed(reference, labels, alert))
        if again:
            await client.call("POST", "/api/v2/alerts", json=again)

    def _renewed(self, reference: str, labels: Labels, found: Shown | None) -> Alert:
        known = self._open.get(reference) or (found.sent_again() if found is not None else {})
        annotations = known.get("annotations") or _fewer_words(labels)
        alert = self._alert(labels, annotations, str(known.get("generatorURL", "")), self.clock())
        return alert | ({"startsAt": known["startsAt"]} if "startsAt" in known else {})

    def _alert(self, labels: Labels, annotations: Mapping[str, str], url: str, at: float) -> Alert:
        now = self.clock()
        alert = {"labels": dict(labels), "annotations": dict(annotations)}
        times = {"startsAt": iso(min(at, now)), "endsAt": iso(now + self.stays_s)}
        return alert | times | ({"generatorURL": url} if url.startswith(("http://", "https://")) else {})

    async def _put(self, alert: Alert, has_effect: Callable[[HttpClient], Awaitable[bool]]) -> bool:
        """Send an alert to every member, and return when one of them has it: whether all have.

        Raises:
            Retryable: a member answered 200, and nothing came of it.
        """

        async def put(client: HttpClient) -> None:
            await client.call("POST", "/api/v2/alerts", json=[alert])
            if not await has_effect(client):
                raise Retryable(f"{client.receiver} took the alert and nothing came of it", after_s=RETRY_AFTER_S)

        return await self._each(put)

    async def _each(self, do: Callable[[HttpClient], Awaitable[None]]) -> bool:
        """Do it with every member at once; it is done when one did it. Return whether all did.

        Raises:
            Retryable, Permanent: none did.
        """
        clients = [self._client(url) for url in self.urls]
        ended = await asyncio.gather(*map(do, clients), return_exceptions=True)
        errors = [error for error in ended if error is not None]
        for error in errors:
            if not isinstance(error, Retryable | Permanent):
                raise error
        if len(errors) == len(clients):
            raise _together(errors)
        return not errors

    def _client(self, url: str) -> HttpClient:
        return HttpClient("Alertmanager", url, self.headers, timeout_s=self.timeout_s, clock=self.clock)

    async def _shows(self, client: HttpClient, labels: Labels) -> bool:
        return identity(labels) in await self._alerts(client, [labels])

    async def _is_over(self, client: HttpClient, labels: Labels) -> bool:
        """Whether an alert is gone, or is about to be: Alertmanager's clock may be behind ours."""
        found = (await self._alerts(client, [labels])).get(identity(labels))
        return found is None or found.ends_at.timestamp() <= self.clock() + SOON_S

    async def _alerts(self, client: HttpClient, many: Iterable[Labels]) -> dict[tuple[str, ...], Shown]:
        """Return what a member has of these alerts."""
        found: dict[tuple[str, ...], Shown] = {}
        left = iter(many)
        while batch := list(islice(left, AT_ONCE)):
            query = urlencode([("filter", each) for each in filters_for(batch, cell=self.cell)])
            shown: list[Shown] = (await client.call("GET", f"/api/v2/alerts?{query}")).read(list[Shown])
            found |= {identity(alert.labels): alert for alert in shown}
        return found

    async def _answer(self, seen: Sequence[Shown]) -> Answer:
        silences = [silence for alert in seen for silence in alert.status.silenced_by]
        return await self._silence(silences[0]) if silences else Answer(Heard.OPEN)

    async def _silence(self, silence_id: str) -> Answer:
        """Return who silenced it; that it is silenced counts, even when nobody can say by whom."""
        said: list[Answer] = []

        async def ask(client: HttpClient) -> None:
            path = f"/api/v2/silence/{quote(silence_id, safe='')}"
            found: Silence = (await client.call("GET", path)).read(Silence)
            said.append(Answer(Heard.ACKNOWLEDGED, one_line(found.created_by, 100), one_line(found.comment, 300)))

        try:
            await self._each(ask)
        except (Retryable, Permanent):
            return Answer(Heard.ACKNOWLEDGED)
        return said[0]

    def _page_of(self, reference: str) -> str:
        found = f"{{incident={quoted(labels_in(reference)['incident'])},cell={quoted(self.cell)}}}"
        return f"{self.urls[0]}/#/alerts?filter={quote(found, safe='')}"


def from_section(section: AlertmanagerSection, cell: str) -> Alertmanager:
    """Return the adapter of a table of the settings.

    Raises:
        SettingsError: a secret cannot be read.
    """
    headers = {}
    if section.token_file is not None:
        headers = {"Authorization": f"Bearer {read_secret(section.token_file, 'token_file')}"}
    if section.password_file is not None:
        account = f"{section.user}:{read_secret(section.password_file, 'password_file')}"
        headers = {"Authorization": f"Basic {base64.b64encode(account.encode()).decode()}"}
    return Alertmanager(tuple(section.urls), cell, headers, section.stays_s, section.called, section.timeout_s)


def _labels(reference: str) -> dict[str, str]:
    labels = labels_in(reference)
    if not is_whole(labels):
        raise Permanent(f"{reference[:200]!r} is no reference of an alert")
    return labels


def _annotations(notice: Notice) -> dict[str, str]:
    links = {words.lower(): address for words, address in links_of(notice).items()}
    annotations = {"summary": summary(notice, MAX_SUMMARY), "description": full(notice, MAX_DESCRIPTION), **links}
    return {name: text for name, text in annotations.items() if text}


def _fewer_words(labels: Labels) -> dict[str, str]:
    where = labels.get("node", "the fleet")
    return {"summary": f"{where}: {labels.get('class', 'a fault')}; {labels.get('incident', '')} has all of it."}


def _together(errors: Sequence[BaseException]) -> Retryable | Permanent:
    """Return what all members said as one: it passes when one of them does."""
    said = "; ".join(dict.fromkeys(map(str, errors)))
    waits = [error.after_s for error in errors if isinstance(error, Retryable)]
    if waits:
        return Retryable(said, after_s=min(waits))
    first = errors[0]
    if len(errors) == 1 and isinstance(first, HttpRefusal):
        return first
    return Permanent(said)
