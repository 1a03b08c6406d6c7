"""The node's level: how every check stands, what is raised, and what the node is. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

import msgspec

from agent.book import Book
from agent.plain_text import plain
from checks.finding import WORST_FIRST, Finding, FindingKey, Verdict
from checks.readings import GpuReading, NvmlReading, RdmaReading
from wire.messages import CheckLevel, NodeFacts, Status

MAX_EVIDENCE_BYTES: Final = 65_536
"""A level whose findings hold more evidence than this leaves it out: the edges carried it, the level must arrive."""


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
    )


def learn_ports(facts: NodeFacts, reading: RdmaReading) -> NodeFacts:
    """Return the facts with the RDMA ports of the reading."""
    devices = {device: text for device, text in facts.devices.items() if not text.startswith("rdma ")}
    devices |= {
        plain(port.name): plain(f"rdma {port.link_layer} guid {port.node_guid} firmware {port.firmware}")
        for port in reading.ports
    }
    return msgspec.structs.replace(facts, devices=devices)


def text_of(key: FindingKey) -> str:
    """Return the key as the level spells it."""
    return f"{key.check}|{key.device}|{key.code}"


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
