"""What surrounds an incident: where its node stands, what it is, and what runs on it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from controller.policy.belief import Belief
from controller.policy.incident import Incident
from controller.policy.places import places_of
from wire.messages import NodeFacts

MANY = 5
"""So many jobs, nodes or names of a place are named, the others counted."""

PLACES = ("site", "row", "rack", "pdu", "leaf", "nvlink_domain")
"""What a person walks or looks along, in this order."""

_PORT = re.compile(r"[A-Za-z][\w.-]*/\d{1,3}", re.ASCII)
SEATS = ("slot", "link", "links", "switch", "part", "port_guid")
"""Evidence that says where a part sits, or which one it is; `part` is a cable's. Source: the checks that fill them."""


@dataclass(frozen=True, slots=True)
class Around:
    """What is known around an incident. Nothing of it is needed.

    Attributes:
        places: kind of place → names.
        jobs_unknown: why nobody can tell which jobs run, empty when these are all.
        nodes: of an incident of a domain or of the fleet, the nodes it is about.
    """

    facts: NodeFacts = field(default_factory=NodeFacts)
    places: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    jobs: tuple[str, ...] = ()
    jobs_unknown: str = ""
    nodes: tuple[str, ...] = ()


def around(belief: Belief, incident: Incident) -> Around:
    """Return what the cell believes around an incident."""
    members = tuple(sorted(incident.members))
    node = belief.nodes.get(incident.node)
    if node is None:
        jobs = sorted({job for name in members if name in belief.nodes for job in belief.nodes[name].jobs})
        return Around(jobs=tuple(jobs), nodes=members)
    return Around(node.facts, places_of(node), node.jobs, node.jobs_unknown, members)


def where_of(incident: Incident, known: Around) -> str:
    """Return the way to what is broken, from the building to the part; empty for what has no place."""
    if not incident.node:
        return f"{len(known.nodes)} nodes: {some(known.nodes)}" if known.nodes else ""
    words = [f"{kind.replace('_', ' ')} {some(known.places[kind])}" for kind in PLACES if known.places.get(kind)]
    serial = f" (serial {known.facts.serial})" if known.facts.serial else ""
    words.append(f"node {incident.node}{serial}")
    device = known.facts.devices.get(incident.device, "")
    words += [f"{name} {text}" for name, text in seats_of(incident).items() if text not in device.split()]
    return ", ".join([*words, f"{incident.device}{f' ({device})' if device else ''}"] if incident.device else words)


def seats_of(incident: Incident) -> dict[str, str]:
    """Return where in the node the part sits, and which it is: `pci`, `slot`, `port`, `cable`, `serial`, ..."""
    findings = list(incident.condemned_by.values())
    said: dict[str, set[str]] = {"pci": {f.pci for f in findings}}
    for name in SEATS:
        said[name] = {f.evidence.get(name, "") for f in findings}
    said["port"] = {f.device for f in findings if _PORT.fullmatch(f.device)}
    said["cable"] = {f.serial for f in findings if f.check == "fabric.cable"}
    said["serial"] = {f.serial for f in findings if f.check != "fabric.cable"}
    return {name: some(sorted(filter(None, texts))) for name, texts in said.items() if any(texts)}


def facts_of(incident: Incident, known: Around) -> dict[str, str]:
    """Return all of it as name → text, for systems that have fields."""
    facts = seats_of(incident)
    facts |= {kind: ", ".join(names) for kind, names in known.places.items() if kind in PLACES}
    facts |= {"node_serial": known.facts.serial, "model": known.facts.gpu_model, "jobs": ", ".join(known.jobs)}
    facts |= {"playbook": incident.playbook.name, "rma": incident.part if incident.rma else ""}
    return {name: text for name, text in facts.items() if text}


def impact_of(incident: Incident, known: Around) -> str:
    """Return whom it hurts, as far as the scheduler says."""
    where = f"on {incident.node}" if incident.node else "on these nodes"
    if known.jobs:
        count = f"{len(known.jobs)} job runs" if len(known.jobs) == 1 else f"{len(known.jobs)} jobs run"
        return f"{count} {where}: {some(known.jobs)}."
    if known.jobs_unknown:
        return f"Nobody can tell which jobs run {where}: {known.jobs_unknown}"
    return f"No job runs {where}." if incident.node else ""


def some(names: Iterable[str]) -> str:
    """Return the first names, and how many others there are."""
    every = list(names)
    rest = f" and {len(every) - MANY} more" if len(every) > MANY else ""
    return ", ".join(every[:MANY]) + rest
