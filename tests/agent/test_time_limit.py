"""Foreign code in the agent's own process ends in its time."""

from __future__ import annotations

import signal

import pytest

from agent.time_limit import limited


def for_ever() -> None:
    while True:
        pass


def test_what_never_ends_is_ended() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(TimeoutError, match=r"^it did not end within 0\.05 s$"):
        limited(for_ever, limit_s=0.05)()
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) is before


def test_what_ends_is_left_alone() -> None:
    assert limited(divmod, limit_s=60.0)(7, 2) == (3, 1)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_its_own_error_is_passed_on() -> None:
    with pytest.raises(ZeroDivisionError):
        limited(divmod, limit_s=60.0)(1, 0)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
