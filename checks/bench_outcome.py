"""What became of one active benchmark: five answers, of which one alone is a fault of the hardware."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Outcome(StrEnum):
    """`pass` and `fail` judge the hardware; `warn` is looked at again; `error` and `skip` say nothing of it.

    An `error` (no library, a rank that never came, nothing that could be parsed) is a fault of the test, a `skip` is a
    test that was not run.
    """

    PASS = "pass"  # noqa: S105  an outcome, no password
    WARN = "warn"
    FAIL = "fail"
    ERROR = "error"
    SKIP = "skip"

    @property
    def is_measured(self) -> bool:
        """Whether a number stands behind it."""
        return self in {Outcome.PASS, Outcome.WARN, Outcome.FAIL}

    @property
    def feeds_remediation(self) -> bool:
        """Whether it may condemn anything: only a failure may."""
        return self is Outcome.FAIL


_WORST_FIRST = (Outcome.FAIL, Outcome.ERROR, Outcome.WARN, Outcome.PASS)


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """Return the one outcome of several tests: a failure before an error, and an error before anything better.

    Tests that were skipped do not count; where all were, so was the whole. No test at all is an error: what was not
    parsed has not passed.
    """
    seen = set(outcomes)
    if not seen:
        return Outcome.ERROR
    return next((outcome for outcome in _WORST_FIRST if outcome in seen), Outcome.SKIP)
