"""Where pages go: one file a kind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

from pydantic import Field

from controller.sections.notices import JsonLinesSection, WebhookSection
from controller.sections.pages.alertmanager import AlertmanagerSection
from controller.sections.pages.chat import ChatSection
from controller.sections.pages.opsgenie import OpsgenieSection
from controller.sections.pages.pagerduty import PagerDutySection
from controller.sections.pages.paging import Paging as Paging


class PagesJsonLinesSection(JsonLinesSection, Paging):
    """A file of JSON lines."""


class PagesWebhookSection(WebhookSection, Paging):
    """A webhook: the notice as JSON."""


PageSection = Annotated[
    PagesJsonLinesSection
    | PagesWebhookSection
    | AlertmanagerSection
    | PagerDutySection
    | OpsgenieSection
    | ChatSection,
    Field(discriminator="kind"),
]
"""One way to page people. A page goes to every one that takes its team and severity."""


def flaws_of(pages: Sequence[PageSection]) -> Iterator[str]:
    """Yield what is wrong with ways to page people that is seen only when they stand together."""
    names = [page.called for page in pages]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"pages: {names.count(name)} are called {name!r}; give each a name of its own"
    for index, page in enumerate(pages):
        for name in page.escalate_to:
            if name not in names:
                yield f"pages.{index}.escalate_to: no [[pages]] is called {name!r}; there are {', '.join(names)}"
            elif name == page.called:
                yield f"pages.{index}.escalate_to: {name!r} is the page itself"
    if pages and all(page.escalations_only for page in pages):
        yield "pages: all of them are for escalations only, so that no page would go anywhere"
