"""The page of every metric."""

from __future__ import annotations

from collections.abc import Iterable

import agent.metrics.catalogue
import controller.metrics.catalogue
from scripts.pages.markdown import code, page, table
from wire.metrics import PROCESS_METRICS, Kind, Metric

HEAD = ("metric", "type", "meaning", "unit", "labels", "series at the most")


def metrics_page() -> str:
    """Return what controller and agent tell Prometheus."""
    intro = (
        "What Prometheus scrapes, and how many series each metric can have, whatever nodes say: what is beyond the "
        "bound of a label is summed up under its value `other`, and scopes and devices beyond theirs are left out. How "
        "it is set up is told in [have Prometheus scrape fleetmend](../how-to/metrics.md), what the alerts mean in "
        "[answer an alert](../how-to/alerts.md)."
    )
    return page(
        "Metrics",
        intro,
        _section("Controller", controller.metrics.catalogue.METRICS, "`/metrics` on the port of the status page."),
        _section(
            "Agent", agent.metrics.catalogue.METRICS, "`/metrics` on the port in `[metrics]`, which is off by default."
        ),
        _section("Processes", PROCESS_METRICS, "Of both: what prometheus_client tells of every process, on Linux."),
    )


def _section(title: str, metrics: Iterable[Metric], intro: str) -> str:
    known = tuple(metrics)
    most = sum(metric.most_series for metric in known)
    return f"## {title}\n\n{intro} At most {most:,} series.\n\n{table(HEAD, map(_row, known))}"


def _row(metric: Metric) -> tuple[str, ...]:
    labels = "; ".join(f"{code(label.name)}: {label.meaning} (≤ {label.most})" for label in metric.labels)
    buckets = f" Buckets: {', '.join(f'{each:g}' for each in metric.buckets)}." if metric.kind is Kind.HISTOGRAM else ""
    return code(metric.name), metric.kind, metric.meaning + buckets, metric.unit, labels, f"{metric.most_series:,}"
