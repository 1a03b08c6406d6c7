"""Lemons at the end of the span, by the score that the cell itself goes by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from controller import events
from controller.policy import lemon
from controller.policy.lemon import Failure, Failures, weight_of
from controller.policy.playbook import Mode
from controller.policy.reporting.incidents import is_failure
from controller.policy.reporting.intervals import Between
from controller.policy.reporting.nodes import Node
from controller.policy.reporting.shapes import LemonRow

LEAST_FAILURES = 2
"""Nodes with fewer failures are not listed. Source: our choice; one bad day proves nothing."""

MOST_ROWS = 50


@dataclass(slots=True)
class LemonBook:
    """Failures of the window before now, and on how many nodes each job runs."""

    failures: Failures = field(default_factory=Failures)
    job_nodes: dict[str, int] = field(default_factory=dict)

    def count_jobs(self, before: tuple[str, ...], after: tuple[str, ...]) -> None:
        """The jobs on a node changed."""
        if before == after:
            return
        for job in set(after) - set(before):
            self.job_nodes[job] = self.job_nodes.get(job, 0) + 1
        for job in set(before) - set(after):
            self.job_nodes[job] -= 1
            if not self.job_nodes[job]:
                del self.job_nodes[job]

    def count(
        self, event: events.IncidentOpened | events.IncidentReclassified, node: Node, at: float, *, drill: bool
    ) -> None:
        """Count an incident that says something about its node, from when on it does."""
        if drill or event.playbook.mode is Mode.SHADOW or not is_failure(event.fault_class, event.playbook):
            return
        widest = max((self.job_nodes.get(job, 1) for job in node.jobs), default=1)
        self.failures.add(Failure(node.name, at, weight_of(event.fault_class, widest, event.recurrence)))

    def rows(self, nodes: Mapping[str, Node], began_at: float, now: float) -> list[LemonRow]:
        """Return the nodes that failed repeatedly, the most suspect first."""
        found = []
        for name in self.failures.by_node:
            if name in nodes and len(self.failures.of(name, now)) >= LEAST_FAILURES:
                watched = lemon.exposure(known_since=nodes[name].since, began_at=began_at, nodes=len(nodes), now=now)
                found.append(_row(name, lemon.score(self.failures, name, watched, now)))
        return sorted(found, key=lambda row: (-row.score, row.node))[:MOST_ROWS]


def _row(node: str, found: lemon.Score) -> LemonRow:
    return LemonRow(
        node,
        found.lemon,
        found.is_lemon,
        found.failures,
        found.days,
        found.expected,
        found.ratio,
        Between(found.low, found.high),
    )
