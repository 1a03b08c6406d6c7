"""Bundles of evidence: what became of those that nodes were to gather."""

from __future__ import annotations

from dataclasses import replace

from controller import events
from controller.policy.belief import Belief
from controller.policy.incident import Bundle


def ended(belief: Belief, event: events.EvidenceEnded, at: float) -> None:
    """Take in what a node says of a bundle, unless the bundle itself is there."""
    incident = belief.incidents.get(event.incident_id)
    known = incident.bundles.get(event.upload) if incident is not None else None
    if incident is None or incident.node != event.node or (known is not None and known.state == "stored"):
        return
    incident.bundles[event.upload] = Bundle(
        event.upload, event.outcome, event.because, event.size_bytes, event.sha256, at=at
    )


def stored(belief: Belief, event: events.EvidenceStored, at: float) -> None:
    """Note where a bundle is."""
    incident = belief.incidents.get(event.incident_id)
    if incident is not None:
        incident.bundles[event.upload] = Bundle(
            event.upload, "stored", "", event.size_bytes, event.sha256, event.url, at
        )


def removed(belief: Belief, event: events.EvidenceRemoved, at: float) -> None:
    """Note that a bundle is kept no more, and why."""
    incident = belief.incidents.get(event.incident_id)
    if incident is not None and event.upload in incident.bundles:
        incident.bundles[event.upload] = replace(
            incident.bundles[event.upload], state="removed", because=event.because, url="", at=at
        )
