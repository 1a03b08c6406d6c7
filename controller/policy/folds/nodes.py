"""What nodes say of themselves, and what others say of them: what they are, where they stand, whether they live."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from controller import events
from controller.policy import places
from controller.policy.belief import Belief
from controller.policy.folds import admissions, holds
from controller.policy.node_belief import NodeBelief
from controller.policy.parts import seats
from controller.policy.playbook import Verb
from controller.policy.scopes import FLEET, NODE_KIND, Scope

PAST_BOOTS_KEPT = 4
"""Source: our choice; a start that comes later than the fourth after it is healed by the next level alone."""


def seen(belief: Belief, event: events.NodeSeen, at: float) -> None:
    """Take in what a node is."""
    node = belief.node(event.node)
    admissions.seen(belief, node, event, at)
    with _moving(belief, node):
        node.boot_id, node.facts = event.boot_id, event.facts
        _claim(node, places.ITSELF, event.facts.places)
    if belief.condemned:
        here = {seat.device: seat for seat in seats(event.facts) if seat.serial in belief.condemned}
        if here or event.node in belief.condemned_seen:
            belief.condemned_seen[event.node] = here


def placed(belief: Belief, event: events.NodePlaced, _at: float) -> None:
    """Take in where one source says that a node stands."""
    node = belief.node(event.node)
    with _moving(belief, node):
        _claim(node, event.source, event.places)


def agent_started(belief: Belief, event: events.AgentStarted, at: float) -> None:
    """Take in a start of the agent; one of a boot that is over comes late."""
    node = belief.node(event.node)
    if event.rebooted and event.previous_boot_id != event.boot_id:
        node.past_boots = (*node.past_boots, event.previous_boot_id)[-PAST_BOOTS_KEPT:]
    if event.boot_id in node.past_boots:
        return
    node.boot_id, node.agent_started_at = event.boot_id, at
    if event.rebooted:
        node.rebooted_at = at


def told_unknown(belief: Belief, event: events.AgentToldUnknown, _at: float) -> None:
    """Take in that a node told something; what it was is for the version that can read it."""
    belief.node(event.node)


def presence_changed(belief: Belief, event: events.PresenceChanged, at: float) -> None:
    """Take in whether the agent is heard."""
    node = belief.node(event.node)
    node.presence, node.presence_since = event.state, at
    if event.state in {"lost", "silent"}:
        belief.silent.setdefault(event.node, at)
    else:
        belief.silent.pop(event.node, None)
        node.power = node.power_because = ""
        node.reached_by = node.unreached_by = ()
    count_silence(belief, event.node)


def bmc_observed(belief: Belief, event: events.BmcObserved, _at: float) -> None:
    """Take in what a BMC says of a silent node. A node that is heard again meanwhile speaks for itself."""
    if event.node in belief.silent:
        node = belief.node(event.node)
        node.power, node.power_because = event.power, event.because


def peers_observed(belief: Belief, event: events.PeersObserved, _at: float) -> None:
    """Take in who reaches a silent node. One that is heard again meanwhile speaks for itself."""
    if event.node in belief.silent:
        node = belief.node(event.node)
        node.reached_by, node.unreached_by = tuple(event.reached_by), tuple(event.unreached_by)


def levels_changed(belief: Belief, event: events.CheckLevelsChanged, _at: float) -> None:
    """Take in how the checks stand."""
    belief.node(event.node).checks = dict(event.checks)


def schedule_observed(belief: Belief, event: events.ScheduleObserved, _at: float) -> None:
    """Take in how the scheduler sees a node; a hold of ours that is gone was taken by a person (I5)."""
    node = belief.node(event.node)
    if event.observed_at < node.hold_changed_at:
        return
    node.schedulable, node.foreign_reason = event.schedulable, event.foreign_reason
    node.responding, node.jobs_unknown = event.responding, event.jobs_unknown
    _count_jobs(belief, node.jobs, event.jobs)
    with _moving(belief, node):
        node.jobs, node.schedule_observed_at = tuple(event.jobs), event.observed_at
    if node.held_since and event.held_by != node.hold_id and not _uncordoning(belief, event.node):
        for incident in belief.open_on(event.node):
            holds.lose(incident, event.foreign_reason)


def drill_started(belief: Belief, event: events.DrillStarted, at: float) -> None:
    """What a drill breaks is found like any fault; it only says nothing about the part."""
    belief.node(event.node).drilled_at = at


@contextlib.contextmanager
def _moving(belief: Belief, node: NodeBelief) -> Iterator[None]:
    """Keep the index of residents true over a change of a node's places, facts or jobs."""
    before = places.places_of(node)
    yield
    after = places.places_of(node)
    if before == after:
        return
    places.move(belief.residents, node.name, before=before, after=after)
    standing = (Scope(kind, name) for kind, names in after.items() for name in names)
    node.scopes = (FLEET, Scope(NODE_KIND, node.name), *standing)


def _count_jobs(belief: Belief, before: Iterable[str], after: Iterable[str]) -> None:
    for job in set(after) - set(before):
        belief.job_nodes[job] = belief.job_nodes.get(job, 0) + 1
    for job in set(before) - set(after):
        belief.job_nodes[job] -= 1
        if not belief.job_nodes[job]:
            del belief.job_nodes[job]


def _uncordoning(belief: Belief, node: str) -> bool:
    """Our own uncordon is under way: the scheduler may show its effect before the engine says so."""
    return any(i.intent is not None and i.intent.verb == Verb.UNCORDON for i in belief.open_on(node))


def count_silence(belief: Belief, name: str) -> None:
    """Keep the index of silent nodes for which no finding stands yet."""
    if name in belief.silent and name not in belief.agents_lost:
        belief.unreported[name] = belief.silent[name]
    else:
        belief.unreported.pop(name, None)


def _claim(node: NodeBelief, source: str, claim: dict[str, list[str]]) -> None:
    kept = places.claimed(claim)
    if kept == node.claims.get(source, {}):
        return
    node.claims.pop(source, None)
    if kept:
        node.claims[source] = kept
    node.places = places.merged(node.claims)
