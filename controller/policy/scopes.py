"""What budgets, breakers, pauses and freezes speak of: the fleet, a place, or what judged and answers.

A node is in several scopes at once: its rack, each of its leaf switches, its jobs. An incident adds the checks that
condemned the node and the playbook that answers.
"""

from __future__ import annotations

from dataclasses import dataclass

FLEET_KIND = "fleet"
NODE_KIND = "node"
CHECK_KIND = "check"
PLAYBOOK_KIND = "playbook"

KINDS = (
    FLEET_KIND,
    "pool",
    "rack",
    "leaf",
    "nvlink_domain",
    "job",
    "sku",
    "driver",
    CHECK_KIND,
    PLAYBOOK_KIND,
    NODE_KIND,
    "site",
    "row",
    "pdu",
)
"""Kinds that rules may speak of."""

PLACES_OF_NODES = frozenset({NODE_KIND, "rack", "leaf", "nvlink_domain", "job", "row", "pdu", "pool"})
"""Kinds of which one is a part of the fleet. A site, a driver, a SKU, a check or a playbook may be all of it."""

KINDS_OF_INCIDENTS = frozenset({CHECK_KIND, PLAYBOOK_KIND})
"""Kinds that come from the incident and not from where the node stands; a share of them is a share of the fleet."""


@dataclass(frozen=True, slots=True, order=True)
class Scope:
    """One rack, one pool, one check; `name` is empty for the fleet, and in a rule for each scope of the kind."""

    kind: str
    name: str = ""

    def __str__(self) -> str:
        """Return the scope as people write it: `fleet`, `rack=r12`, or a node's bare name."""
        if self.kind == NODE_KIND:
            return self.name
        return f"{self.kind}={self.name}" if self.name else self.kind

    @property
    def words(self) -> str:
        """The scope in a sentence: `the fleet`, `rack r12`, `n1`."""
        if self.kind == NODE_KIND:
            return self.name
        return "the fleet" if self.kind == FLEET_KIND else f"{self.kind.replace('_', ' ')} {self.name}"

    def covers(self, other: Scope) -> bool:
        """Return whether a rule for this scope holds for the other: the same one, or any of its kind."""
        return self.kind == other.kind and self.name in {"", other.name}


FLEET = Scope(FLEET_KIND)


def parse(text: str) -> Scope:
    """Return the scope that a person wrote: `fleet` or nothing, `kind=name`, or the name of a node."""
    if text in {"", FLEET_KIND}:
        return FLEET
    kind, separator, name = text.partition("=")
    return Scope(kind, name) if separator else Scope(NODE_KIND, text)
