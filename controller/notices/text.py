"""What a ticket or a page says: text that can be acted on at 3 a.m., made from the incident alone. Pure.

A line each for What, Where, Seen, Impact, Done, Next and what a person can do. What others wrote (a kernel, a person,
a scheduler) stays in its line and within its length, see `controller.notices.wording`.
"""

from __future__ import annotations

from collections.abc import Iterator

from checks.finding import Finding
from controller.adapters import Notice, RmaBundle
from controller.events import StepIntended
from controller.manual import address_of
from controller.notices.around import SEATS, Around, facts_of, impact_of, where_of
from controller.notices.doings import acts_of, done_of, next_of_page
from controller.notices.wording import one_line
from controller.policy.incident import Bundle, Incident
from controller.policy.playbook import Verb
from controller.policy.scopes import parse
from wire.evidence import size_text

MAX_TITLE = 160
MAX_LINE = 600
MAX_FACT = 500

SEEN = 4
"""So many findings are told, the newest; the page has them all."""

VALUES = 6
"""So many raw values of a finding are told. Source: our choice; a screen's width on a phone is four of them."""

MAX_VALUE = 60
TOLD_ELSEWHERE = frozenset({"message", *SEATS})
"""Evidence that is no number: the sentence and the place have it."""

NOWHERE = Around()


def notice_for(
    incident: Incident,
    intent: StepIntended,
    *,
    at: float,
    page_url: str,
    rma: RmaBundle | None = None,
    known: Around = NOWHERE,
) -> Notice:
    """Return the notice that a `ticket` or `page` step sends. `rma` goes with tickets alone: a page must stay short."""
    url = page_of(incident, page_url)
    return Notice(
        key=intent.key,
        kind=intent.verb,
        incident_id=incident.id,
        node=incident.node,
        device=incident.device,
        fault_class=incident.fault_class,
        severity=intent.parameters.get("severity", incident.playbook.severity),
        title=title_of(incident),
        body="\n".join(_lines(incident, at=at, page_url=page_url, known=known)),
        at=at,
        team=intent.parameters.get("team", ""),
        url=url,
        facts={name: one_line(text, MAX_FACT) for name, text in facts_of(incident, known).items()},
        rma=rma if intent.verb == Verb.TICKET else None,
        links=links_of(incident, url, runbook=address_of(incident.playbook.runbook, page_url)),
    )


def page_of(incident: Incident, page_url: str) -> str:
    """Return where the incident's page is."""
    return f"{page_url}/incidents/{incident.id}"


def title_of(incident: Incident) -> str:
    """Return where and what, in one line."""
    where = incident.node or parse(incident.device).words
    return one_line(f"{where}: {incident.playbook.summary}", MAX_TITLE)


def links_of(incident: Incident, url: str, *, runbook: str) -> dict[str, str]:
    """Return what a person can do or see now → where. All of it is the incident's page: opening an address acts on
    nothing, since chats and mail scanners open them by themselves."""
    links = {"incident": url, **{act: f"{url}#{act}" for act in acts_of(incident)}}
    return links | ({"runbook": runbook} if runbook else {})


def _lines(incident: Incident, *, at: float, page_url: str, known: Around) -> list[str]:
    """Return the whole text, a line each."""
    return [f"{label}: {one_line(text, MAX_LINE)}" for label, text in _said(incident, at, page_url, known) if text]


def _said(incident: Incident, at: float, page_url: str, known: Around) -> Iterator[tuple[str, str]]:
    yield "What", _what(incident)
    yield "Where", where_of(incident, known)
    yield from (("Seen", text) for text in _seen(incident))
    yield "Impact", impact_of(incident, known)
    yield "Done", done_of(incident)
    if incident.rma:
        yield "Send back", f"{incident.part}. {incident.rma}"
    else:
        yield "Before", incident.recurrence.because
    yield from (("Evidence", f"{each.url} ({size_text(each.size_bytes)})") for each in stored(incident))
    yield "Next", next_of_page(incident, at)
    yield "You can", "; ".join(f"{act} ({result})" for act, result in acts_of(incident).items())
    yield "Runbook", address_of(incident.playbook.runbook, page_url) or incident.playbook.runbook
    yield "More", page_of(incident, page_url)


def _what(incident: Incident) -> str:
    """Return what is wrong, and how it came to that: handed to people, an incident says only why."""
    summary, because = incident.playbook.summary, incident.because
    return because if summary in because or not incident.outcome else f"{summary} {because}"


def _seen(incident: Incident) -> list[str]:
    """Return the newest findings with their numbers, and how many there are besides."""
    findings = list(incident.condemned_by.values())[::-1]
    seen = [_told(finding) for finding in findings[:SEEN]]
    rest = len(findings) - SEEN
    return [*seen, f"{rest} more on the incident's page"] if rest > 0 else seen


def _told(finding: Finding) -> str:
    told = {name: value for name, value in finding.evidence.items() if name not in TOLD_ELSEWHERE}
    values = [f"{name} {one_line(value, MAX_VALUE)}" for name, value in told.items()]
    numbers = f" [{', '.join(values[:VALUES])}]" if values else ""
    return f"{' '.join(filter(None, (finding.check, finding.code)))} on {finding.device}: {finding.because}{numbers}"


def stored(incident: Incident) -> list[Bundle]:
    """Return the bundles of evidence that people can get now. One that is on its way shows on the page later."""
    return [bundle for bundle in incident.bundles.values() if bundle.state == "stored"]
