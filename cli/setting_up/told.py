"""The last line of a setup, which programs look at."""

from __future__ import annotations

from cli.printing import counted


def changed_line(files: int, *, is_news: bool = False, is_dry_run: bool = False) -> str:
    """Return what was changed: `Changed nothing.` when all was as it should be."""
    if is_dry_run:
        return f"Would change {counted(files, 'file')}." if files else "Would change nothing."
    if not files:
        return "Changed no file; enabled or started services." if is_news else "Changed nothing."
    return f"Changed {counted(files, 'file')}."
