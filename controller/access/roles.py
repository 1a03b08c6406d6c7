"""What people may do. Three ranks, each with all that the ones below it may, and approvers beside them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """One role. Whoever has any of them may look."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"
    APPROVER = "approver"


_RANKS = {Role.VIEWER: 1, Role.APPROVER: 1, Role.OPERATOR: 2, Role.ADMIN: 3}


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks.

    Attributes:
        name: as the log shows it.
        how: `open` where nobody is asked who they are, else `token` or `session`.
        token_id: of the token behind it, empty without one.
        groups: what an OpenID provider said of them that gives roles here, none without one.
        alone: they may do alone what reaches the whole fleet.
    """

    name: str
    roles: frozenset[Role]
    how: str = "open"
    token_id: str = ""
    groups: frozenset[str] = frozenset()
    alone: bool = True

    def may(self, need: Role) -> bool:
        """Return whether a role that something needs is had. An admin is no approver: they are two people's work."""
        if need is Role.APPROVER:
            return Role.APPROVER in self.roles
        return max((_RANKS[role] for role in self.roles), default=0) >= _RANKS[need]


def everything(name: str) -> Person:
    """Return somebody who is not asked who they are and may do all."""
    return Person(name, frozenset(Role))


def words_of(roles: Iterable[Role]) -> str:
    """Return roles as people read them."""
    return ", ".join(role for role in Role if role in set(roles)) or "none"
