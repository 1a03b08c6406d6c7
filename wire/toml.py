"""TOML as both sides read it: whatever is wrong with a text is one kind of error, and no short text takes much memory.

The standard library's reader lets other errors through for what is nested too deep or has too many digits, and keeps
every beginning of a dotted key: one of 64 KiB would take gigabytes.
"""

from __future__ import annotations

import re
import tomllib
from typing import Any, Final

MOST_PARTS: Final = 128
"""Of a dotted key. Source: our choice; no table of ours is ten deep, and no host name has more labels (RFC 1035)."""

_PART = r"(?:[\w-]++|\"[^\"\n]*+\"|'[^'\n]*+')[ \t]*+\.[ \t]*+"
_ENDLESS = re.compile(rf"(?<![\w-])(?:{_PART}){{{MOST_PARTS}}}")


def loads(text: str) -> dict[str, Any]:
    """Return the document that a text holds.

    Raises:
        ValueError: it holds none; the error says what is wrong, and where.
    """
    if endless := _ENDLESS.search(text):
        line = text.count("\n", 0, endless.start()) + 1
        raise ValueError(f"a key has more than {MOST_PARTS} parts (at line {line})")
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
