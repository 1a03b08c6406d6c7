"""What differs between Jira Cloud (REST API v3) and Jira Data Center (v2): texts, searches, looks at many issues.

Source: Atlassian, "Jira Cloud platform REST API v3" (search and reconcile, bulk fetch), "Jira Data Center REST API".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from controller.tickets.document import Block, within
from controller.tickets.jira_answers import FIELDS, Issue, Issues
from controller.tickets.markup import adf_document, adf_text, wiki
from controller.tickets.talking import Talk

MAX_TEXT = 32_000
"""Source: Jira takes 32,767 characters of a description or comment; what a mark needs is left free."""

PAGE = 100
"""Source: "Bulk fetch issues" takes 100 at most; comments and searches as many a page."""


class Dialect(Protocol):
    """What differs between Jira Cloud and Jira Data Center."""

    @property
    def api(self) -> str: ...

    @property
    def search(self) -> str: ...

    def text(self, blocks: Sequence[Block], mark: str = "") -> Any:
        """Return a text as the API takes it."""
        ...

    async def several(self, talk: Talk, keys: Sequence[str]) -> list[Issue]:
        """Return issues by their keys, at most a page; keys of no issue are left out."""
        ...


@dataclass(frozen=True, slots=True)
class Cloud:
    """Jira Cloud: texts are documents in Atlassian's format."""

    api: str = "/rest/api/3"
    search: str = "/search/jql"

    def text(self, blocks: Sequence[Block], mark: str = "") -> Any:
        """Return the document, with the mark at its end."""
        fitting = within(adf_text, blocks, MAX_TEXT)
        document = msgspec.json.decode(fitting)
        document["content"] += adf_document([], mark)["content"]
        return document

    async def several(self, talk: Talk, keys: Sequence[str]) -> list[Issue]:
        """Return them by one bulk fetch, which reads the issues themselves and no index."""
        body = {"issueIdsOrKeys": list(keys), "fields": FIELDS}
        found: Issues = await talk.change("POST", f"{self.api}/issue/bulkfetch", body, Issues, what="issues to read")
        return found.issues


@dataclass(frozen=True, slots=True)
class DataCenter:
    """Jira Data Center: texts are in wiki markup."""

    api: str = "/rest/api/2"
    search: str = "/search"

    def text(self, blocks: Sequence[Block], mark: str = "") -> Any:
        """Return the text, with the mark at its end."""
        return within(wiki, blocks, MAX_TEXT) + (f"\n{mark}" if mark else "")

    async def several(self, talk: Talk, keys: Sequence[str]) -> list[Issue]:
        """Return them by one search. `validateQuery` off passes over keys of no issue, which else are a 400."""
        jql = f"key in ({', '.join(map(quoted, keys))})"
        body = {"jql": jql, "fields": FIELDS, "maxResults": PAGE, "validateQuery": False}
        found: Issues = await talk.change("POST", f"{self.api}/search", body, Issues, what="issues to read")
        return found.issues


def quoted(text: str) -> str:
    """Return a text as JQL takes it for one. Source: Atlassian, "JQL: special characters"."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
