"""JSON in what a program printed: warnings may stand before it, and some programs print several documents."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

_START = re.compile(r"^[\[{]", re.MULTILINE)


def documents(printed: str) -> Iterator[object]:
    """Yield every JSON document of a text that begins at the start of a line, `None` for one that is broken."""
    decoder = json.JSONDecoder()
    start = _START.search(printed)
    while start is not None:
        try:
            document, end = decoder.raw_decode(printed, start.start())
        except (ValueError, RecursionError):
            document, end = None, start.end()
        yield document
        start = _START.search(printed, end)


def first_object(printed: str) -> dict[str, object]:
    """Return the first document that is an object, an empty one where there is none."""
    return next((document for document in documents(printed) if isinstance(document, dict)), {})
