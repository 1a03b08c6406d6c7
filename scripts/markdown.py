"""Markdown as the generated pages are written in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

FIRST_LINE = "<!-- Written by `make docs` from the code; a test fails when the two differ. -->"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table, `none` in place of one without rows."""
    lines = [f"| {' | '.join(_cell(text) for text in row)} |" for row in rows]
    if not lines:
        return "none"
    return "\n".join([f"| {' | '.join(head)} |", "|" + "---|" * len(head), *lines])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def code(text: str) -> str:
    """Return text set as code, nothing when there is none."""
    return f"`{text}`" if text else ""


def page(title: str, *parts: str) -> str:
    """Return a whole page."""
    return "\n\n".join([FIRST_LINE, f"# {title}", *(part.strip("\n") for part in parts if part)]) + "\n"


def anchor(heading: str) -> str:
    """Return the name under which a heading can be linked to."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
