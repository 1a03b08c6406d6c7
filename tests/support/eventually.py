"""Waiting for what another process or thread does, with a limit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

SOON_S = 0.02
"""How often a controller of the tests thinks by itself while something is under way, which ends most of its waits."""


async def eventually(what: str, look: Callable[[], bool], *, limit_s: float = 10.0) -> None:
    """Return as soon as `look` is true; fail with `what` when it takes too long."""
    for _ in range(int(limit_s / 0.01)):
        if look():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"not within {limit_s:g} s: {what}")
