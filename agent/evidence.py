"""What a person wants to see of a node before anything about it is changed, bounded in size."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from agent.plain_text import plain
from agent.sources.tool import Tool
from checks.errors import CannotObserve
from wire.messages import Status

MAX_BYTES: Final = 65_536
"""All evidence of one order, names included, as UTF-8."""

TOOL_LIMIT_S: Final = 10.0
"""`nvidia-smi -q` takes 1 to 3 s on a healthy 8-GPU host and hangs on a sick one."""

CUT: Final = "\n[cut here]\n"


def describe(status: Status, readings: Mapping[str, Any], kernel_lines: Sequence[str]) -> dict[str, str]:
    """Return the node's level, its newest readings and its last kernel-log lines as files of text."""
    return {
        "status.json": _as_json(status),
        **{f"reading-{source}.json": _as_json(reading) for source, reading in sorted(readings.items())},
        "kernel-log.txt": "\n".join(kernel_lines),
    }


def contents(evidence: Mapping[str, str]) -> str:
    """Return what there is, in words: a host has some thirty sources, and nobody reads thirty names."""
    readings = [name for name in evidence if name.startswith("reading-")]
    others = [name for name in evidence if name not in readings]
    return f"{', '.join(others)} and the readings of {len(readings)} sources"


def bound(evidence: Mapping[str, str], *, most_bytes: int = MAX_BYTES) -> dict[str, str]:
    """Return the evidence within `most_bytes`.

    Small files are left whole; what is over is taken from the large ones, out of their middle, because logs matter at
    their end and reports at their beginning.
    """
    evidence = {plain(name): plain(text) for name, text in evidence.items()}
    room = most_bytes - sum(len(name.encode()) for name in evidence)
    bounded: dict[str, str] = {}
    by_size = sorted(evidence.items(), key=lambda item: (len(item[1].encode()), item[0]))
    for left, (name, text) in zip(range(len(by_size), 0, -1), by_size, strict=True):
        bounded[name] = _cut(text, max(0, room // left))
        room -= len(bounded[name].encode())
    return {name: bounded[name] for name in evidence}


async def report(tool: Tool, *arguments: str, limit_s: float = TOOL_LIMIT_S) -> str:
    """Return what a program prints, or one sentence why it printed nothing; empty when it is not installed."""
    if not tool.is_installed:
        return ""
    try:
        return (await tool.run(*arguments, deadline_s=limit_s)).text
    except CannotObserve as error:
        return f"no report from {error}"


def _as_json(value: Any) -> str:
    return json.dumps(msgspec.to_builtins(value), indent=1)


def _cut(text: str, most_bytes: int) -> str:
    data = text.encode()
    if len(data) <= most_bytes:
        return text
    half = (most_bytes - len(CUT)) // 2
    if half <= 0:
        return ""
    return data[:half].decode(errors="ignore") + CUT + data[-half:].decode(errors="ignore")
