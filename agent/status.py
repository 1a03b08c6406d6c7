"""The node's level: how every check stands, what is raised, and what the node is. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final
from uuid import UUID

import msgspec

from agent.book import Book
from agent.plain_text import plain
from checks.finding import WORST_FIRST, Finding, FindingKey, Verdict
from checks.readings import FabricReading, GpuReading, LldpReading, NvmlReading, RdmaReading
from wire.messages import CheckLevel, NodeFacts, NodeHold, Status
from wire.places import LEAF, NVLINK_DOMAIN, UPLINK

MAX_EVIDENCE_BYTES: Final = 65_536
"""A level whose findings hold more evidence than this leaves it out: the edges carried it, the level must arrive."""

REGISTERED: Final = 3
"""State of a GPU that the NVLink fabric has taken in. Source: nvml.h, NVML_GPU_FABRIC_STATE_COMPLETED."""

_GUID = re.compile(r"(?!0{16})[0-9a-f]{16}", re.ASCII)
_CLUSTER = re.compile(r"(?!0{32})[0-9a-f]{32}", re.ASCII)


NO_MEASURES: Final[Mapping[str, float]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Unsent:
    """What the outbox holds: how many events, and the number of the newest one ever put there in this boot."""

    depth: int
    last_event_seq: int


def build_status(
    book: Book,
    *,
    facts: NodeFacts,
    levels: Mapping[str, CheckLevel],
    unsent: Unsent,
    agent_started_at: float,
    observed_at: float,
    measures: Mapping[str, float] = NO_MEASURES,
    hold: NodeHold | None = None,
    counters: Mapping[str, float] = NO_MEASURES,
) -> Status:
    """Return the whole level of the node at `observed_at` (Unix time)."""
    entries = [book.raised[key] for key in sorted(book.raised)]
    return Status(
        facts=facts,
        findings=_bounded([entry.finding for entry in entries]),
        checks=dict(levels),
        outbox_depth=unsent.depth,
        agent_started_at=agent_started_at,
        observed_at=observed_at,
        raised_at={text_of(entry.finding.key): entry.raised_at for entry in entries},
        last_event_seq=unsent.last_event_seq,
        measures=dict(measures),
        hold=hold,
        counters=dict(counters),
    )


def build_levels(book: Book, checks: Iterable[str], judged_at: Mapping[str, float]) -> dict[str, CheckLevel]:
    """Return how each check stands: the worst it has raised; `unknown` while it never judged a fresh reading."""
    return {check: _level(_worst(book, check), judged_at.get(check, 0.0)) for check in checks}


def learn_gpus(facts: NodeFacts, reading: NvmlReading) -> NodeFacts:
    """Return the facts with what a successful NVML reading says; a failed one changes nothing."""
    if reading.failure:
        return facts
    devices = {device: text for device, text in facts.devices.items() if not text.startswith("gpu ")}
    devices |= {gpu.uuid: _describe(gpu) for gpu in reading.gpus if gpu.uuid}
    return msgspec.structs.replace(
        facts,
        driver_version=reading.driver_version,
        gpu_model=next((gpu.name for gpu in reading.gpus if gpu.name), facts.gpu_model),
        gpu_count=max(len(reading.gpus), len(reading.known_gpus)),
        devices=devices,
        places=_placed(facts, NVLINK_DOMAIN, filter(None, (_domain_of(gpu.fabric) for gpu in reading.gpus))),
    )


def learn_ports(facts: NodeFacts, reading: RdmaReading) -> NodeFacts:
    """Return the facts with the RDMA ports of the reading."""
    devices = {device: text for device, text in facts.devices.items() if not text.startswith("rdma ")}
    devices |= {
        plain(port.name): plain(f"rdma {port.link_layer} guid {port.node_guid} firmware {port.firmware}")
        for port in reading.ports
    }
    guids = {port.node_guid.replace(":", "").lower() for port in reading.ports}
    return msgspec.structs.replace(facts, devices=devices, guids=sorted(filter(_GUID.fullmatch, guids)) or facts.guids)


def learn_switches(facts: NodeFacts, reading: LldpReading) -> NodeFacts:
    """Return the facts with the leaves: the switches of RDMA ports, those of all ports where RDMA ports tell none."""
    rdma = {each.switch for each in reading.neighbours if each.is_rdma}
    others = {each.switch for each in reading.neighbours if not each.is_rdma}
    facts = msgspec.structs.replace(facts, places=_placed(facts, LEAF, rdma or others))
    return msgspec.structs.replace(facts, places=_placed(facts, UPLINK, others)) if rdma else facts


def place(facts: NodeFacts, told: Mapping[str, Iterable[str]]) -> NodeFacts:
    """Return the facts with the places that the node was told, which win over what it learns."""
    places = {**facts.places, **{kind: sorted(names) for kind, names in told.items()}}
    return facts if places == facts.places else msgspec.structs.replace(facts, places=places)


def text_of(key: FindingKey) -> str:
    """Return the key as the level spells it."""
    return f"{key.check}|{key.device}|{key.code}"


def _placed(facts: NodeFacts, kind: str, names: Iterable[str]) -> dict[str, list[str]]:
    """Return the places with these of one kind. What says nothing now, as a fabric that is down, unsays nothing."""
    known = sorted(set(names))
    return {**facts.places, kind: known} if known else facts.places


def _domain_of(fabric: FabricReading | None) -> str:
    """Return `<cluster>.<clique>`, as the label nvidia.com/gpu.clique spells it; empty of a GPU in no domain."""
    if fabric is None or fabric.state != REGISTERED or fabric.status or not _CLUSTER.fullmatch(fabric.cluster_uuid):
        return ""
    return f"{UUID(fabric.cluster_uuid)}.{fabric.clique_id}"


def _describe(gpu: GpuReading) -> str:
    return f"gpu {gpu.index} {gpu.name} serial {gpu.serial} at {gpu.pci}"


def _worst(book: Book, check: str) -> Finding | None:
    findings = [entry.finding for key, entry in sorted(book.raised.items()) if key.check == check]
    return min(findings, key=lambda finding: WORST_FIRST.index(finding.verdict), default=None)


def _level(worst: Finding | None, judged_at: float) -> CheckLevel:
    if worst is not None:
        return CheckLevel(worst.verdict, judged_at, worst.because)
    if judged_at == 0.0:
        return CheckLevel(Verdict.UNKNOWN, 0.0, "no fresh reading was judged yet")
    return CheckLevel(Verdict.OK, judged_at)


def _bounded(findings: list[Finding]) -> list[Finding]:
    size = sum(len(name) + len(text) for finding in findings for name, text in finding.evidence.items())
    if size <= MAX_EVIDENCE_BYTES:
        return findings
    return [replace(finding, evidence={}) for finding in findings]
