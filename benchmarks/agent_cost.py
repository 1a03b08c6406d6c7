"""What the agent costs this host, beside Debian's prometheus-node-exporter in the same minute.

CPU seconds and resident memory of every process of the agent, read from /proc; node-exporter is scraped every 15 s as
Prometheus would. Start time is from the process's start until its first status reached the broker.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import datetime
from pathlib import Path

import psutil

from benchmarks.report import Row, publish
from tests.support.embedded import EmbeddedCell, free_port, until

SCRAPE_S = 15.0


def tree(process: psutil.Process) -> list[psutil.Process]:
    """Return a process and all its descendants."""
    return [process, *process.children(recursive=True)]


def cpu_s(processes: list[psutil.Process]) -> float:
    """Return user plus system seconds of processes, their dead children included."""
    times = [process.cpu_times() for process in processes]
    return sum(t.user + t.system + t.children_user + t.children_system for t in times)


def rss_mib(processes: list[psutil.Process]) -> float:
    """Return the resident memory of processes together, shared pages counted in each."""
    return sum(process.memory_info().rss for process in processes) / 2**20


def agent_of(cell: EmbeddedCell, node: str) -> psutil.Process:
    """Return the main process of a node's agent."""
    assert cell.process is not None
    for process in psutil.Process(cell.process.pid).children():
        if f"/agents/{node}/" in " ".join(process.cmdline()):
            return process
    raise LookupError(f"no agent for {node}")


def import_s(module: str) -> float:
    """Return how long a fresh interpreter takes to import a module, without its own start."""
    script = f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
    times = [
        float(subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout)
        for _ in range(5)
    ]
    return sorted(times)[2]


def start_s(cell: EmbeddedCell, node: str) -> float:
    """Return the time from an agent's process start until the controller had stored its first word."""
    agent_of(cell, node).terminate()
    until("the agent ended", lambda: not _running(cell, node))
    until("the agent runs again", lambda: _running(cell, node))
    began = agent_of(cell, node).create_time()
    return until("it is heard", lambda: _heard_at(cell, node, began), limit_s=20.0) - began


def _running(cell: EmbeddedCell, node: str) -> bool:
    try:
        return agent_of(cell, node).is_running()
    except LookupError:
        return False


def _heard_at(cell: EmbeddedCell, node: str, began: float) -> float:
    """Return when the agent's start after `began` was stored, 0 while it is not."""
    for entry in cell.get(f"/nodes/{node}")["timeline"]:
        stored_at = datetime.fromisoformat(entry["at"]).timestamp()
        if entry["kind"] == "agent.started" and stored_at > began:
            return stored_at
    return 0.0


def main() -> None:
    """Measure for a minute and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    seconds = parser.parse_args().seconds
    exporter_binary = shutil.which("prometheus-node-exporter")
    with tempfile.TemporaryDirectory() as scratch, EmbeddedCell(Path(scratch), simulate=1) as cell:
        host = next(node["name"] for node in cell.get("/nodes") if node["name"] != "n1")
        rows = _measure(cell, host, exporter_binary, seconds)
        rows.append(Row("agent import", import_s("agent.main"), "s"))
        rows.append(Row("agent start to first word at the controller", start_s(cell, host), "s", "≤ 0.5"))
    publish("agent_cost", rows, about=f"{seconds:.0f} s on this host")


def _measure(cell: EmbeddedCell, host: str, exporter_binary: str | None, seconds: float) -> list[Row]:
    port = free_port()
    exporter = None
    if exporter_binary:
        arguments = [exporter_binary, f"--web.listen-address=127.0.0.1:{port}"]
        exporter = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(5.0)
        agents = {"this host": agent_of(cell, host), "a simulated 8-GPU node": agent_of(cell, "n1")}
        before = {name: cpu_s(tree(process)) for name, process in agents.items()}
        exporter_before = cpu_s([psutil.Process(exporter.pid)]) if exporter else 0.0
        _pass_time(seconds, port if exporter else 0)
        scale = 60.0 / seconds
        rows = []
        for name, process in agents.items():
            spent = (cpu_s(tree(process)) - before[name]) * scale
            rows += [
                Row(f"agent, {name}: CPU a minute", spent, "s", "≤ 0.300 (0.5 % of a core)"),
                Row(f"agent, {name}: RSS, all processes", rss_mib(tree(process)), "MiB", "≤ 60"),
            ]
        if exporter:
            peer = psutil.Process(exporter.pid)
            rows.append(Row("node-exporter: CPU a minute", (cpu_s([peer]) - exporter_before) * scale, "s"))
            rows.append(Row("node-exporter: RSS", rss_mib([peer]), "MiB"))
        return rows
    finally:
        if exporter:
            exporter.terminate()
            exporter.wait(timeout=10)


def _pass_time(seconds: float, port: int) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if port:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read()
        time.sleep(min(SCRAPE_S, left))


if __name__ == "__main__":
    main()
