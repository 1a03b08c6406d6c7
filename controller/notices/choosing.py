"""The destinations that the settings name: one line a kind, checked as far as can be before the first notice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from controller.adapters import Notifier
from controller.notices.json_lines import JsonLinesNotifier
from controller.notices.webhook import WebhookNotifier
from controller.pages import alertmanager, opsgenie, pagerduty
from controller.policy.noticing.book import PAGE, TICKET
from controller.policy.noticing.routing import NoticeRules
from controller.sections.notices import Destination, JsonLinesSection, WebhookSection
from controller.sections.pages.alertmanager import AlertmanagerSection
from controller.sections.pages.chat import ChatSection
from controller.sections.pages.opsgenie import OpsgenieSection
from controller.sections.pages.pagerduty import PagerDutySection
from controller.sections.tickets.github import GitHubSection
from controller.sections.tickets.gitlab import GitLabSection
from controller.sections.tickets.jira import JiraSection
from controller.sections.tickets.request_tracker import RequestTrackerSection
from controller.sections.tickets.roundup import RoundupSection
from controller.sections.tickets.servicenow import ServiceNowSection
from controller.settings import ControllerSettings, SettingsError
from controller.tickets import github, gitlab, jira, request_tracker, roundup, servicenow

Factory = Callable[[Any, Path], Notifier]


def _json_lines(section: JsonLinesSection, default: Path) -> Notifier:
    return JsonLinesNotifier(section.path or default, section.called)


def _webhook(section: WebhookSection, _default: Path) -> Notifier:
    return WebhookNotifier(
        section.url, repeatable=section.deduplicates, timeout_s=section.timeout_s, name=section.called
    )


def _chat(section: ChatSection, cell: str) -> Notifier:
    """Import what speaks to chats only now: it is large."""
    notifier: Notifier = import_module("controller.pages.chat").from_section(section, cell)
    return notifier


ADAPTERS: Mapping[type[Destination], Factory] = {
    JsonLinesSection: _json_lines,
    WebhookSection: _webhook,
}
"""Section → what makes its adapter. A factory raises `SettingsError` with the key of what cannot be used."""

PAGERS: Mapping[type[Destination], Callable[[Any, str], Notifier]] = {
    AlertmanagerSection: alertmanager.from_section,
    PagerDutySection: pagerduty.from_section,
    OpsgenieSection: opsgenie.from_section,
    ChatSection: _chat,
}
"""Section → what makes its adapter, with the name of the cell: one account may be paged by several."""

TRACKERS: Mapping[type[Destination], Callable[[Any, str], Notifier]] = {
    JiraSection: jira.from_section,
    ServiceNowSection: servicenow.from_section,
    GitHubSection: github.from_section,
    GitLabSection: gitlab.from_section,
    RequestTrackerSection: request_tracker.from_section,
    RoundupSection: roundup.from_section,
}
"""Section → what makes its adapter, with the name of the cell: one system may hold tickets of several."""

_PAGES_ALONE = ("severities", "escalate_to", "escalate_after_s", "escalation_only")


@dataclass(frozen=True, slots=True)
class Destinations:
    """Where notices go: the adapters by name, and what is routed to each."""

    tickets: Mapping[str, Notifier]
    pages: Mapping[str, Notifier]
    rules: NoticeRules

    def adapters(self, kind: str) -> Mapping[str, Notifier]:
        """Return the adapters of a kind of notice, by name."""
        return self.tickets if kind == TICKET else self.pages


def destinations_of(settings: ControllerSettings) -> Destinations:
    """Return every destination that the settings name; a file in the state directory where they name none.

    Raises:
        SettingsError: with every problem: a secret that cannot be read, two of one name, an escalation to nobody.
    """
    tickets: list[Destination] = list(settings.tickets) or [JsonLinesSection()]
    pages: list[Destination] = list(settings.pages) or [JsonLinesSection()]
    problems = [
        *_names(tickets, "tickets"),
        *_names(pages, "pages"),
        *_tickets_that_page(tickets),
        *_escalations(pages),
    ]
    made = {
        TICKET: _adapters(settings, tickets, "tickets", problems),
        PAGE: _adapters(settings, pages, "pages", problems),
    }
    if problems:
        raise SettingsError("\n".join(problems))
    rules = settings.notices.rules(tuple(s.rule() for s in tickets), tuple(s.rule() for s in pages))
    return Destinations(made[TICKET], made[PAGE], rules)


def _adapters(
    settings: ControllerSettings, sections: Sequence[Destination], table: str, problems: list[str]
) -> dict[str, Notifier]:
    made: dict[str, Notifier] = {}
    for position, section in enumerate(sections):
        try:
            made[section.called] = _adapter(section, settings.state / f"{table}.jsonl", settings.cell)
        except SettingsError as error:
            problems += [f"{table}.{position}.{line}" for line in str(error).splitlines()]
    return made


def _adapter(section: Destination, default: Path, cell: str) -> Notifier:
    for makers in (PAGERS, TRACKERS):
        if type(section) in makers:
            return makers[type(section)](section, cell)
    return ADAPTERS[type(section)](section, default)


def _names(sections: Sequence[Destination], table: str) -> Iterator[str]:
    for name, count in Counter(section.called for section in sections).items():
        if count > 1:
            yield f"{table}: {count} are called {name!r}: give each a name of its own"


def _tickets_that_page(tickets: Sequence[Destination]) -> Iterator[str]:
    for position, section in enumerate(tickets):
        for key in _PAGES_ALONE:
            if key in section.model_fields_set:
                yield f"tickets.{position}.{key}: it is for pages alone; leave it out"


def _escalations(pages: Sequence[Destination]) -> Iterator[str]:
    names = [section.called for section in pages]
    for position, section in enumerate(pages):
        if section.escalate_to and (section.escalate_to not in names or section.escalate_to == section.called):
            others = ", ".join(name for name in names if name != section.called) or "none"
            yield f"pages.{position}.escalate_to: {section.escalate_to!r} is no other of [[pages]]; there are {others}"
