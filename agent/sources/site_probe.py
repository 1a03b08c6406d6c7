"""Runs one function of a site's own package, found by its entry point, and prints what it returns as findings in JSON.

It runs in a process of its own each time: a function that hangs, leaks or crashes takes nothing else with it. What it
and the modules that it imports print goes to standard error, so that the answer stands alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from importlib.metadata import entry_points
from typing import Any, Final

import msgspec

from checks.finding import Finding

GROUP: Final = "fleetmend.probes"
"""Entry points of functions that take nothing and return the faults that they found, as findings."""

OUTPUT, ERRORS = 1, 2
"""Descriptors. Source: POSIX."""

TOLD: Final = ("device", "code", "verdict", "action", "because", "pci", "serial", "evidence")


def main(name: str) -> None:
    """Run the function of the entry point `name` and print its findings."""
    (probe,) = entry_points(group=GROUP, name=name)
    with os.fdopen(os.dup(OUTPUT), "w") as told:
        os.dup2(ERRORS, OUTPUT)
        told.write(answer(probe.load()(), name))


def answer(found: object, name: str) -> str:
    """Return the findings as the agent reads them.

    Raises:
        TypeError: the function returned something else.
    """
    if not isinstance(found, Iterable) or isinstance(found, str | bytes | dict):
        raise TypeError(f"{name} returned {found!r}, and not a list of findings")
    return msgspec.json.encode({"findings": [_told(each, name) for each in found]}).decode()


def _told(finding: object, name: str) -> dict[str, Any]:
    if not isinstance(finding, Finding):
        raise TypeError(f"{name} returned {finding!r} among its findings")
    if finding.check != name:
        raise TypeError(f"{name} returned a finding of the check {finding.check!r}")
    return {key: getattr(finding, key) for key in TOLD}


if __name__ == "__main__":
    main(sys.argv[1])
