"""Which nodes fail more often than chance explains, though each repair of them succeeds: lemons.

A fleet is believed to have two kinds of nodes, ordinary ones and lemons, each with rates of its own; what a node did in
the window says how probably it is which. A score is a reason to watch a node longer and to propose its removal to
people, never to act on it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from checks.finding import Action, Finding, FindingKey, Verdict
from controller.events import Recurrence
from controller.policy.history import DAY_S
from controller.policy.incident import Incident
from controller.policy.playbook import ADMISSION_CLASS, Mode, Verb
from controller.policy.rates import Kind, Rates

LEMON_KEY = FindingKey("node.lemon", "node", "")

WINDOW_S = 28 * DAY_S
"""Failures older than this are forgiven. Source: Meta's lemon detection, by the fault model."""

PUBLISHED_RATE = 4.0 / 1000.0
"""Failures of a node in a day, before a fleet has a history of its own. Source: the fault model, r_f of GPU fleets
between 2.3 and 6.5 in 1,000 node-days."""

PUBLISHED_DAYS = 1000.0
"""Node-days that the published rate counts for beside the fleet's own. Source: our choice; a fleet of 100 nodes has
outweighed it after ten days."""

LEMONS = 0.012
"""Share of nodes that are lemons. Source: the fault model, Meta."""

LEMON_TIMES = 35.0
"""A lemon fails so many times as often as an ordinary node. Source: the fault model, 20 to 50."""

LEMON_SHAPE = 3.0
"""Of the rates of lemons: nine in ten are between 10 and 73 times the ordinary one. Source: our choice; the fault model
knows of 20 to 50, and of 200 at the extreme."""

ORDINARY_SHAPE = 10.0
"""Of the rates of ordinary nodes: nine in ten are between half of their mean and 1.6 times it. Source: our choice; what
the fault model knows of, age and earlier failures, makes no larger difference for long."""

_MEAN = 1.0 + LEMONS * (LEMON_TIMES - 1.0)

_PRIOR = Rates(
    (
        Kind(1.0 - LEMONS, ORDINARY_SHAPE, 1.0 / (ORDINARY_SHAPE * _MEAN)),
        Kind(LEMONS, LEMON_SHAPE, LEMON_TIMES / (LEMON_SHAPE * _MEAN)),
    )
)
"""What is believed of a node's rate as a multiple of the fleet's before it was watched; its mean is 1. What the fleet
itself shows sets the unit (`PUBLISHED_DAYS`); lemons are too few in a fleet to fit their share and their rate to it."""

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

SAME_FAULT = 0.5
"""What an incident counts for whose part had the same fault before, and a repair that did not last: it may be one fault
that came back, or another one. Source: our choice."""

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
        rates: what is believed of its rate, as a multiple of the fleet's.
        failures: in the window; `weight`: what they count together; `days`: on how many days they were.
        expected: failures that a node of the fleet has in such a time.
    """

    rates: Rates
    failures: int
    weight: float
    days: int
    expected: float

    @property
    def lemon(self) -> float:
        """The probability that its rate is more than `TIMES` the fleet's."""
        return 1.0 - self.rates.below(TIMES)

    @property
    def ratio(self) -> float:
        """Its rate over the fleet's, which is as likely more as less."""
        return self.rates.quantile(0.5)

    @property
    def low(self) -> float:
        """Where the credible interval of the ratio begins."""
        return self.rates.quantile((1.0 - CREDIBLE) / 2.0)

    @property
    def high(self) -> float:
        """Where the credible interval of the ratio ends."""
        return self.rates.quantile((1.0 + CREDIBLE) / 2.0)

    @property
    def is_lemon(self) -> bool:
        """Whether the node is proposed for removal."""
        return self.failures >= LEAST_FAILURES and self.days >= LEAST_DAYS and self.lemon > LEMON_SCORE

    @property
    def is_watched(self) -> bool:
        """Whether the node is watched longer after a repair."""
        return self.failures >= WATCH_FAILURES and self.days >= LEAST_DAYS and self.lemon >= WATCH_SCORE


def expected_ratio(failures: Failures, node: str, watched: Exposure, now: float) -> float:
    """Return a node's expected rate as a multiple of the fleet's."""
    return score(failures, node, watched, now).rates.mean


def score(failures: Failures, node: str, watched: Exposure, now: float) -> Score:
    """Return a node's score. The node's own failures are no part of the fleet's rate."""
    own = failures.of(node, now)
    weight = math.fsum(each.weight for each in own)
    others = max(0.0, failures.weight - weight)
    fleet_rate = (PUBLISHED_RATE * PUBLISHED_DAYS + others) / (PUBLISHED_DAYS + watched.fleet_days)
    expected = fleet_rate * watched.node_days
    days = len({int(each.at // DAY_S) for each in own})
    return Score(_PRIOR.after(weight, expected), len(own), weight, days, expected)


def counts_as_failure(incident: Incident) -> bool:
    """Return whether an incident says something about its node: it takes the node out, and nobody made it so."""
    takes_out = any(step.verb is Verb.CORDON for step in incident.playbook.steps)
    made = incident.drill or incident.fault_class in NOT_FAILURES or incident.playbook.mode is Mode.SHADOW
    return bool(incident.node) and takes_out and not made


def weight_of(fault_class: str, job_nodes: int, recurrence: Recurrence) -> float:
    """Return for how much of a failure an incident counts.

    Args:
        job_nodes: how many nodes the largest job on its node spans.
        recurrence: what the history of its part says.
    """
    shared = 1.0 / max(1, job_nodes) if fault_class in SHARED_CLASSES else 1.0
    return shared * (SAME_FAULT if recurrence.spent or recurrence.strikes else 1.0)


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
