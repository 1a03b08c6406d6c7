"""Jira's answers, as far as they are read. Source: Atlassian, "Jira Cloud platform REST API v3"."""

from __future__ import annotations

import msgspec

DONE = "done"
"""Source: Jira's three status categories have the keys new, indeterminate and done."""

FIELDS = ["summary", "status", "labels", "resolution"]


class Category(msgspec.Struct):
    """One of the three categories."""

    key: str = ""


class Status(msgspec.Struct):
    """A status, and which of the three categories it is of."""

    name: str
    category: Category = msgspec.field(name="statusCategory", default_factory=Category)


class Named(msgspec.Struct):
    """What has a name."""

    name: str = ""


class Fields(msgspec.Struct):
    """Of an issue, what counts here."""

    status: Status
    labels: list[str] = []
    resolution: Named | None = None


class Issue(msgspec.Struct):
    """An issue as a search or a look shows it."""

    key: str
    fields: Fields


class Issues(msgspec.Struct):
    """What a search found."""

    issues: list[Issue]


class Made(msgspec.Struct):
    """What a create is answered with."""

    key: str


class User(msgspec.Struct):
    """A person."""

    name: str = msgspec.field(name="displayName", default="")


class Comment(msgspec.Struct):
    """A comment; its body is a text or a document."""

    body: msgspec.Raw
    author: User = msgspec.field(default_factory=User)


class Comments(msgspec.Struct):
    """A page of comments."""

    comments: list[Comment]


class Transition(msgspec.Struct):
    """A way out of the status that an issue is in now."""

    id: str
    name: str
    to: Status


class Transitions(msgspec.Struct):
    """All such ways."""

    transitions: list[Transition]


class Change(msgspec.Struct):
    """One field that changed."""

    field: str = ""


class History(msgspec.Struct):
    """What somebody changed at once."""

    created: str = ""
    author: User = msgspec.field(default_factory=User)
    items: list[Change] = []


class Changelog(msgspec.Struct):
    """All changes."""

    histories: list[History] = []


class Told(msgspec.Struct):
    """An issue with its changes."""

    changelog: Changelog = msgspec.field(default_factory=Changelog)
