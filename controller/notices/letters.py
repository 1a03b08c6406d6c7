"""The letters that destinations get of an incident: the first one, one that stands for a storm, and what is new."""

from __future__ import annotations

from dataclasses import replace

from controller.adapters import Notice
from controller.events import Reason, StepIntended
from controller.notices.around import around
from controller.notices.text import MAX_TITLE, notice_for
from controller.policy.belief import Belief
from controller.policy.incident import Incident
from controller.policy.noticing.book import Thread
from controller.policy.noticing.due import Due
from controller.policy.noticing.filing import Filing
from controller.policy.noticing.storms import how_many, where
from controller.rma import bundle_of


def first_letter(belief: Belief, filing: Filing, intent: StepIntended, *, key: str, at: float, page_url: str) -> Notice:
    """Return the notice that is filed for an incident."""
    incident = belief.incidents[intent.incident_id]
    notice = _said(belief, incident, intent, at=at, page_url=page_url)
    addressed = replace(
        notice,
        key=key,
        team=intent.parameters.get("team", ""),
        subject=filing.subject,
        follows=filing.follows,
        incidents=[incident.id],
        acknowledged_by=incident.acknowledged_by,
    )
    return _for_storm(belief, addressed, incident, filing.group, page_url) if filing.group else addressed


def _for_storm(belief: Belief, notice: Notice, incident: Incident, group: str, page_url: str) -> Notice:
    """Return the notice with what a storm is said by before what the newest incident says."""
    title = f"Many at once: {incident.fault_class}{where(belief, [incident])}, as several before it"
    url = f"{page_url}/incidents"
    lines = [
        f"What: pages of {group} come faster than they can be read one by one.",
        "Next: this page stands for all that follow, and how many they are is told here.",
        f"All of them: {url}",
        "The newest of them:",
        notice.body,
    ]
    return replace(notice, title=title[:MAX_TITLE], body="\n".join(lines), url=url)


def news_letter(belief: Belief, thread: Thread, due: Due, *, at: float, page_url: str) -> Notice:
    """Return what is new about a notice, or what came of it."""
    incident = belief.incidents.get(due.incident_id)
    if incident is None:
        base = _of_thread(thread, due, at, page_url)
    else:
        base = _again(belief, thread, incident, due, at, page_url)
    if thread.group:
        base = replace(base, title=_storm_title(belief, thread), url=f"{page_url}/incidents")
    return replace(
        base,
        team=thread.team,
        severity=thread.severity,
        subject=thread.subject,
        news=due.news,
        incidents=list(thread.incidents),
        follows=thread.follows,
        acknowledged_by=thread.acknowledged_by,
    )


def _again(belief: Belief, thread: Thread, incident: Incident, due: Due, at: float, page_url: str) -> Notice:
    intent = intent_like(incident, thread.kind, key=due.key, team=thread.team, severity=thread.severity)
    return _said(belief, incident, intent, at=at, page_url=page_url)


def _said(belief: Belief, incident: Incident, intent: StepIntended, *, at: float, page_url: str) -> Notice:
    rma, known = bundle_of(belief, incident), around(belief, incident)
    return notice_for(incident, intent, at=at, page_url=page_url, rma=rma, known=known)


def _storm_title(belief: Belief, thread: Thread) -> str:
    incidents = [belief.incidents[each] for each in thread.incidents if each in belief.incidents]
    return f"{len(thread.incidents)} at once: {how_many(incidents)}{where(belief, incidents)}"[:MAX_TITLE]


def _of_thread(thread: Thread, due: Due, at: float, page_url: str) -> Notice:
    """Return what is left of a notice whose incident is so old that only the log has it."""
    return Notice(
        due.key,
        thread.kind,
        due.incident_id,
        "",
        "",
        thread.subject.rpartition(" ")[2],
        thread.severity,
        thread.title,
        due.news,
        at,
        url=f"{page_url}/incidents/{due.incident_id}",
    )


def intent_like(incident: Incident, kind: str, *, key: str, team: str, severity: str) -> StepIntended:
    """Return the intent of a step that would file such a notice now."""
    parameters = {name: value for name, value in {"team": team, "severity": severity}.items() if value}
    return StepIntended(
        incident.id,
        incident.phase,
        kind,
        kind,
        1,
        key,
        incident.node,
        incident.device,
        parameters,
        0.0,
        Reason(incident.because),
    )
