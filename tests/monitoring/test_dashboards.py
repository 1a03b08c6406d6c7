"""Dashboards and rules speak of metrics and labels that there are.

That Prometheus understands them is tried with a real one, in tests/end_to_end/test_metrics_story.py.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest

from tests.support.promql import DECLARED, OF_PROMETHEUS, Asked, dashboards, everything_asked
from wire.metrics import Kind


@pytest.mark.parametrize("asked", everything_asked(), ids=lambda asked: asked.where)
def test_what_is_asked_for_exists(asked: Asked) -> None:
    assert asked.metrics, asked.expression
    assert asked.metrics - DECLARED.keys() - OF_PROMETHEUS == set()
    assert asked.strange_labels() == set()


def test_what_is_counted_is_asked_for_as_a_rate() -> None:
    """A total that is shown as it is grows for ever, and falls to nothing at each restart."""
    totals_of_devices = ("gpu_ecc", "gpu_remapped", "accelerator_ecc", "outbox_dropped")
    for asked in everything_asked():
        counted = [name for name in asked.metrics if name in DECLARED and DECLARED[name].kind is Kind.COUNTER]
        if counted and not any(each in asked.expression for each in totals_of_devices):
            assert "rate(" in asked.expression or "increase(" in asked.expression, asked


def test_every_metric_is_shown_or_alerted_on() -> None:
    shown = set().union(*(asked.metrics for asked in everything_asked()))
    hidden = {name for name, metric in DECLARED.items() if not shown & set(metric.sample_names)}
    assert hidden == UNSEEN


UNSEEN = {
    *("process_virtual_memory_bytes", "process_start_time_seconds", "process_open_fds", "process_max_fds"),
    *("fleetmend_scheduler_seen_time_seconds", "fleetmend_store_events", "fleetmend_lemons"),
    *("fleetmend_findings_cleared_total", "fleetmend_bench_baselines", "fleetmend_agent_check_judged_time_seconds"),
}
"""Metrics that are there for questions of one's own."""


@pytest.mark.parametrize("name", dashboards())
def test_a_dashboard_can_be_imported(name: str) -> None:
    dashboard = dashboards()[name]
    assert dashboard["uid"] == f"fleetmend-{name}"
    assert dashboard["schemaVersion"] >= 36
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert {"datasource", "cell"} <= {variable["name"] for variable in dashboard["templating"]["list"]}
    shown = [panel for panel in panels if panel["type"] != "row"]
    assert {panel["datasource"]["uid"] for panel in shown} == {"${datasource}"}
    assert [panel["title"] for panel in shown if not panel["targets"]] == []
    for panel in shown:
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references)


@pytest.mark.parametrize("name", dashboards())
def test_no_panel_lies_on_another(name: str) -> None:
    places = [panel["gridPos"] for panel in dashboards()[name]["panels"]]
    assert [place for place in places if place["x"] + place["w"] > 24] == []
    assert [both for both in combinations(places, 2) if _overlap(*both)] == []


def _overlap(one: dict[str, Any], other: dict[str, Any]) -> bool:
    beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
    apart = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    return not (beside or apart)
