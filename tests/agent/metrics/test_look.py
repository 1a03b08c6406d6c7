"""The agent as a process that is scraped, and one whose port is taken."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from agent.metrics.catalogue import METRICS
from agent.simulation.machine import SimulatedMachine
from checks.registry import CHECKS
from cli.ports import free_port
from tests.support.agent_site import NODE, Controller, Site
from tests.support.broker import listening, running_broker, settings
from tests.support.metrics import Series, named, series_of, value
from wire import topics
from wire.messages import FindingRaised, Status

pytestmark = pytest.mark.broker


@pytest.fixture
def port() -> int:
    """The port on which the agent is scraped."""
    return free_port()


@contextlib.asynccontextmanager
async def running(directory: Path, port: int) -> AsyncIterator[Site]:
    """Give a simulated node whose agent runs."""
    async with running_broker(directory / "broker") as broker:
        machine = SimulatedMachine.create(directory / "machine", name=NODE, seed=1, speedup=3_600.0)
        built = Site(directory, broker, machine, more=f"status_interval_s = 1\n[metrics]\nport = {port}")
        await built.start()
        try:
            yield built
        finally:
            await built.end()


@contextlib.asynccontextmanager
async def heard(site: Site) -> AsyncIterator[Controller]:
    """Give who speaks for the controller, once the agent has looked at everything and all was well."""
    async with listening(settings(site.broker), f"{topics.ROOT}/main/node/+/+") as listener:
        speaker = Controller(listener)
        await speaker.bodies(Status, is_well)
        yield speaker


def is_well(status: Status) -> bool:
    """Return whether every check passes."""
    return all(level.verdict == "ok" for level in status.checks.values())


async def scraped(port: int) -> Series:
    """Return what a scrape gives, as Prometheus asks for it."""
    headers = {"Accept": "application/openmetrics-text;version=1.0.0"}
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/metrics", headers=headers) as answer:
        assert answer.status == 200
        return series_of(await answer.text())


async def test_a_node_that_is_well_and_then_has_a_fault(tmp_path: Path, port: int) -> None:
    async with running(tmp_path, port) as site, heard(site) as controller:
        before = await scraped(port)
        controller.stores = False
        site.machine.log_xid(0, 79)
        await controller.bodies(FindingRaised, count=1)
        after = await scraped(port)
    declared = {name: {label.name for label in metric.labels} for metric in METRICS for name in metric.sample_names}
    for name, labels in before:
        assert name.startswith("process_") or {label for label, _ in labels} == declared[name], name
    verdicts = [dict(labels) for labels in named(before, "fleetmend_agent_check")]
    assert {each["check"] for each in verdicts} == {check.id for check in CHECKS}
    assert {each["verdict"] for each in verdicts} == {"ok"}
    assert len(named(before, "fleetmend_agent_gpu_temperature_celsius")) == 8
    assert set(named(before, "fleetmend_agent_nvlink_links_active").values()) == {18.0}
    assert set(named(before, "fleetmend_agent_rdma_port_up").values()) == {1.0}
    assert named(before, "fleetmend_agent_rdma_errors_total")
    assert named(before, "fleetmend_agent_nvlink_errors_total")
    assert value(before, "fleetmend_agent_broker_connected") == 1
    assert value(before, "fleetmend_agent_source_overdue", source="nvml") == 0
    assert (value(before, "fleetmend_agent_source_reading_seconds_count", source="nvml") or 0) >= 1
    assert (value(before, "fleetmend_agent_source_reading_seconds_sum", source="nvml") or 0) > 0
    assert value(after, "fleetmend_agent_check", check="gpu.xid", verdict="failed") == 1
    assert value(after, "fleetmend_agent_check", check="gpu.xid", verdict="ok") is None
    assert (value(after, "fleetmend_agent_outbox_events") or 0) >= 1
    assert (value(after, "fleetmend_agent_outbox_age_seconds") or 0) > 0
    assert (value(after, "fleetmend_agent_events_published_total") or 0) >= 2


async def test_an_agent_whose_port_is_taken_does_its_work_without(tmp_path: Path, port: int) -> None:
    with socket.create_server(("127.0.0.1", port)):
        async with running(tmp_path, port) as site:
            async with heard(site), asyncio.timeout(30.0):
                while "metrics.unavailable" not in site.log():  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            assert "in use" in site.log()
