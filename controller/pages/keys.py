"""What a page is called on the other side, so that the same problem is one page there. Pure."""

from __future__ import annotations

import hashlib
import re

from controller.adapters import Notice

MAX_KEY = 255
"""Source: PagerDuty, "Send an alert event": `dedup_key` has at most 255 characters. Opsgenie's alias takes 512."""

_PLAIN = re.compile(r"[\w .:/@+=-]{1,255}", re.ASCII)


def dedup_key(notice: Notice, *, cell: str, name: str) -> str:
    """Return the key of the problem: the cell, the destination and the subject, or the incident without one.

    The destination is in it because one account may hold several, and what was escalated must not be taken for what
    was paged first.
    """
    key = f"{cell}/{name}/{notice.subject or notice.incident_id}"
    if _PLAIN.fullmatch(key):
        return key
    return f"{cell}/{hashlib.sha256(key.encode(errors='replace')).hexdigest()}"
