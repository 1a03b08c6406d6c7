"""The bundle that goes with a part which is sent back: who it is, where it was, and everything it did."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from checks.finding import Finding
from controller.adapters import PastIncident, RmaBundle
from controller.policy.belief import Belief
from controller.policy.history import Past, say_rung
from controller.policy.incident import Incident, Rung
from wire.messages import NodeFacts


def bundle_of(belief: Belief, incident: Incident) -> RmaBundle | None:
    """Return the bundle of an incident whose part is to be sent back, `None` for any other."""
    if not incident.rma:
        return None
    facts = belief.nodes[incident.node].facts
    findings = list(incident.condemned_by.values())
    return RmaBundle(
        because=incident.rma,
        part=incident.part,
        node=incident.node,
        node_serial=facts.serial,
        device=incident.device,
        pci=next((finding.pci for finding in findings if finding.pci), ""),
        model=facts.gpu_model if incident.device.startswith("GPU-") else "",
        description=facts.devices.get(incident.device, ""),
        fault_class=incident.fault_class,
        versions=dict(_versions(facts)),
        incidents=[_told(past) for past in belief.history.of(incident.part)],
        evidence={**_readings(findings), **incident.evidence},
        bundles=[bundle.url for bundle in incident.bundles.values() if bundle.state == "stored"],
    )


def _versions(facts: NodeFacts) -> Iterator[tuple[str, str]]:
    versions = {"driver": facts.driver_version, "kernel": facts.kernel, "agent": facts.agent_version}
    yield from ((name, version) for name, version in versions.items() if version)


def _readings(findings: list[Finding]) -> dict[str, str]:
    """Return what each finding said and the values it went by."""
    return {
        f"{finding.check} {finding.code}".strip(): "; ".join(
            [finding.because, *(f"{name}={value}" for name, value in finding.evidence.items())]
        )
        for finding in findings
    }


def _told(past: Past) -> PastIncident:
    return PastIncident(
        past.incident_id,
        past.node,
        past.device,
        past.fault_class,
        _iso(past.opened_at),
        _iso(past.ended_at),
        past.outcome,
        past.because,
        [_repair(rung) for rung in past.rungs],
    )


def _repair(rung: Rung) -> str:
    proof = "verified" if rung.verified else "not verified"
    return f"{say_rung(rung)} on {_iso(rung.at)}: {rung.outcome}, {proof}"


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
