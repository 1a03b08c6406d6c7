"""Which versions of fleetmend are of one release. The rule for people: docs/explanation/compatibility.md."""

from __future__ import annotations

import re
from typing import Final

HEADER: Final = "Fleetmend-Version"
"""In which a controller says its version to whoever may use its API."""

_RELEASE: Final = re.compile(r"(\d{1,6})\.(\d{1,6})(?:[.+a-z-].{0,80})?")


def release_of(version: str) -> tuple[int, int] | None:
    """Return major and minor number of a version, `None` where it is none."""
    found = _RELEASE.fullmatch(version)
    return (int(found[1]), int(found[2])) if found else None


def differ(one: str, other: str) -> bool:
    """Return whether two versions are of different minor releases; what is no version differs from none."""
    releases = release_of(one), release_of(other)
    return None not in releases and releases[0] != releases[1]
