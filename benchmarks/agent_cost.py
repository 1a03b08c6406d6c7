"""What the agent costs a host, beside Debian's prometheus-node-exporter and one check process of Meta's gcm.

CPU seconds and resident memory of every process of the agent, read from /proc: once on this very host, once watching
8 simulated GPUs with 18 NVLinks each and 8 RDMA ports, where NVML is the C double under the real pynvml. node-exporter
is scraped every 15 s as Prometheus would; gcm starts a process a check, so one such run stands beside ours. Then the
time from a kernel-log record to its finding at the broker, and from the agent's start to its first word there. The
agent's modules are compiled once, as an installer does it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil

from agent.simulation.machine import SimulatedMachine
from benchmarks.gcm import one_check
from benchmarks.report import Row, publish, spread
from checks import nvlink5
from checks.evaluator import FAULTS
from checks.finding import FindingKey
from checks.gpu import xid
from cli.broker import Mosquitto
from cli.ports import free_port
from tests.support.agent_site import NODE, Controller, Site
from tests.support.broker import listening, running_broker, settings
from tests.support.embedded import until
from tests.support.nvml_double import build_double
from wire import topics
from wire.messages import AgentStarted, EventBody, FindingRaised

SCRAPE_S = 15.0
SETTLE_S = 5.0
SCRAPES = 100
CALM = "status_interval_s = 60"
CODES = tuple(
    int(outcome.code)
    for outcome in xid.CHECK.outcomes
    if outcome.code.isdecimal() and outcome.verdict in FAULTS and int(outcome.code) not in nvlink5.XIDS
)
"""Codes of which every line is a fault."""


def tree(pid: int) -> list[psutil.Process]:
    """Return a process and all its descendants."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def cpu_s(processes: list[psutil.Process]) -> float:
    """Return user plus system seconds of processes, their dead children included."""
    times = [process.cpu_times() for process in processes]
    return sum(t.user + t.system + t.children_user + t.children_system for t in times)


def rss_mib(processes: list[psutil.Process]) -> float:
    """Return the resident memory of processes together, shared pages counted in each."""
    return sum(process.memory_info().rss for process in processes) / 2**20


def import_s(module: str) -> float:
    """Return how long a fresh interpreter takes to import a module, without its own start."""
    script = f"import sys, time; sys.modules['rich'] = None; t = time.perf_counter(); import {module}; "
    script += "print(time.perf_counter() - t)"
    command = [sys.executable, "-c", script]
    times = [
        float(subprocess.run(command, capture_output=True, text=True, check=True, env=installed()).stdout)
        for _ in range(6)
    ]
    return sorted(times[1:])[2]


def installed() -> dict[str, str]:
    """Return the environment in which modules are compiled once, as an installer does it for good."""
    bytecode = str(Path(tempfile.gettempdir()) / "fleetmend-benchmark-bytecode")
    return {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": bytecode}


@contextlib.asynccontextmanager
async def an_agent(
    directory: Path, broker: Mosquitto, *, simulated: bool, more: str = CALM
) -> AsyncIterator[tuple[Site, Controller]]:
    """Give a node whose agent is running, and who speaks for its controller; `more` are lines of its settings."""
    machine, module, environment = None, "agent", dict[str, str]()
    if simulated:
        machine = SimulatedMachine.create(directory / "machine", name=NODE, seed=1, speedup=1.0)
        module = "benchmarks.double_agent"
        double = build_double(directory / "double")
        environment = {"LD_LIBRARY_PATH": str(double), "NVML_DOUBLE_STATE": str(directory / "machine" / "nvml.state")}
    site = Site(directory, broker, machine, module=module, more=more)
    async with listening(settings(broker), f"{topics.ROOT}/main/node/+/+") as listener:
        controller = Controller(listener)
        await site.start(**installed(), **environment)
        try:
            yield site, controller
        finally:
            await site.end()


def is_free(port: int) -> bool:
    """Return whether nobody listens on a TCP port of the loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@contextlib.contextmanager
def exporter() -> Iterator[tuple[psutil.Process, str] | None]:
    """Give a running node-exporter with the address of its metrics, `None` where it is not installed."""
    binary = shutil.which("prometheus-node-exporter")
    if binary is None:
        yield None
        return
    port = free_port()
    command = [binary, f"--web.listen-address=127.0.0.1:{port}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until("node-exporter listens", lambda: not is_free(port), limit_s=10.0)
        yield psutil.Process(process.pid), f"http://127.0.0.1:{port}/metrics"
    finally:
        process.terminate()
        process.wait(timeout=10)


def scrape(metrics: str) -> None:
    """Read the exporter's metrics as Prometheus does."""
    with urllib.request.urlopen(metrics, timeout=10) as answer:  # noqa: S310 - an address of ours on the loopback
        answer.read()


async def pass_time(seconds: float, controller: Controller, *metrics: str) -> None:
    """Let time go by, acknowledging what the agent says and scraping what has metrics."""
    end, next_scrape = time.monotonic() + seconds, time.monotonic()
    while (now := time.monotonic()) < end:
        if now >= next_scrape:
            for address in metrics:
                await asyncio.to_thread(scrape, address)
            next_scrape += SCRAPE_S
        await controller.hear()
        await asyncio.sleep(min(0.2, end - now))


async def cost(site: Site, controller: Controller, what: str, seconds: float, *, scraped: str = "") -> list[Row]:
    """Return what a running agent takes, and an exporter beside it.

    Args:
        scraped: address of the agent's own metrics, empty while nobody scrapes it.
    """
    assert site.process is not None
    await pass_time(SETTLE_S, controller)
    asked = (scraped,) if scraped else ()
    with exporter() as peer:
        peers = [peer[0]] if peer else []
        ours_before, peers_before = cpu_s(tree(site.process.pid)), cpu_s(peers)
        await pass_time(seconds, controller, *asked, *(peer[1:] if peer else ()))
        ours, scale = tree(site.process.pid), 60.0 / seconds
        rows = [
            Row(f"agent, {what}: CPU a minute", (cpu_s(ours) - ours_before) * scale, "s", "≤ 0.300 (0.5 % of a core)"),
            Row(f"agent, {what}: RSS, {len(ours)} processes", rss_mib(ours), "MiB", "≤ 60"),
        ]
        if peers and not scraped:
            rows.append(Row("node-exporter: CPU a minute", (cpu_s(peers) - peers_before) * scale, "s"))
            rows.append(Row("node-exporter: RSS", rss_mib(peers), "MiB"))
    return rows


async def published_ms(site: Site, controller: Controller, count: int) -> list[float]:
    """Return the time of each record from being written to its finding's arrival from the broker."""
    times, gpus = [], site.machine.hardware().gpus
    for number in range(count):
        gpu, code = gpus[number % len(gpus)], CODES[number // len(gpus)]
        began = time.perf_counter()
        site.machine.log_xid(gpu.index, code)
        await arrival(controller, FindingKey(xid.ID, gpu.uuid, str(code)))
        times.append(1000 * (time.perf_counter() - began))
        await asyncio.sleep(0.05)
    return times


async def arrival(controller: Controller, key: FindingKey) -> None:
    """Return as soon as the finding has come."""
    async with asyncio.timeout(10.0):
        while not any(_is_about(body, key) for body in controller.events.values()):
            await asyncio.sleep(0.0002)
            await controller.hear()


def _is_about(body: EventBody, key: FindingKey) -> bool:
    return isinstance(body, FindingRaised) and body.finding.key == key


async def start_ms(site: Site, controller: Controller, count: int = 5) -> list[float]:
    """Return the time of several starts, from the process's start to the agent's first word at the broker.

    The first compiles, and does not count.
    """
    times = []
    for number in range(count + 1):
        await site.end()
        began = time.perf_counter()
        await site.start(**installed())
        await controller.bodies(AgentStarted, count=number + 2)
        times.append(1000 * (time.perf_counter() - began))
    return times[1:]


async def scraped_cost(directory: Path, broker: Mosquitto, seconds: float) -> list[Row]:
    """Return what an agent takes that Prometheus scrapes, and how long a scrape takes."""
    port = free_port()
    address = f"http://127.0.0.1:{port}/metrics"
    async with an_agent(directory, broker, simulated=True, more=f"{CALM}\n[metrics]\nport = {port}") as (
        site,
        controller,
    ):
        rows = await cost(site, controller, "the same, scraped every 15 s", seconds, scraped=address)
        times = []
        for _ in range(SCRAPES):
            began = time.perf_counter()
            await asyncio.to_thread(scrape, address)
            times.append(1000 * (time.perf_counter() - began))
            await pass_time(0.1, controller)
        return rows + spread("a scrape of the agent", times, "ms")


async def measure(scratch: Path, seconds: float, records: int) -> list[Row]:
    """Return every figure."""
    async with running_broker(scratch / "broker") as broker:
        async with an_agent(scratch / "host", broker, simulated=False) as (site, controller):
            rows = await cost(site, controller, "this host", seconds)
            rows += spread("agent start to first word at the broker", await start_ms(site, controller), "ms", "≤ 500")
        async with an_agent(scratch / "eight", broker, simulated=True) as (site, controller):
            rows += await cost(site, controller, "8 GPUs × 18 NVLinks, 8 ports", seconds)
            times = await published_ms(site, controller, records)
            rows += spread("kernel-log record → published", times, "ms", "≤ 10")
        rows += await scraped_cost(scratch / "scraped", broker, seconds)
    rows.append(Row("agent import", 1000 * import_s("agent.main"), "ms"))
    return rows


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--records", type=int, default=200)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("host", "scraped"):
            (Path(scratch) / name).mkdir()
        rows = asyncio.run(measure(Path(scratch), asked.seconds, asked.records))
        library, state = Path(scratch) / "eight/double", Path(scratch) / "eight/machine/nvml.state"
        rows += one_check(Path(scratch) / "gcm", library, state)
    publish("agent_cost", rows, about=f"{asked.seconds:.0f} s each, {asked.records} records")


if __name__ == "__main__":
    main()
