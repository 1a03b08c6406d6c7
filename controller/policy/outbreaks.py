"""Which nodes failed lately, per family of checks and per scope: what tells a shared cause from many single ones."""

from __future__ import annotations

from dataclasses import dataclass, field

from controller.policy.scopes import CHECK_KIND, FLEET, Scope

PLACE_WINDOW_S = 60.0
"""Faults of one switch or one power feed come together. Source: the design's I11, 60 s."""
SUSPECT_WINDOW_S = 600.0
"""A driver or a check is rolled out over minutes, not in one moment. Source: our choice."""
SUSPECT_KINDS = frozenset({"driver", "sku", CHECK_KIND})


def window_s(kind: str) -> float:
    """Return how close together failures must be to have one cause of this kind."""
    return SUSPECT_WINDOW_S if kind in SUSPECT_KINDS else PLACE_WINDOW_S


def family_of(check: str) -> str:
    """Return the family of a check's id, `fabric` for `fabric.rdma_port`."""
    return check.partition(".")[0]


@dataclass(slots=True)
class Outbreaks:
    """A fold over failures; nodes per key are in the order of their newest failure.

    Attributes:
        failing: (family, scope) → node → when it last failed in it.
        totals: (family, window) → the same for the whole fleet.
    """

    failing: dict[tuple[str, Scope], dict[str, float]] = field(default_factory=dict)
    totals: dict[tuple[str, float], dict[str, float]] = field(default_factory=dict)

    def fail(self, node: str, check: str, scopes: tuple[Scope, ...], at: float) -> None:
        """A node failed a check."""
        family = family_of(check)
        for window in (PLACE_WINDOW_S, SUSPECT_WINDOW_S):
            _note(self.totals.setdefault((family, window), {}), node, at, window)
        for scope in (*scopes, Scope(CHECK_KIND, check)):
            if scope != FLEET:
                _note(self.failing.setdefault((family, scope), {}), node, at, window_s(scope.kind))

    def move(self, by: float) -> None:
        """The clock that counts was set by so many seconds."""
        for nodes in (*self.failing.values(), *self.totals.values()):
            nodes.update({node: at + by for node, at in nodes.items()})

    def explain(self, node: str, check: str, scopes: tuple[Scope, ...]) -> None:
        """A node's failure has found its cause: it speaks for no other one."""
        family = family_of(check)
        for window in (PLACE_WINDOW_S, SUSPECT_WINDOW_S):
            self.totals.get((family, window), {}).pop(node, None)
        for scope in (*scopes, Scope(CHECK_KIND, check)):
            self.failing.get((family, scope), {}).pop(node, None)

    def nodes(self, family: str, scope: Scope, now: float) -> list[str]:
        """Return the nodes of a scope that failed within its window, in the order of their failures."""
        known = self.failing.get((family, scope), {})
        return _newer(known, now - window_s(scope.kind))

    def total(self, family: str, kind: str, now: float) -> int:
        """Return how many nodes of the fleet failed within the window of a kind of scope."""
        window = window_s(kind)
        return len(_newer(self.totals.get((family, window), {}), now - window))


def _note(nodes: dict[str, float], node: str, at: float, window: float) -> None:
    nodes.pop(node, None)
    nodes[node] = at
    while nodes[oldest := next(iter(nodes))] < at - window:
        del nodes[oldest]


def _newer(nodes: dict[str, float], after: float) -> list[str]:
    return [name for name, at in nodes.items() if at >= after]
