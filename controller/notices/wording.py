"""Words of others in our text: on their line, within their length, without what must not be shown. Pure.

A kernel log, a job's name or a person's reason may hold anything. Nothing of it may begin a line of its own, turn the
direction of writing, or be so long that what matters falls off a phone's screen.
"""

from __future__ import annotations

import re

ELLIPSIS = "…"

HIDDEN = "[hidden]"
_ACCOUNT = re.compile(r"(?<=://)[^\s/@]{1,200}@")
_NAMED = re.compile(
    r"(?i)\b(password|passwd|secret|token|api[_-]?key|access[_-]?key|routing[_-]?key|signature|"
    r"x-amz-(?:signature|credential|security-token))(\"?\s{0,3}[=:]\s{0,3}\"?)[^\s\"'&,;]{1,2000}"
)
_AUTHORIZATION = re.compile(r"(?i)\b(authorization)(\"?\s{0,3}[=:]\s{0,3}\"?)(?:\w{1,20}\s{1,3})?[^\s\"'&,;]{1,2000}")
_BEARER = re.compile(r"(?i)\b(bearer|basic|geniekey|token token=)(\s{1,3})[A-Za-z0-9._~+/=-]{8,2000}")


def one_line(text: str, limit: int) -> str:
    """Return a text as one line of at most `limit` characters, of which all can be shown and none is a secret's."""
    return cut(" ".join(_shown(without_secrets(" ".join(text.split()))).split()), limit)


def cut(text: str, limit: int) -> str:
    """Return a text of at most `limit` characters; one that is cut ends in an ellipsis, between words if it can."""
    if len(text) <= limit:
        return text
    if limit <= len(ELLIPSIS):
        return text[:limit]
    kept = text[: limit - len(ELLIPSIS)]
    whole, space, _ = kept.rpartition(" ")
    return (whole if space and len(whole) > limit // 2 else kept).rstrip() + ELLIPSIS


def lines_within(lines: list[str], limit: int) -> str:
    """Return as many of these lines as fit into `limit` characters, and say how many were left out."""
    text = "\n".join(lines)
    if len(text) <= limit:
        return text
    kept = list(lines)
    while kept and len("\n".join([*kept, _left_out(len(lines) - len(kept))])) > limit:
        kept.pop()
    return cut("\n".join([*kept, _left_out(len(lines) - len(kept))]), limit)


def without_secrets(text: str) -> str:
    """Return a text without what looks like a password, a token or a signed address.

    Whoever reads a page is seldom alone with it: it stands in chats, in mails and on locked screens.
    """
    text = _ACCOUNT.sub(f"{HIDDEN}@", text)
    text = _AUTHORIZATION.sub(rf"\1\2{HIDDEN}", text)
    text = _BEARER.sub(rf"\1\2{HIDDEN}", text)
    return _NAMED.sub(rf"\1\2{HIDDEN}", text)


def _left_out(count: int) -> str:
    return f"({count} more lines on the incident's page)"


def _shown(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)
