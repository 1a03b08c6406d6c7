"""Why something was decided: what every decision carries with it (I10)."""

from __future__ import annotations

import msgspec


class Reason(msgspec.Struct, frozen=True):
    """Why, in a form people can check (I10): the sentence, what went in, and what would have stopped it."""

    because: str
    inputs: dict[str, str] = {}
    unless: str = ""
