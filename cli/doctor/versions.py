"""`versions`: whether agents and controller are near enough to understand each other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from cli.client import Unreachable
from cli.doctor.diagnosis import CONTROLLER, Check, Diagnosis, Role, advice, fine, missing
from cli.doctor.patient import Failed, Patient

APART = 2
"""So many minor versions agents and controller may be apart. Source: our promise, docs/how-to/install.md."""

_VERSION = re.compile(r"(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True)
class Versions:
    """Our own version, and version → how many nodes have it.

    Attributes:
        because: why the controller does not say.
        url: where the settings of this host's controller have it answer.
    """

    own: str
    agents: dict[str, int]
    because: str = ""
    url: str = "URL"


def read(patient: Patient) -> Versions:
    """Ask the controller which versions its nodes have."""
    try:
        rows = patient.ask("nodes")
    except Failed as error:
        because = error.fact if isinstance(error, Unreachable) else str(error)
        return Versions(version("fleetmend"), {}, because, _url(patient.documents[Role.CONTROLLER]))
    found = dict[str, int]()
    for row in rows:
        name = row.get("facts", {}).get("agent_version", "")
        if name:
            found[name] = found.get(name, 0) + 1
    return Versions(version("fleetmend"), found)


def _url(document: Mapping[str, Any]) -> str:
    http = document.get("http", {})
    scheme = "https" if http.get("certificate_file") else "http"
    return str(http.get("public_url") or f"{scheme}://{http.get('host', '127.0.0.1')}:{http.get('port', 8642)}")


def judge(facts: Versions) -> Iterator[Diagnosis]:
    """Say which agents are too old or too new."""
    if facts.because:
        authority = "--ca-file FILE " if facts.url.startswith("https:") else ""
        remedy = (
            f"fleetmend {authority}--token-file FILE doctor --url {facts.url}, where the controller asks who one is."
        )
        yield advice(f"The versions of the agents are not known: {facts.because.rstrip('.')}.", remedy)
        return
    others = {name: count for name, count in facts.agents.items() if name != facts.own}
    for name, count in sorted(others.items()):
        nodes = f"{count} node{'' if count == 1 else 's'} run{'s' if count == 1 else ''} {name}"
        if _apart(name, facts.own) > APART:
            yield missing(
                f"{nodes}, too far from {facts.own} of this controller.", "Upgrade them: docs/how-to/install.md"
            )
        else:
            yield advice(f"{nodes}, and this controller {facts.own}.", "That works; upgrade the older when it suits.")
    if not others:
        yield fine(f"Agents and controller are of version {facts.own}.")


def _apart(one: str, other: str) -> int:
    first, second = _VERSION.match(one), _VERSION.match(other)
    if first is None or second is None or first[1] != second[1]:
        return APART + 1
    return abs(int(first[2]) - int(second[2]))


CHECK = Check("versions", "Versions of agents and controller.", CONTROLLER, read, judge, needs_live=True)
