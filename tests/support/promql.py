"""Which metrics and labels our alert rules and dashboards speak of, read from their texts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML

from agent.metrics.catalogue import METRICS as OF_AGENTS
from controller.metrics.catalogue import METRICS as OF_CONTROLLERS
from tests.support.checkout import ROOT
from wire.metrics import PROCESS_METRICS, Kind, Metric

ALERTS = ROOT / "monitoring" / "alerts.yaml"
DASHBOARDS = sorted((ROOT / "monitoring" / "dashboards").glob("*.json"))

DECLARED: dict[str, Metric] = {
    name: metric for metric in (*OF_CONTROLLERS, *OF_AGENTS, *PROCESS_METRICS) for name in metric.sample_names
}
OF_TARGETS = frozenset({"cell", "job", "instance"})
"""Labels that the scrape gives, as docs/how-to/metrics.md has it."""

OF_PROMETHEUS = frozenset({"up", "scrape_duration_seconds"})

_NAME = re.compile(r"\b(?:fleetmend|process|scrape|up)(?:_[a-z_]+)?\b")
_SELECTOR = re.compile(r"([a-z_]+)\{([^}]*)\}")
_MATCHER = re.compile(r"([a-z_]+)\s*(?:=~|!~|!=|=)")
_GROUPED = re.compile(r"\b(?:by|on)\s*\(([^)]*)\)")
_LEGEND = re.compile(r"\{\{(\w+)\}\}")
_QUOTED = re.compile(r'"[^"]*"')


@dataclass(frozen=True, slots=True)
class Asked:
    """One expression, where it stands, and the labels that are shown of what it gives."""

    where: str
    expression: str
    shown: tuple[str, ...] = ()

    @property
    def metrics(self) -> set[str]:
        """The metrics that it names."""
        return set(_NAME.findall(_QUOTED.sub('""', self.expression)))

    def strange_labels(self) -> set[str]:
        """Return the labels that it asks of a metric without them, and those that none of its metrics has."""
        strange = set()
        for name, matchers in _SELECTOR.findall(self.expression):
            strange |= set(_MATCHER.findall(_QUOTED.sub('""', matchers))) - labels_of(name)
        grouped = {label.strip() for group in _GROUPED.findall(self.expression) for label in group.split(",")}
        known = set().union(*map(labels_of, self.metrics))
        return strange | (grouped | set(self.shown)) - known


def labels_of(name: str) -> set[str]:
    """Return the labels of a metric's series."""
    metric = DECLARED.get(name)
    if metric is None:
        return set(OF_TARGETS) if name in OF_PROMETHEUS else set()
    bucket = {"le"} if metric.kind is Kind.HISTOGRAM and name.endswith("_bucket") else set()
    return {label.name for label in metric.labels} | OF_TARGETS | bucket


def alerts() -> dict[str, dict[str, Any]]:
    """Return the rules by their names."""
    groups = YAML(typ="safe").load(ALERTS.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def asked_by_alerts() -> Iterator[Asked]:
    """Yield the expression of each rule."""
    for name, rule in alerts().items():
        shown = re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values()))
        yield Asked(name, rule["expr"], tuple(shown))


def dashboards() -> dict[str, dict[str, Any]]:
    """Return the dashboards by the names of their files."""
    return {path.stem: json.loads(path.read_text()) for path in DASHBOARDS}


def asked_by_dashboards(*, instance: str = "n1:9643") -> Iterator[Asked]:
    """Yield each expression, with its variables filled in."""
    for name, dashboard in dashboards().items():
        for panel in dashboard["panels"]:
            for target in panel.get("targets", []):
                expression = target["expr"].replace("$cell", ".*").replace("$instance", instance)
                where = f"{name}: {panel['title']}"
                yield Asked(where, expression, tuple(_LEGEND.findall(target["legendFormat"])))


def everything_asked(*, instance: str = "n1:9643") -> list[Asked]:
    """Return every expression of ours."""
    return [*asked_by_alerts(), *asked_by_dashboards(instance=instance)]
