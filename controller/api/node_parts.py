"""The parts of a node as people ask for them: which sits where, since when, who sat there before, what each went
through. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from checks.finding import WORST_FIRST, Finding, Verdict
from controller.api.history_shapes import Occupant, PartShown, PastIncident, RungShown
from controller.api.moments import iso, iso_or_none
from controller.api.rows import natural
from controller.events import Logged, NodeSeen
from controller.policy.belief import Belief
from controller.policy.history import Past
from controller.policy.node_belief import NodeBelief

_GPU = re.compile(r"gpu (?P<index>\d+) (?P<model>.*) serial (?P<serial>\S*) at (?P<place>\S+)")
_PORT = re.compile(r"rdma (?P<model>.*) guid (?P<serial>\S*) firmware (?P<firmware>.*)")
"""Source: agent/status.py writes these texts."""

_RANK = {verdict: rank for rank, verdict in enumerate(WORST_FIRST)}


@dataclass(frozen=True, slots=True)
class _Part:
    kind: str
    device: str
    place: str
    slot: str
    serial: str
    model: str = ""
    firmware: str = ""
    says: str = ""


@dataclass(slots=True)
class _Sat:
    """Somebody in a place: the first word of it, and the last one, or the first of who came after."""

    part: _Part
    first_at: float
    until: float


@dataclass(slots=True)
class _Places:
    """Who sat where, oldest first."""

    by_place: dict[str, list[_Sat]] = field(default_factory=dict)

    def see(self, part: _Part, at: float) -> None:
        sat = self.by_place.setdefault(part.place, [])
        if sat and (sat[-1].part.serial, sat[-1].part.device) == (part.serial, part.device):
            sat[-1].until = at
            return
        if sat:
            sat[-1].until = at
        sat.append(_Sat(part, at, at))


def parts_of(belief: Belief, node: NodeBelief, seen: Iterable[Logged]) -> list[PartShown]:
    """Return a node's parts, those with a name of their own first.

    Args:
        seen: what the log has of the node's facts, oldest first.
    """
    places = _Places()
    for logged in seen:
        if isinstance(logged.event, NodeSeen):
            for part in _named(logged.event.facts.devices.items()):
                places.see(part, logged.at)
    shown = [_shown(belief, node, part, places) for part in _named(node.facts.devices.items())]
    order = {"gpu": 0, "rdma": 1, "other": 2}
    return sorted(shown, key=lambda part: (order[part.kind], natural(part.slot)))


def _named(devices: Iterable[tuple[str, str]]) -> Iterator[_Part]:
    for device, says in devices:
        gpu, port = _GPU.fullmatch(says), _PORT.fullmatch(says)
        if gpu:
            slot = f"GPU {gpu['index']}, PCI {gpu['place']}"
            yield _Part("gpu", device, gpu["place"], slot, gpu["serial"], gpu["model"], says=says)
        elif port:
            yield _Part("rdma", device, device, device, port["serial"], port["model"], port["firmware"], says)
        else:
            yield _Part("other", device, device, device, "", says=says)


def _shown(belief: Belief, node: NodeBelief, part: _Part, places: _Places) -> PartShown:
    standing = [raised.finding for raised in node.findings.values() if _is_about(raised.finding, part)]
    sat = places.by_place.get(part.place, [])
    is_known = bool(sat) and (sat[-1].part.serial, sat[-1].part.device) == (part.serial, part.device)
    before = sat[:-1] if is_known else sat
    return PartShown(
        part.kind,
        part.device,
        part.slot,
        part.serial,
        part.model,
        part.firmware,
        part.says,
        iso_or_none(sat[-1].first_at) if is_known else None,
        _verdict(node, standing),
        len(standing),
        belief.condemned.get(part.serial, "") if part.serial else "",
        _past(belief, node.name, part),
        [_occupant(belief, node.name, each) for each in reversed(before)],
    )


def _is_about(finding: Finding, part: _Part) -> bool:
    names = {part.device, part.place, part.serial} - {""}
    return bool(names & {finding.device, finding.pci, finding.serial})


def _verdict(node: NodeBelief, standing: Sequence[Finding]) -> str:
    if standing:
        return min((finding.verdict for finding in standing), key=_RANK.__getitem__)
    return Verdict.OK if node.presence == "online" else Verdict.UNKNOWN


def _past(belief: Belief, node: str, part: _Part) -> list[PastIncident]:
    """Return what is known under any of a part's names: serial, else its own device name, else its place."""
    names = (part.serial, part.device, f"{node}/{part.device}")
    found = {past.incident_id: past for name in names if name for past in belief.history.of(name)}
    return [_past_incident(past) for past in sorted(found.values(), key=lambda past: -past.opened_at)]


def _past_incident(past: Past) -> PastIncident:
    return PastIncident(
        past.incident_id,
        past.node,
        past.device,
        past.fault_class,
        iso(past.opened_at),
        iso(past.ended_at),
        past.outcome,
        past.because,
        [RungShown(rung.verb, rung.outcome, iso(rung.at), rung.verified) for rung in past.rungs],
    )


def _occupant(belief: Belief, node: str, sat: _Sat) -> Occupant:
    part = sat.part
    return Occupant(part.serial, part.device, iso(sat.first_at), iso(sat.until), _past(belief, node, part))
