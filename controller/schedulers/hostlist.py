"""Slurm's short form for many nodes, `rack[1-2]n[001-004,007],login`, spelt out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product

MAX_NODES = 1_000_000
_PART = re.compile(r"\[([^\[\]]*)\]|([^\[\],]+)")
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


def expand(hostlist: str) -> list[str]:
    """Return every node that a hostlist names, in its order.

    Raises:
        ValueError: it is not a hostlist, or names more than a million nodes; the text says which part.
    """
    return [name for expression in _split(hostlist) for name in _names(expression)]


def _split(hostlist: str) -> Iterator[str]:
    """Yield the expressions between the commas outside of brackets."""
    depth, begin = 0, 0
    for index, character in enumerate(hostlist):
        depth += {"[": 1, "]": -1}.get(character, 0)
        if depth not in (0, 1):
            raise ValueError(f"hostlist {hostlist!r}: brackets do not match at character {index + 1}")
        if character == "," and depth == 0:
            yield hostlist[begin:index]
            begin = index + 1
    if depth:
        raise ValueError(f"hostlist {hostlist!r}: a bracket is not closed")
    if hostlist:
        yield hostlist[begin:]


def _names(expression: str) -> Iterator[str]:
    if not expression:
        raise ValueError("hostlist: a name is empty")
    parts = [_numbers(ranges) if ranges else [text] for ranges, text in _parts(expression)]
    count = 1
    for part in parts:
        count *= len(part)
    if count > MAX_NODES:
        raise ValueError(f"hostlist {expression!r} names {count} nodes, at most {MAX_NODES}")
    return ("".join(name) for name in product(*parts))


def _parts(expression: str) -> Iterator[tuple[str, str]]:
    position = 0
    while position < len(expression):
        part = _PART.match(expression, position)
        if part is None or part.group() == "[]":
            raise ValueError(f"hostlist {expression!r}: not understood at character {position + 1}")
        yield part.group(1) or "", part.group(2) or ""
        position = part.end()


def _numbers(ranges: str) -> list[str]:
    numbers: list[str] = []
    for text in ranges.split(","):
        match = _RANGE.fullmatch(text)
        if match is None:
            raise ValueError(f"hostlist: {text!r} in [{ranges}] is neither a number nor a range")
        first, last = match.group(1), match.group(2) or match.group(1)
        if int(last) - int(first) >= MAX_NODES:
            raise ValueError(f"hostlist: [{ranges}] names more than {MAX_NODES} nodes")
        numbers += [f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1)]
    return numbers
