"""Failing to look is an error; ill health is a value. These are the two ways of failing to look."""

from __future__ import annotations


class CannotObserve(Exception):
    """The source is missing, refused or too late. Trying again may help; the checks it feeds are `unknown`.

    Attributes:
        stuck: a process that asked cannot be killed, so nothing is started behind it: trying again is in vain.
    """

    def __init__(self, because: str, *, stuck: bool = False) -> None:
        """Say why, in one sentence."""
        super().__init__(because)
        self.stuck = stuck


class CannotJudge(Exception):
    """The reading was taken but contradicts itself or cannot be understood. The check is `unknown`."""
