"""A source's store that lives in memory: what is durable elsewhere is not these tests' matter."""

from __future__ import annotations

from typing import Any


class MemoryStore:
    """Keeps one value. `saves` counts how often it was written."""

    def __init__(self, value: dict[str, Any] | None = None) -> None:
        self.value = value or {}
        self.saves = 0

    def load(self) -> dict[str, Any]:
        """Return what was saved last."""
        return self.value

    def save(self, value: dict[str, Any]) -> None:
        """Keep a value."""
        self.value, self.saves = value, self.saves + 1
