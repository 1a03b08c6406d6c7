"""What a notice is about, whatever the incident: the part, else node and device, and the fault class."""

from __future__ import annotations

from controller.policy.incident import Incident
from controller.policy.playbook import Verb


def subject_of(incident: Incident) -> str:
    """Return what there is one open notice for at each destination."""
    where = incident.part or "/".join(filter(None, (incident.node, incident.device)))
    return f"{where} {incident.fault_class}"


def team_of(incident: Incident, parameters: dict[str, str]) -> str:
    """Return who gets a notice: the team that its step names, else that of the playbook's ticket."""
    steps = (*incident.playbook.hand_over, *incident.playbook.steps)
    tickets = (step.parameters.get("team", "") for step in steps if step.verb is Verb.TICKET)
    return parameters.get("team", "") or next(filter(None, tickets), "")
