"""Which fleetmend this is."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Final

COMMIT: Final = Path(__file__).with_name("commit")
"""Comes with a wheel that was built in a checkout; hatch_build.py writes it."""


def told(commit: Path = COMMIT) -> str:
    """Return the version, and the commit where one is known."""
    number = version("fleetmend")
    try:
        return f"{number} (commit {commit.read_text(encoding='utf-8').strip()})"
    except FileNotFoundError:
        return number
