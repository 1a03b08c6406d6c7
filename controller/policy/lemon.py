"""Which nodes fail more often than chance explains, though each repair of them succeeds: lemons.

The rate of a node's failures is believed to be gamma-distributed over the fleet; what the node did in the window turns
that prior into its posterior. A score is a reason to watch a node longer and to propose its removal to people, never to
act on it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from checks.finding import Action, Finding, FindingKey, Verdict
from controller.policy import gamma
from controller.policy.history import DAY_S
from controller.policy.incident import Incident
from controller.policy.playbook import ADMISSION_CLASS, Mode, Verb

LEMON_KEY = FindingKey("node.lemon", "node", "")

WINDOW_S = 28 * DAY_S
"""Failures older than this are forgiven. Source: Meta's lemon detection, by the fault model."""

PUBLISHED_RATE = 4.0 / 1000.0
"""Failures of a node in a day, before a fleet has a history of its own. Source: the fault model, r_f of GPU fleets
between 2.3 and 6.5 in 1,000 node-days."""

PUBLISHED_DAYS = 1000.0
"""Node-days that the published rate counts for beside the fleet's own. Source: our choice; a fleet of 100 nodes has
outweighed it after ten days."""

SHAPE = 0.15
"""Of the prior. Source: moments of the fault model's fleet, 1.2 % of whose nodes fail 35 times as often as the others:
the variance is 6.9 times the squared mean."""

TIMES = 5.0
"""A lemon fails more than so many times as often as the fleet. Source: the fault model."""

LEMON_SCORE = 0.95
"""Probability from which a node is called a lemon. Source: the fault model."""

WATCH_SCORE = 0.5
WATCH_FAILURES = 2
"""Probability, and failures, from which a node is watched longer. Source: our choice; more likely than not, and never
for the one bad day that every node may have."""

LEAST_FAILURES = 3
LEAST_DAYS = 2
"""A lemon has at least so many failures on so many days: one bad afternoon proves nothing. Source: the fault model."""

CREDIBLE = 0.9
"""Share of the posterior that the interval holds, shown to people. Source: our choice."""

FAILURES_KEPT = 50_000
"""Of the cell, newest first. Source: our choice; 100,000 nodes have 11,200 in the window at the published rate."""

SHARED_CLASSES = frozenset({"rdma_link", "rdma_flap", "rdma_port", "storage_server", "fabric_configuration", "site"})
"""Classes whose cause may be the far end of a cable, a server or the job: on a node whose job spans k nodes one such
incident counts 1/k, for big jobs touch many nodes. Source: Meta, by the fault model."""

NOT_FAILURES = frozenset({"operator", LEMON_KEY.check.replace(".", "_"), ADMISSION_CLASS})
"""Incidents that people or this score itself began."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One incident that took the node out, and for how much of one it counts."""

    node: str
    at: float
    weight: float


@dataclass(slots=True)
class Failures:
    """The failures of the window, by node and of the whole cell. `weight`: their sum."""

    by_node: dict[str, list[Failure]] = field(default_factory=dict)
    recent: list[Failure] = field(default_factory=list)
    weight: float = 0.0

    def add(self, failure: Failure) -> None:
        """Count one more; what has left the window is forgotten."""
        self.recent.append(failure)
        self.by_node.setdefault(failure.node, []).append(failure)
        self.weight += failure.weight
        while self.recent[0].at < failure.at - WINDOW_S or len(self.recent) > FAILURES_KEPT:
            self._forget(self.recent.pop(0))

    def _forget(self, failure: Failure) -> None:
        self.weight = max(0.0, self.weight - failure.weight) if self.recent else 0.0
        of_node = self.by_node[failure.node]
        of_node.pop(0)
        if not of_node:
            del self.by_node[failure.node]

    def of(self, node: str, now: float) -> list[Failure]:
        """Return a node's failures in the window, oldest first."""
        return [each for each in self.by_node.get(node, ()) if each.at >= now - WINDOW_S]


@dataclass(frozen=True, slots=True)
class Exposure:
    """For how long it was watched: the node and the other nodes of the cell, in node-days within the window."""

    node_days: float
    fleet_days: float


def exposure(*, known_since: float, began_at: float, nodes: int, now: float) -> Exposure:
    """Return the exposure of a node and of the others, each of which counts as known since the log began."""
    others = max(0, nodes - 1) * min(WINDOW_S, max(0.0, now - began_at))
    return Exposure(min(WINDOW_S, max(0.0, now - known_since)) / DAY_S, others / DAY_S)


@dataclass(frozen=True, slots=True)
class Score:
    """How a node's rate of failures stands to the fleet's.

    Attributes:
        lemon: probability that it is more than `TIMES` the fleet's.
        ratio, low, high: its rate over the fleet's, with the ends of the credible interval.
        failures: in the window; `weight`: what they count together; `days`: on how many days they were.
        expected: failures that a node of the fleet has in such a time.
    """

    lemon: float
    ratio: float
    low: float
    high: float
    failures: int
    weight: float
    days: int
    expected: float

    @property
    def is_lemon(self) -> bool:
        """Whether the node is proposed for removal."""
        return self.lemon > LEMON_SCORE and self.failures >= LEAST_FAILURES and self.days >= LEAST_DAYS

    @property
    def is_watched(self) -> bool:
        """Whether the node is watched longer after a repair."""
        return self.lemon >= WATCH_SCORE and self.failures >= WATCH_FAILURES and self.days >= LEAST_DAYS


def ratio(failures: Failures, node: str, watched: Exposure, now: float) -> float:
    """Return a node's expected rate as a multiple of the fleet's, without the cost of a whole score."""
    weight = math.fsum(each.weight for each in failures.of(node, now))
    shape, unit, _ = _posterior(failures, weight, watched)
    return shape * unit


def _posterior(failures: Failures, weight: float, watched: Exposure) -> tuple[float, float, float]:
    """Return shape and scale of a node's rate over the fleet's, and the fleet's rate, to which it adds nothing."""
    others = max(0.0, failures.weight - weight)
    fleet_rate = (PUBLISHED_RATE * PUBLISHED_DAYS + others) / (PUBLISHED_DAYS + watched.fleet_days)
    days = SHAPE / fleet_rate + watched.node_days
    return SHAPE + weight, 1.0 / (days * fleet_rate), fleet_rate


def score(failures: Failures, node: str, watched: Exposure, now: float) -> Score:
    """Return a node's score. The node's own failures are no part of the fleet's rate."""
    own = failures.of(node, now)
    weight = math.fsum(each.weight for each in own)
    shape, unit, fleet_rate = _posterior(failures, weight, watched)
    tail = (1.0 - CREDIBLE) / 2.0
    return Score(
        lemon=1.0 - gamma.below(shape, TIMES / unit),
        ratio=shape * unit,
        low=gamma.quantile(shape, tail) * unit,
        high=gamma.quantile(shape, 1.0 - tail) * unit,
        failures=len(own),
        weight=weight,
        days=len({int(each.at // DAY_S) for each in own}),
        expected=fleet_rate * watched.node_days,
    )


def counts_as_failure(incident: Incident) -> bool:
    """Return whether an incident says something about its node: it takes the node out, and nobody made it so."""
    takes_out = any(step.verb is Verb.CORDON for step in incident.playbook.steps)
    made = incident.drill or incident.fault_class in NOT_FAILURES or incident.playbook.mode is Mode.SHADOW
    return bool(incident.node) and takes_out and not made


def weight_of(fault_class: str, job_nodes: int) -> float:
    """Return for how much of a failure an incident counts on a node whose largest job spans so many nodes."""
    return 1.0 / max(1, job_nodes) if fault_class in SHARED_CLASSES else 1.0


def finding_of(node: str, serial: str, found: Score) -> Finding:
    """Return the finding about a lemon."""
    return Finding(
        LEMON_KEY.check,
        LEMON_KEY.device,
        LEMON_KEY.code,
        Verdict.DEGRADED,
        Action.CONTACT_SUPPORT,
        f"{node} was taken out {found.failures} times on {found.days} days of the last {WINDOW_S / DAY_S:.0f}, where "
        f"{found.expected:.2g} are usual: {say_ratio(found)}.",
        serial=serial,
        evidence={"score": f"{found.lemon:.3f}", "weight": f"{found.weight:.2f}", "ratio": f"{found.ratio:.1f}"},
    )


def say_ratio(found: Score) -> str:
    """Return how often it fails compared with the fleet, as people read it."""
    return f"{found.ratio:.1f} times the fleet's rate ({CREDIBLE:.0%} between {found.low:.1f} and {found.high:.1f})"
