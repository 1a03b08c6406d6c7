"""Markdown as the generated pages are written in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import cycle

FIRST_LINE = "<!-- Written by `make docs` from the code; a test fails when the two differ. -->"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table, `none` in place of one without rows."""
    lines = [f"| {' | '.join(_cell(text) for text in row)} |" for row in rows]
    if not lines:
        return "none"
    return "\n".join([f"| {' | '.join(head)} |", "|" + "---|" * len(head), *lines])


def _cell(text: str) -> str:
    """Return a text as a cell; what is set as code is shown letter by letter, so `<` stays there."""
    parts = " ".join(text.split()).replace("|", "\\|").split("`")
    marked = zip(parts, cycle((False, True)), strict=False)
    return "`".join(part if is_code else part.replace("<", "&lt;") for part, is_code in marked)


def code(text: str) -> str:
    """Return text set as code, nothing when there is none."""
    return f"`{text}`" if text else ""


def page(title: str, *parts: str) -> str:
    """Return a whole page."""
    return "\n\n".join([FIRST_LINE, f"# {title}", *(part.strip("\n") for part in parts if part)]) + "\n"


def anchor(heading: str) -> str:
    """Return the name under which a heading can be linked to."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
