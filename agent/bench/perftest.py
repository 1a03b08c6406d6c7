"""perftest's programs: a server and a client on this host, and what their reports say.

A server is ready when the kernel says that it listens, and not after some time. Reports are read by their names alone:
releases up to 4.5 write `--out_json` files that are no JSON (their names stand without quotes).
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.bench.child import Broken
from agent.bench.programs import Program, read_all, run_program
from agent.bench.rdma_ports import RdmaPortAtHand

BANDWIDTH, LATENCY = "ib_write_bw", "ib_write_lat"

MESSAGE_BYTES: Final = 1 << 20
QUEUE_PAIRS: Final = 4
"""Source: our choice; large messages on a few queue pairs fill a link of 400 Gb/s, which one pair may not."""

BANDWIDTH_ROUNDS: Final = 20_000
"""Messages of a run that is not timed, 21 GB. Source: our choice; 0.4 s at 400 Gb/s, so that eight adapters and their
starts fit into the first tier."""

LATENCY_ROUNDS: Final = 5000
"""Source: our choice, five times perftest's own, so that 50 samples lie beyond the 99th percentile."""

MARGIN_S: Final = 1
"""At each end of a timed run, which is not measured. Source: perftest(1), -f; its own 2 s do not fit into a tier."""

READY_LIMIT_S: Final = 30.0
"""Until a server listens. Source: our choice; opening a GPU takes it seconds."""

LOOK_S: Final = 0.02
LISTENING: Final = "0A"
"""Source: kernel, include/net/tcp_states.h, TCP_LISTEN."""

BY_BUS_ID: Final = "--use_cuda_bus_id"
REPORT_FILE: Final = "--out_json_file"

_RESULTS = re.compile(r'"?results"?\s*:\s*\{(.*)', re.DOTALL)
_PAIR = re.compile(r'"?([A-Za-z][A-Za-z0-9_.]*)"?\s*:\s*"?(\d{1,15}(?:\.\d{1,15})?)"?\s*[,}\n]', re.ASCII)


@dataclass(frozen=True, slots=True)
class Means:
    """What the installed perftest can do."""

    gpu_memory: bool


@dataclass(frozen=True, slots=True)
class Route:
    """From one port of this host to another, or to itself. `gpus`: whether the memory is that of their GPUs."""

    source: RdmaPortAtHand
    target: RdmaPortAtHand
    gpus: bool = False

    @property
    def name(self) -> str:
        """As a benchmark's number names its device."""
        return self.source.name if self.source == self.target else f"{self.source.name}>{self.target.name}"


def look_for_perftest(limit_s: float = 10.0) -> Means:
    """Return what perftest can do here.

    Raises:
        NotHere: it is not installed.
        Broken: it is older than its reports.
    """
    said = [run_program((name, "--help"), limit_s=limit_s) for name in (BANDWIDTH, LATENCY)]
    if not all(REPORT_FILE in ended.text + ended.errors for ended in said):
        raise Broken(f"the perftest of this host has no {REPORT_FILE}: 4.5 or a newer one is needed")
    return Means(BY_BUS_ID in said[0].text + said[0].errors)


def write_bandwidth(route: Route, seconds: int, limit_s: float) -> float:
    """Return the Gb/s of RDMA writes from the one port to the other.

    Args:
        seconds: of a run; 0 for one of `BANDWIDTH_ROUNDS` messages.

    Raises:
        Broken: it could not be measured.
    """
    length = ("-D", str(seconds), "-f", str(MARGIN_S)) if seconds else ("-n", str(BANDWIDTH_ROUNDS))
    arguments = ("--report_gbits", "-s", str(MESSAGE_BYTES), "-q", str(QUEUE_PAIRS), *length)
    return _number(_measure(BANDWIDTH, route, arguments, limit_s), "BW_average", route)


def write_latency(route: Route, limit_s: float) -> tuple[float, float]:
    """Return the µs of one small RDMA write, the median and the 99th percentile.

    Raises:
        Broken: it could not be measured.
    """
    report = _measure(LATENCY, route, ("-n", str(LATENCY_ROUNDS)), limit_s)
    return _number(report, "t_typical", route), report.get("percentile_99", 0.0)


def parse_report(text: str) -> dict[str, float]:
    """Return the results in a report by their names, those of what was tested left out."""
    results = _RESULTS.search(text)
    return {name: float(number) for name, number in _PAIR.findall(results[1] + "\n")} if results else {}


def is_listening(tables: str, port: int) -> bool:
    """Return whether /proc/net/tcp has a listener on a port. Source: kernel, Documentation/networking/proc_net_tcp."""
    for line in tables.splitlines():
        fields = line.split()
        if len(fields) > 3 and fields[3] == LISTENING and fields[1].rpartition(":")[2] == f"{port:04X}":
            return True
    return False


def _measure(program: str, route: Route, arguments: tuple[str, ...], limit_s: float) -> dict[str, float]:
    port = _free_port()
    server = (program, *_of_port(route.target, gpu=route.gpus), *arguments, "-p", str(port))
    with Program(server) as listening, _report_file() as report:
        _await_listener(listening, port, min(limit_s, READY_LIMIT_S))
        client = (program, *_of_port(route.source, gpu=route.gpus), *arguments, "-p", str(port))
        ended = run_program(
            (*client, "--out_json", f"{REPORT_FILE}=/proc/self/fd/{report}", "127.0.0.1"),
            limit_s=limit_s,
            pass_files=(report,),
        )
        if ended.code != 0:
            raise Broken(f"{program} {route.name} ended with code {ended.code}: {ended.first_words}")
        return parse_report(read_all(report))


def _of_port(port: RdmaPortAtHand, *, gpu: bool) -> tuple[str, ...]:
    """Return the arguments that name a port, and the memory that is read and written."""
    gid = () if port.gid is None else ("-x", str(port.gid))
    memory = (f"{BY_BUS_ID}={port.gpu}",) if gpu else ()
    return ("-d", port.adapter, "-i", str(port.port), "-F", *gid, *memory)


def _await_listener(
    server: Program, port: int, limit_s: float, monotonic: Callable[[], float] = time.monotonic
) -> None:
    ends_s = monotonic() + limit_s
    tables = [Path(f"/proc/{server.pid}/net/{name}") for name in ("tcp", "tcp6")]
    while monotonic() < ends_s:
        code = server.wait(LOOK_S)
        if code is not None:
            raise Broken(f"{server.name} ended before it listened: {server.ended(code).first_words}")
        if any(is_listening(_text(table), port) for table in tables):
            return
    raise Broken(f"{server.name} did not listen within {limit_s:g} s")


@contextmanager
def _report_file() -> Iterator[int]:
    """Give a file in memory, of which nothing is left on a disk, however the process ends."""
    file = os.memfd_create("report")
    try:
        yield file
    finally:
        os.close(file)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _number(report: dict[str, float], name: str, route: Route) -> float:
    if name not in report:
        raise Broken(f"the report of perftest on {route.name} has no {name}")
    return report[name]


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
