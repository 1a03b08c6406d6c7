"""The reading half of the API: answers from memory, timelines from the log."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

import msgspec

from controller.access.roles import Person, Role
from controller.api import plan, rows, searching, shapes
from controller.api.bundles import bundle_rows
from controller.api.call import Call, known_node
from controller.api.cell_view import CellView
from controller.api.map_shapes import Found
from controller.api.moments import iso_or_none
from controller.api.notice_rows import notice_failure, notice_row
from controller.api.problems import Problem
from controller.api.timeline import entry_of
from controller.events import Logged, incident_of
from controller.manual import address_of
from controller.policy import approvals
from controller.policy.incident import Incident
from controller.policy.node_belief import NodeBelief, health
from controller.policy.offenders import score_of
from controller.policy.places import sources_of
from controller.policy.scopes import NODE_KIND, Scope

RECENT_INCIDENTS = 20
RECENT_ENTRIES = 100
INCIDENT_ENTRIES = 500

STATES = ("open", "closed")


async def status(call: Call) -> shapes.CellStatus:
    """Return the cell at a glance."""
    return cell_status(call.cell)


def cell_status(cell: CellView) -> shapes.CellStatus:
    """Return the cell at a glance."""
    overview = msgspec.convert(cell.overview(), shapes.Overview)
    return rows.cell_status(overview, cell.belief, cell.now())


async def nodes(call: Call) -> list[shapes.NodeRow]:
    """Return every node, n2 before n10; `in` narrows them to those of a place, `leaf=leaf-3`.

    Raises:
        Problem: 422, that is not a kind and a name.
    """
    chosen: Iterable[NodeBelief] = call.cell.belief.nodes.values()
    if asked := call.query.get("in", ""):
        kind, is_pair, name = asked.partition("=")
        if not (kind and is_pair and name):
            raise Problem(422, f"{asked[:80]!r} is not a place", "kind=name, e.g. leaf=leaf-3", field="in")
        chosen = [call.cell.belief.nodes[each] for each in call.cell.belief.residents.get((kind, name), ())]
    known = sorted(chosen, key=lambda node: rows.natural(node.name))
    return [rows.node_row(node, last_seen_s=last_seen_s(call.cell, node.name)) for node in known]


def last_seen_s(cell: CellView, node: str) -> float | None:
    """Return how long ago a node was heard, `None` for never."""
    return rows.seconds_since(cell.last_seen(node), cell.now())


async def node(call: Call) -> shapes.NodeDetail:
    """Return everything about one node."""
    return await node_detail(call.cell, call.node())


async def node_detail(cell: CellView, node: NodeBelief) -> shapes.NodeDetail:
    """Return everything about one node; the timeline's newest entry is last."""
    log = await cell.timeline(node=node.name, limit=RECENT_ENTRIES)
    return shapes.NodeDetail(
        node.name,
        health(node),
        node.schedulable,
        bool(node.hold_id),
        last_seen_s(cell, node.name),
        node.presence,
        iso_or_none(node.presence_since),
        node.boot_id,
        node.hold_id or None,
        iso_or_none(node.held_since),
        node.foreign_reason,
        cell.belief.pauses.get(Scope(NODE_KIND, node.name), ""),
        list(node.jobs),
        rows.places_shown(node),
        sources_of(node.claims),
        rows.facts_shown(node.facts),
        [rows.finding_detail(raised.finding, raised=raised) for raised in node.findings.values()],
        rows.check_rows(node),
        [rows.incident_row(incident) for incident in incidents_of(cell, node.name)],
        timeline_of(cell, log),
        rows.failure_rate(score_of(cell.belief, node.name, cell.now())),
    )


def incidents_of(cell: CellView, node: str) -> list[Incident]:
    """Return a node's newest incidents, newest first."""
    newest = (incident for incident in reversed(cell.belief.incidents.values()) if incident.node == node)
    return list(islice(newest, RECENT_INCIDENTS))


async def incidents(call: Call) -> list[shapes.IncidentRow]:
    """Return incidents, newest first; `state` and `node` narrow them.

    Raises:
        Problem: 422, the state is neither open nor closed; 404, no such node.
    """
    state, node = call.query.get("state", ""), call.query.get("node", "")
    if state and state not in STATES:
        raise Problem(422, f"{state[:40]!r} is no state to ask for", "open or closed", field="state")
    if node:
        known_node(call.cell, node)
    belief = call.cell.belief
    chosen = belief.open_incidents if state == "open" else belief.incidents
    return [
        rows.incident_row(incident)
        for incident in reversed(chosen.values())
        if node in {"", incident.node} and (state != "closed" or incident.closed_at)
    ]


async def incident(call: Call) -> shapes.IncidentDetail:
    """Return everything about one incident."""
    return await incident_detail(call.cell, await call.incident())


async def incident_detail(cell: CellView, incident: Incident) -> shapes.IncidentDetail:
    """Return everything about one incident; the timeline's newest entry is last."""
    log = await cell.timeline(incident_id=incident.id, limit=INCIDENT_ENTRIES)
    return _incident_detail(cell, incident, log)


def _incident_detail(cell: CellView, incident: Incident, log: list[Logged]) -> shapes.IncidentDetail:
    row = rows.incident_row(incident)
    playbook = incident.playbook
    trace_id, trace_url = cell.trace_of(incident.id)
    return shapes.IncidentDetail(
        **msgspec.structs.asdict(row),
        summary=playbook.summary,
        severity=playbook.severity,
        mode=incident.mode,
        phase=incident.phase,
        holding=incident.holding,
        waiting_for=incident.waiting_for or None,
        last_failure=incident.last_failure,
        runbook=playbook.runbook,
        runbook_url=address_of(playbook.runbook),
        playbook_digest=playbook.digest,
        next=plan.next_of(incident, cell.now()),
        acts=plan.possible_acts(incident, cell.belief),
        question=approvals.question(incident),
        approves=approvals.asked(incident),
        findings=_condemning(cell, incident),
        steps=plan.planned_steps(incident, log),
        evidence=dict(incident.evidence),
        timeline=timeline_of(cell, log),
        part=incident.part,
        history=incident.recurrence.because,
        send_back=incident.rma,
        bundles=bundle_rows(incident),
        acknowledged_at=iso_or_none(incident.acknowledged_at),
        notices=[notice_row(thread) for thread in cell.belief.notices.of(incident.id)],
        notice_failures=[notice_failure(*each) for each in cell.belief.notices.troubles_of(incident.id)],
        refusals={act: because for act, because in plan.refusals(incident, cell.belief).items() if because},
        trace_id=trace_id,
        trace_url=trace_url,
    )


def timeline_of(cell: CellView, log: Iterable[Logged]) -> list[shapes.TimelineEntry]:
    """Return log entries for a timeline."""
    return [entry_of(logged, cell.trace_of(incident_of(logged.event))[0]) for logged in log]


def _condemning(cell: CellView, incident: Incident) -> list[shapes.FindingDetail]:
    standing = cell.belief.nodes[incident.node].findings if incident.node else {}
    return [rows.finding_detail(finding, raised=standing.get(key)) for key, finding in incident.condemned_by.items()]


async def me(call: Call) -> shapes.Me:
    """Return who asks, and what they may do."""
    return told_of(call.person)


def told_of(person: Person) -> shapes.Me:
    """Return what a person is told of themselves."""
    had = [role.value for role in Role if role in person.roles]
    return shapes.Me(person.name, had, person.how, [role.value for role in Role if person.may(role)])


async def health_of_controller(_call: Call) -> shapes.Health:
    """Return that the controller answers."""
    return shapes.Health("ok")


async def rollouts(call: Call) -> list[shapes.RolloutShown]:
    """Return every changed playbook that is tried or was stopped, and how its canaries end."""
    return [rows.rollout_shown(call.cell.belief, call.cell.rules, name) for name in call.cell.belief.rollouts.changed]


async def whole_map(call: Call) -> msgspec.Raw:
    """Return every node as the map draws it."""
    return call.cell.fleet_map()


async def search(call: Call) -> list[Found]:
    """Return what has the words of `q`.

    Raises:
        Problem: 422, that is longer than anything has a name.
    """
    asked = call.query.get("q", "")
    if len(asked) > searching.MOST_CHARACTERS:
        most = f"at most {searching.MOST_CHARACTERS} characters"
        raise Problem(422, f"nothing is found by {len(asked)} characters", most, field="q")
    return searching.found(call.cell.belief, asked)
