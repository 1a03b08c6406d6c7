"""The time as the agent's core sees it, so that tests can move it by hand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """Three faces of time.

    Attributes:
        wall: Unix seconds, for people and for other machines; may jump.
        monotonic: seconds that never jump, for intervals and deadlines.
        sleep: waits that many seconds.
    """

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
