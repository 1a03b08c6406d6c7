"""An alert's labels as Alertmanager knows it by, written the way people search for it there. Pure.

Labels are what an alert *is*: another severity or another team makes another alert. So they are taken from the first
notice, they are the reference, and every later word about the alert goes by the reference alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from controller.adapters import Notice
from controller.notices.wording import one_line

MAX_LABEL = 200
PREFIX = "fleetmend_"
UNSAFE = re.compile(r"\W", re.ASCII)
NEEDED = ("alertname", "cell", "incident")
"""The labels that each of our alerts has."""

IDENTITY = (*NEEDED, "class", "node", "severity", "team")
"""The labels by which an alert is looked for: all. A cell that began anew counts its incidents from one again, and what
it left open before is another alert."""

_PAIR = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')
_REFERENCE = re.compile(rf"\{{{_PAIR.pattern}(?:,{_PAIR.pattern})*\}}")

Labels = Mapping[str, str]


def labels_of(notice: Notice, *, cell: str) -> dict[str, str]:
    """Return the labels of a notice: few values each, and none that changes while it is open."""
    labels = {
        "alertname": PREFIX + UNSAFE.sub("_", notice.fault_class),
        "cell": cell,
        "class": notice.fault_class,
        "incident": notice.incident_id,
        "node": notice.node,
        "severity": notice.severity,
        "team": notice.team,
    }
    return {name: one_line(text, MAX_LABEL) for name, text in labels.items() if text}


def reference_of(labels: Labels) -> str:
    """Return labels as matchers, e.g. `{alertname="fleetmend_gpu_lost",incident="inc-000007"}`."""
    return "{" + ",".join(f"{name}={quoted(text)}" for name, text in sorted(labels.items())) + "}"


def labels_in(reference: str) -> dict[str, str]:
    """Return the labels of a reference, nothing when it is none."""
    if not _REFERENCE.fullmatch(reference):
        return {}
    return {name: re.sub(r"\\(.)", r"\1", text) for name, text in _PAIR.findall(reference)}


def quoted(text: str) -> str:
    """Return a value as matchers have it. Source: Alertmanager, "Matcher" (`\\` and `"` are escaped)."""
    return '"' + text.replace("\\", r"\\").replace('"', r"\"") + '"'


def filters_for(many: Iterable[Labels], *, cell: str) -> list[str]:
    """Return matchers that find all these alerts in one request, and few others."""
    incidents = sorted({re.escape(labels.get("incident", "")) for labels in many})
    return [f"cell={quoted(cell)}", f"incident=~{quoted('|'.join(incidents))}"]


def is_whole(labels: Labels) -> bool:
    """Return whether these are the labels of an alert of ours."""
    return all(labels.get(name) for name in NEEDED)


def identity(labels: Labels) -> tuple[str, ...]:
    """Return what no other alert has."""
    return tuple(labels.get(name, "") for name in IDENTITY)
