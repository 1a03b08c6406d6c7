"""What is out of service now and what was taken out lately, counted per scope: what budgets and breakers go by."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field

from controller.policy.scopes import Scope

KEPT_S = 24 * 3600.0
"""How long a node that was taken out is remembered for rates; no breaker's window may be longer."""


@dataclass(slots=True)
class ScopeLedger:
    """A fold: it is told what happened and never asks.

    Attributes:
        held_in: scope → the nodes of it that are held out.
        scopes_held: held node → the scopes it was counted in, so that it leaves the same ones.
        taken: scope → when nodes were taken out of it, oldest first.
    """

    held_in: dict[Scope, set[str]] = field(default_factory=dict)
    scopes_held: dict[str, tuple[Scope, ...]] = field(default_factory=dict)
    taken: dict[Scope, list[float]] = field(default_factory=dict)

    def hold(self, node: str, scopes: tuple[Scope, ...]) -> None:
        """Count a node in exactly these scopes; in none when it is held out no more."""
        before = self.scopes_held.get(node, ())
        if before == scopes:
            return
        for scope in before:
            self._leave(scope, node)
        for scope in scopes:
            self.held_in.setdefault(scope, set()).add(node)
        if scopes:
            self.scopes_held[node] = scopes
        else:
            del self.scopes_held[node]

    def _leave(self, scope: Scope, node: str) -> None:
        held = self.held_in[scope]
        held.discard(node)
        if not held:
            del self.held_in[scope]

    def take(self, scopes: tuple[Scope, ...], at: float) -> None:
        """A node is being taken out of these scopes."""
        for scope in scopes:
            times = self.taken.setdefault(scope, [])
            times.append(at)
            del times[: bisect_left(times, at - KEPT_S)]

    def move(self, by: float) -> None:
        """The clock that counts was set by so many seconds."""
        self.taken = {scope: [at + by for at in times] for scope, times in self.taken.items()}

    def forget(self, scope: Scope) -> None:
        """What was taken out of a scope before is settled: its breaker closed."""
        self.taken.pop(scope, None)

    def taken_since(self, scope: Scope, after: float) -> int:
        """Return how many nodes were taken out of a scope after a moment."""
        times = self.taken.get(scope, [])
        return len(times) - bisect_right(times, after)
