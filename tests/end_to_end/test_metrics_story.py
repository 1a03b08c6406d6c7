"""A real Prometheus scrapes a real cell while a fault is mended, and understands all that we ask it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from agent.metrics.catalogue import METRICS as OF_AGENTS
from cli.ports import free_port, why_taken
from controller.metrics.catalogue import METRICS as OF_CONTROLLERS
from tests.support.embedded import EmbeddedCell, until
from tests.support.prometheus import Prometheus, program, prometheus
from tests.support.promql import ALERTS, DECLARED, OF_TARGETS, everything_asked, labels_of
from wire.metrics import PROCESS_METRICS

AGENTS = 2
"""This host and one simulated node."""

FROM_PROMETHEUS = ("up", "scrape_", "ALERTS")


@dataclass(frozen=True, slots=True)
class Scraped:
    """The cell, who scrapes it, and where the agent of the simulated node is scraped."""

    cell: EmbeddedCell
    server: Prometheus
    node: str


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    """A cell in which a GPU was lost, as a Prometheus knows it that was there all the time."""
    program("prometheus")
    state, scratch, port = tmp_path_factory.mktemp("cell"), tmp_path_factory.mktemp("prometheus"), ports_in_a_row()
    with EmbeddedCell(state, simulate=1, arguments=("--metrics-port", str(port))) as cell:
        agents = [f"127.0.0.1:{port + number}" for number in range(AGENTS)]
        jobs = {"fleetmend-controller": [f"127.0.0.1:{cell.port}"], "fleetmend-agent": agents}
        with prometheus(scratch, jobs, rules=ALERTS) as server:
            until("every target is up", server.all_up, limit_s=30.0)
            cell.drill("gpu-off-bus", "n1")
            isolated = "fleetmend_isolation_seconds_count > 0"
            until("Prometheus knows of the isolation", lambda: server.value(isolated), limit_s=30.0)
            yield Scraped(cell, server, agents[1])


def ports_in_a_row() -> int:
    """Return the first of some ports that nobody listens on."""
    while True:
        first = free_port()
        if not any(why_taken(port) for port in range(first, first + AGENTS)):
            return first


def test_prometheus_has_every_metric_that_can_have_a_series_now_with_the_labels_that_are_declared(
    scraped: Scraped,
) -> None:
    labels: dict[str, set[str]] = {}
    for series in scraped.server.ask("series", **{"match[]": '{job=~"fleetmend-.*"}'}):
        name = series.pop("__name__")
        if not name.startswith(FROM_PROMETHEUS):
            labels.setdefault(name, set()).update(series)
    assert labels.keys() <= DECLARED.keys()
    for name, seen in labels.items():
        assert (seen | MAY_BE_EMPTY) - OF_TARGETS >= labels_of(name) - OF_TARGETS, name
        assert seen <= labels_of(name) | OF_TARGETS, name
    every = {metric.name for metric in (*OF_CONTROLLERS, *OF_AGENTS, *PROCESS_METRICS)}
    assert every - {DECLARED[name].name for name in labels} <= NOT_IN_THIS_STORY


MAY_BE_EMPTY = {"pool", "sku"}
"""To Prometheus a label with an empty value is none."""

NOT_IN_THIS_STORY = {
    *("fleetmend_breakers_open", "fleetmend_pauses", "fleetmend_operator_acts_total", "fleetmend_incidents_waiting"),
    *("fleetmend_incidents_waiting_longest_seconds", "fleetmend_incident_duration_seconds"),
    *("fleetmend_findings_cleared_total", "fleetmend_store_snapshot_age_seconds", "fleetmend_steps_under_way"),
    *("fleetmend_bench_leases", "fleetmend_bench_nodes", "fleetmend_bench_results_total", "fleetmend_open_incidents"),
    *("fleetmend_agent_accelerator_temperature_celsius", "fleetmend_agent_accelerator_power_watts"),
    *("fleetmend_agent_accelerator_ecc_errors_total", "fleetmend_agent_crashes_total"),
    *("fleetmend_notices_open", "fleetmend_notice_destination_failing", "fleetmend_agent_findings"),
    *("fleetmend_certificate_begin_time_seconds", "fleetmend_certificate_end_time_seconds"),
    *("fleetmend_agent_certificate_begin_time_seconds", "fleetmend_agent_certificate_end_time_seconds"),
}
"""Metrics of what did not happen, or is over already when Prometheus looks. Each is tested beside its code."""


def test_every_metric_of_a_rule_or_a_dashboard_is_in_the_scrape(scraped: Scraped) -> None:
    typed = {each["metric"] for each in scraped.server.ask("targets/metadata")}
    families = {name.removesuffix("_total") for name in typed}
    for asked in everything_asked():
        ours = {DECLARED[name].name.removesuffix("_total") for name in asked.metrics if name in DECLARED}
        assert ours <= families, asked


def test_prometheus_evaluates_every_rule(scraped: Scraped) -> None:
    def rules() -> list[dict[str, str]] | None:
        found = [rule for group in scraped.server.ask("rules")["groups"] for rule in group["rules"]]
        return found if all(rule["health"] != "unknown" for rule in found) else None

    found = until("every rule was evaluated", rules, limit_s=20.0)
    assert [(rule["name"], rule.get("lastError")) for rule in found if rule["health"] != "ok"] == []
    assert [rule["name"] for rule in found if rule["state"] == "firing"] == []


def test_prometheus_answers_every_question_of_the_dashboards(scraped: Scraped) -> None:
    for asked in everything_asked(instance=scraped.node):
        scraped.server.ask("query", query=asked.expression)


def test_what_the_dashboards_show_first_is_there(scraped: Scraped) -> None:
    value = scraped.server.value
    leads = " and on (instance) fleetmend_leader == 1"
    assert value(f"sum(fleetmend_nodes{leads})") == AGENTS
    assert value(f"sum(fleetmend_gpus{leads})") == 8
    assert value("fleetmend_broker_connected") == 1
    assert value("fleetmend_scheduler_up") == 1
    lately = f'{{instance="{scraped.node}"}}[2m]'  # its agent may be starting anew: the node is rebooted
    assert value(f"count(last_over_time(fleetmend_agent_gpu_info{lately}))") == 8
    assert value(f"max(last_over_time(fleetmend_agent_nvlink_links_active{lately}))") == 18
    assert value(f"count(last_over_time(fleetmend_agent_rdma_port_up{lately}))") == 8
    assert value("count(max_over_time(fleetmend_agent_outbox_writable[2m]) == 1)") == AGENTS
    assert value('histogram_quantile(0.5, fleetmend_isolation_seconds_bucket{job="fleetmend-controller"})') is not None
