"""Which nodes a token is for: names as Slurm writes many of them, or names with `*` and `?` in them."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Final

from controller.schedulers.hostlist import expand
from wire.topics import NAME, RESERVED

MAX_TEXT: Final = 1_000
MOST_NODES: Final = 100_000
"""Of one cell."""

_WILD: Final = frozenset("*?")


def why_no_nodes(text: str) -> str:
    """Return what is wrong with a text that says which nodes, empty when nothing is."""
    if not text or len(text) > MAX_TEXT or not text.isprintable() or " " in text:
        return f"1 to {MAX_TEXT} printable characters, and no spaces"
    if _is_wild(text):
        # [ means a set of letters to a shell, and numbers to Slurm: a token must not be for other nodes than was meant.
        return "give either [...] or * and ?, not both" if set(text) & set("[],") else ""
    try:
        names = expand(text)
    except ValueError as error:
        return str(error)
    if len(names) > MOST_NODES:
        return f"that names {len(names)} nodes, at most {MOST_NODES}"
    return next((why for name in names if (why := why_no_node(name))), "")


def why_no_node(name: str) -> str:
    """Return why no node can be called so, empty when one can."""
    if name in RESERVED:
        return f"{name!r} is how the cell's own part is called at the broker: no node can have that name"
    if not NAME.fullmatch(name):
        return f"{name[:80]!r} is no node's name: letters, digits, '.', '_' and '-', from letter or digit to the same"
    return ""


def count_of(text: str) -> int:
    """Return how many nodes a text names, 0 when it leaves that open."""
    return 0 if _is_wild(text) else len(_names(text))


def covers(text: str, node: str) -> bool:
    """Return whether a node is one of those that a text says."""
    return fnmatchcase(node, text) if _is_wild(text) else node in _names(text)


def _is_wild(text: str) -> bool:
    return bool(set(text) & _WILD)


@lru_cache(maxsize=16)
def _names(text: str) -> frozenset[str]:
    return frozenset(expand(text))
