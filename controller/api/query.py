"""What may stand after the question mark of an address."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Query:
    """One value after the question mark."""

    name: str
    summary: str
    choices: tuple[str, ...] = ()
