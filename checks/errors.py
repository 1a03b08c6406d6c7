"""Failing to look is an error; ill health is a value. These are the two ways of failing to look."""

from __future__ import annotations


class CannotObserve(Exception):
    """The source is missing, refused or too late. Trying again may help; the checks it feeds are `unknown`."""


class CannotJudge(Exception):
    """The reading was taken but contradicts itself or cannot be understood. The check is `unknown`."""
