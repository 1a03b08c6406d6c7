"""The explicit list of all checks: a new check is one new file and one line here."""

from __future__ import annotations

from checks.check import Check

CHECKS: tuple[Check, ...] = ()
"""Every check, in the order in which documentation shows them."""
