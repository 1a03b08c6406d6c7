"""A request that is not done, as one kind of answer: what is wrong, where, and what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from itertools import islice

MAX_COMPARED = 5_000
"""Names compared for a suggestion: comparing every name of a large fleet would stop the controller for seconds."""

_LISTED_BY = {
    "playbook": ("playbook list", "playbooks"),
    "run": ("bench list", "bench/runs"),
    "sweep": ("bench sweeps", "bench/sweeps"),
}
"""Kind → command and address, where they are not its plural."""


class Problem(Exception):
    """Ends a request with this HTTP status. `after_s`: when to try again, 0 where nobody knows."""

    def __init__(self, status: int, error: str, hint: str, *, field: str = "", after_s: int = 0) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.hint = hint
        self.field = field
        self.after_s = after_s


def unknown(kind: str, name: str, known: Iterable[str]) -> Problem:
    """Return the 404 for a thing that does not exist, with the nearest names that do.

    Args:
        kind: `node`, `incident`, `run` or `sweep`, as people read it.
    """
    near = nearest(name, known)
    command, address = _LISTED_BY.get(kind, (f"{kind}s", f"{kind}s"))
    hint = (
        f"did you mean {' or '.join(near)}?"
        if near
        else f"`fleetmend {command}` (GET /api/v1/{address}) lists every {kind}"
    )
    return Problem(404, f"no {kind} is called {name[:80]!r}", hint)


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """Return up to three known names that look like `name`, best first."""
    return difflib.get_close_matches(name[:80], islice(known, MAX_COMPARED), n=3, cutoff=0.6)
