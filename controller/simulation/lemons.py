"""How soon lemons are named, beside what anybody could know of them.

A lemon is known by its failures alone, and after a month most have failed too seldom to be told from unlucky nodes. So
what the policy names is held to the best that counting could do: somebody who knows every true fault, those that hide
and those that a repair only put off included, and calls a lemon whatever failed often enough.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from controller import events
from controller.events import Logged
from controller.policy.lemon import LEMON_KEY
from controller.simulation.clockwork import EPOCH
from controller.simulation.draws import Draws
from controller.simulation.fleet import Host, fleet_of
from controller.simulation.run import Asked
from controller.simulation.truth import DAY_S, faults_of

HORIZONS_DAYS: Final = (30.0, 60.0, 90.0, 180.0)
"""After so many days it is asked who is named. Source: our choice; what a lemon's failures tell is known by then."""

LEAST_PRECISION: Final = 0.9
"""What somebody who knows the truth may err, too. Source: the aim of the policy's own precision."""


class Horizon(msgspec.Struct, frozen=True):
    """Lemons of a run after so many days.

    Attributes:
        named: nodes that were called lemons until then; `right`: those that are.
        lemons_failed, others_failed: true faults of a node → how many lemons, and other nodes, had as many.
    """

    days: float
    lemons: int
    named: int
    right: int
    lemons_failed: dict[int, int]
    others_failed: dict[int, int]


class Known(msgspec.Struct, frozen=True):
    """Several runs after so many days.

    Attributes:
        precision: of the nodes that were named, `None` when none was.
        recall: of the lemons, `None` without any.
        possible: recall of whoever knows every true fault, at a precision of `LEAST_PRECISION`; `failures`: from so
            many on he calls a node a lemon.
    """

    days: float
    lemons: int
    named: int
    precision: float | None
    recall: float | None
    possible: float | None
    failures: int


class Naming:
    """Hears a simulated cell's log, and keeps when it first called a node a lemon."""

    def __init__(self) -> None:
        """Begin with nobody named."""
        self.named: dict[str, float] = {}

    def hear(self, entry: Logged) -> None:
        """Take one entry in."""
        match entry.event:
            case events.FindingRaised(finding=finding, node=node) if finding.key == LEMON_KEY:
                self.named.setdefault(node, (entry.at - EPOCH) / DAY_S)

    def horizons(self, asked: Asked) -> list[Horizon]:
        """Return how it stood after each of the horizons that the run reached."""
        draws = Draws(asked.seed)
        hosts = fleet_of(asked.placed, asked.model, draws)
        reached = [days for days in HORIZONS_DAYS if days <= asked.days]
        failed = _failures(asked, hosts, draws, reached)
        return [self._after(days, hosts, failed[days]) for days in reached]

    def _after(self, days: float, hosts: Sequence[Host], failed: Counter[str]) -> Horizon:
        lemons = {host.name for host in hosts if host.lemon}
        named = {name for name, day in self.named.items() if day <= days}
        return Horizon(
            days,
            len(lemons),
            len(named),
            len(named & lemons),
            dict(Counter(failed[host.name] for host in hosts if host.lemon)),
            dict(Counter(failed[host.name] for host in hosts if not host.lemon)),
        )


def _failures(asked: Asked, hosts: Sequence[Host], draws: Draws, reached: Sequence[float]) -> dict[float, Counter[str]]:
    """Return how often each node failed by itself, until each horizon."""
    failed: dict[float, Counter[str]] = {days: Counter() for days in reached}
    for fault in faults_of(hosts, asked.model, draws, days=max(reached, default=0.0)):
        if fault.is_nodes_own:
            for days in reached:
                failed[days][fault.nodes[0]] += fault.begins < days * DAY_S
    return failed


def known(runs: Iterable[Horizon]) -> Known:
    """Return what several runs say together of the same horizon."""
    all_of = list(runs)
    lemons, named = sum(each.lemons for each in all_of), sum(each.named for each in all_of)
    right = sum(each.right for each in all_of)
    possible, failures = _possible(all_of, lemons)
    return Known(
        all_of[0].days,
        lemons,
        named,
        right / named if named else None,
        right / lemons if lemons else None,
        possible,
        failures,
    )


def _possible(runs: Sequence[Horizon], lemons: int) -> tuple[float | None, int]:
    """Return the best recall by counting true faults, and from how many on.

    Failures of a node come at a rate of its own, so that their number says all that they say of it: the best
    classifier is a limit on it (Neyman and Pearson). The lowest one whose precision does is taken.
    """
    if not lemons:
        return None, 0
    most = max((count for run in runs for count in run.lemons_failed), default=0)
    for limit in range(1, most + 1):
        right = _from(limit, (run.lemons_failed for run in runs))
        wrong = _from(limit, (run.others_failed for run in runs))
        if right and right / (right + wrong) >= LEAST_PRECISION:
            return right / lemons, limit
    return 0.0, most + 1


def _from(limit: int, failed: Iterable[dict[int, int]]) -> int:
    return sum(nodes for each in failed for count, nodes in each.items() if count >= limit)
