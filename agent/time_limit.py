"""A limit for foreign code that runs in the agent's own process: a judgement that never ends must not stop the rest."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import wraps
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

AGAIN_S: Final = 0.1
"""Code that catches everything and goes on is interrupted again and again."""


class _Rung(BaseException):
    """The time is over; no `except Exception` of foreign code takes this for a failure of its own."""


def limited(function: Callable[P, R], *, limit_s: float) -> Callable[P, R]:
    """Return the function, with a TimeoutError in place of its result when it takes longer.

    It interrupts Python code, not a library's that does not return to Python, and works in the main thread alone. Where
    the function would end the process (`sys.exit`), a RuntimeError says so.
    """

    def ring(*_: object) -> None:
        raise _Rung

    @wraps(function)
    def within(*arguments: P.args, **options: P.kwargs) -> R:
        before = signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, limit_s, AGAIN_S)
        try:
            return function(*arguments, **options)
        except _Rung as rung:
            raise TimeoutError(f"it did not end within {limit_s:g} s") from rung
        except SystemExit as end:
            raise RuntimeError(f"it would end the whole agent: sys.exit({end.code!r})") from end
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    return within
