"""Which role an address needs to which a page's buttons post: they are shown to whoever has it."""

from __future__ import annotations

import re
from typing import Final

from controller.access.roles import Role
from controller.api.routes import ROUTES

_ACTS: Final = tuple(
    (re.compile(re.sub(r"\{\w+\}", ".+", route.path)), route.need) for route in ROUTES if route.method == "POST"
)
"""A name is what a node says it is, with slashes in it or not: no name may leave a page without its buttons."""


def need_of(address: str) -> Role:
    """Return the role that whoever posts to an address has to have.

    Raises:
        LookupError: nothing is served there.
    """
    for path, need in _ACTS:
        if path.fullmatch(address):
            return need
    raise LookupError(address)
