"""Both formats, beside prometheus_client's own writers and parsers."""

from __future__ import annotations

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.exposition import generate_latest

from agent.metrics.catalogue import METRICS
from agent.metrics.text import PLAIN, exposition
from tests.support.metrics import series_of, value
from wire.exposition import Scrape
from wire.metrics import Distribution, Kind, Metric, Values

OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
"""What Prometheus sends. Source: Prometheus 2.42, scrape/scrape.go."""


def everything(label: str = "x") -> Values:
    """Return a series of every metric of an agent."""
    return {metric.name: {(label,) * len(metric.labels): _sample(metric)} for metric in METRICS}


def _sample(metric: Metric) -> float | Distribution:
    return Distribution((), [3], 1.5) if metric.kind is Kind.SUMMARY else 2.0


def test_the_older_format_is_what_prometheus_clients_own_writer_writes() -> None:
    text, content_type = exposition(everything())
    official = generate_latest(Scrape(METRICS, everything()))
    assert content_type == PLAIN
    assert _without_the_process(text) == _without_the_process(official)


def _without_the_process(text: bytes) -> list[str]:
    """Its CPU time is another at every look."""
    return [line for line in text.decode().splitlines() if not line.startswith("process_")]


def test_openmetrics_for_whoever_accepts_it() -> None:
    text, content_type = exposition(everything(), accept=OPENMETRICS)
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert text.endswith(b"# EOF\n")
    found = series_of(text.decode())
    for metric in METRICS:
        labels = {label.name: "x" for label in metric.labels}
        assert all(value(found, name, **labels) is not None for name in metric.sample_names), metric.name


@given(st.text())
def test_no_accept_header_makes_it_fail(accept: str) -> None:
    text, _ = exposition(everything(), accept=accept)
    assert b"fleetmend_agent_broker_connected 2.0" in text


@given(st.text())
def test_both_formats_say_the_same_of_whatever_a_device_is_called(name: str) -> None:
    name = name.encode("utf-8", "replace").decode()
    values: Values = {"fleetmend_agent_rdma_port_up": {(name,): 1.0}}
    for accept in ("", OPENMETRICS):
        text, _ = exposition(values, accept=accept)
        assert value(series_of(text.decode()), "fleetmend_agent_rdma_port_up", port=name) == 1.0


def test_a_name_that_is_no_text_is_written_out() -> None:
    """Names on a host are bytes; one that UTF-8 cannot hold must not end the scrape."""
    text, _ = exposition({"fleetmend_agent_rdma_port_up": {("mlx5_\udc80/1",): 1.0}})
    assert value(series_of(text.decode()), "fleetmend_agent_rdma_port_up", port="mlx5_\\udc80/1") == 1.0


def test_an_agent_that_is_scraped_carries_no_http_server_of_prometheus_client() -> None:
    script = (
        "import sys; from agent.__main__ import leave_out; leave_out(); import agent.metrics.listener as l; "
        "text, _ = l.exposition({'fleetmend_agent_broker_connected': {(): 1.0}}); "
        "assert b'fleetmend_agent_broker_connected 1.0' in text; "
        "print(sorted({'http.server', 'wsgiref', 'rich', 'prometheus_client.exposition'} & "
        "{name for name, module in sys.modules.items() if module}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr
