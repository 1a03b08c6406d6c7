"""A limit for foreign code that runs in the agent's own process: a judgement that never ends must not stop the rest."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def limited(function: Callable[P, R], *, limit_s: float) -> Callable[P, R]:
    """Return the function, with a TimeoutError in place of its result when it takes longer.

    It interrupts Python code, not a library's that does not return to Python, and works in the main thread alone.
    """

    def ring(*_: object) -> None:
        raise TimeoutError(f"it did not end within {limit_s:g} s")

    @wraps(function)
    def within(*arguments: P.args, **options: P.kwargs) -> R:
        before = signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, limit_s)
        try:
            return function(*arguments, **options)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    return within
