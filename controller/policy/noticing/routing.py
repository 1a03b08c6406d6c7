"""Which destinations a notice goes to: for a ticket the first that takes its team, for a page each that takes it."""

from __future__ import annotations

from dataclasses import dataclass

from controller.policy.noticing.book import TICKET

QUIET_S = 3_600.0
"""A notice that people were left with is closed when nothing of it was found for so long. Source: our choice; what
flaps comes back within minutes, and would get a new ticket each time."""


@dataclass(frozen=True, slots=True)
class DestinationRule:
    """What one destination takes. Empty `teams` or `severities` are all of them.

    Attributes:
        escalate_to: name of the destination that gets a page which nobody acknowledged here for `escalate_after_s`.
        escalation_only: it takes nothing else than that.
    """

    name: str
    teams: frozenset[str] = frozenset()
    severities: frozenset[str] = frozenset()
    escalate_to: str = ""
    escalate_after_s: float = 900.0
    escalation_only: bool = False

    def takes(self, team: str, severity: str) -> bool:
        """Return whether a notice for this team, of this severity, goes here."""
        fits = (not self.teams or team in self.teams) and (not self.severities or severity in self.severities)
        return fits and not self.escalation_only


@dataclass(frozen=True, slots=True)
class StormRule:
    """When pages become one: `pages` open ones that came within `within_s` are single, further ones join one for all.

    Source: our choice; three pages are read, a dozen are muted.
    """

    pages: int = 3
    within_s: float = 300.0


@dataclass(frozen=True, slots=True)
class NoticeRules:
    """What an operator sets about tickets and pages.

    Attributes:
        bundle_s: small news wait so long for others.
        quiet_s: as `QUIET_S`.
    """

    tickets: tuple[DestinationRule, ...] = ()
    pages: tuple[DestinationRule, ...] = ()
    storm: StormRule = StormRule()
    bundle_s: float = 20.0
    quiet_s: float = QUIET_S

    def destinations(self, kind: str) -> tuple[DestinationRule, ...]:
        """Return the destinations of a kind of notice, in order."""
        return self.tickets if kind == TICKET else self.pages

    def routed(self, kind: str, team: str, severity: str) -> tuple[DestinationRule, ...]:
        """Return where a notice goes."""
        taking = tuple(rule for rule in self.destinations(kind) if rule.takes(team, severity))
        return taking[:1] if kind == TICKET else taking

    def named(self, kind: str, name: str) -> DestinationRule | None:
        """Return a destination, `None` when the settings have none of that name any more."""
        return next((rule for rule in self.destinations(kind) if rule.name == name), None)
