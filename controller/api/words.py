"""Texts that people give."""

from __future__ import annotations

from controller.api.problems import Problem


def plain(text: str, *, field: str) -> str:
    """Return the text if it is fit for logs, terminals and scheduler fields.

    Raises:
        Problem: 422, it holds a control character.
    """
    if not all(character.isprintable() for character in text):
        raise Problem(422, f"{field} holds a control character", "one line of printable text", field=field)
    return text.strip()
