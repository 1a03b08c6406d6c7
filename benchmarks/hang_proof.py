"""That what hangs delays nothing else: NVML hung for ever, a mount hung for ever, and a flood in the kernel log.

The agent watches a simulated machine with the C double of NVML under the real pynvml. Every call into it hangs, whoever
asks the scratch file system hangs, and 50,000 lines are written to the kernel log within 3 s. Meanwhile its level, sent
each second, says when each check was judged last: its lateness is by how much the gap between two judgements is longer
than its source's interval. Beside it stands the same agent without any of this.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from agent.simulation.kernel_log import KernelLogFiles
from agent.simulation.machine import SimulatedMachine
from agent.sources.registry import SOURCES
from benchmarks.report import Row, publish
from checks.gpu import nvml
from checks.readings import NvmlReading
from checks.registry import CHECKS
from tests.support.agent_site import NODE, Controller, Site
from tests.support.broker import listening, running_broker, settings
from tests.support.nvml_double import build_double
from wire import topics
from wire.messages import FindingRaised, Status

FLOOD_LINES, FLOOD_S, BATCH = 50_000, 3.0, 500
WATCHDOG_S = 2.0
STATUS_S = 1.0
CONFIGURATION = f"status_interval_s = {STATUS_S}"
XID = 79

INTERVALS = {source.name: source.timing.interval_s for source in SOURCES}
BEATS = {
    check.id: INTERVALS[check.source]
    for check in CHECKS
    if check.source in INTERVALS and (check.source != NvmlReading.SOURCE or check.id == nvml.ID)
}
"""Check → seconds between two of its readings while all is calm; none may be later than that for what others do."""


@dataclass(slots=True)
class Watchdog:
    """systemd's end of the line: when it was fed."""

    socket: socket.socket
    fed_at: list[float] = field(default_factory=list)

    def take(self) -> None:
        """Take in what came."""
        while True:
            try:
                message = self.socket.recv(4096)
            except BlockingIOError:
                return
            if b"WATCHDOG=1" in message:
                self.fed_at.append(time.monotonic())


@contextmanager
def watchdog(folder: Path) -> Iterator[Watchdog]:
    """Give a socket as systemd has one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(folder / "notify"))
        listener.setblocking(False)
        yield Watchdog(listener)


async def flood(machine: SimulatedMachine) -> float:
    """Write the lines evenly over the time, and return how long it took."""
    log, began = KernelLogFiles(machine.directory), time.monotonic()
    booted_at = machine.state().booted_at
    for batch in range(FLOOD_LINES // BATCH):
        lines = tuple(f"audit: backlog limit exceeded {batch * BATCH + line}" for line in range(BATCH))
        log.append(lines, severity=4, booted_at=booted_at)
        due = began + (batch + 1) * FLOOD_S * BATCH / FLOOD_LINES
        await asyncio.sleep(max(0.0, due - time.monotonic()))
    return time.monotonic() - began


async def watch(controller: Controller, dog: Watchdog, seconds: float) -> None:
    """Let time go by, taking in what the agent says."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await controller.hear()
        dog.take()
        await asyncio.sleep(0.05)


def lateness_s(controller: Controller) -> dict[str, float]:
    """Return by how much the worst gap between two judgements of each check is longer than its source's interval.

    What needs NVML cannot be judged while that hangs and is left out, but for the check that says so.
    """
    judged: dict[str, list[float]] = {}
    for status in (envelope.body for envelope in controller.envelopes if isinstance(envelope.body, Status)):
        for check, level in status.checks.items():
            times = judged.setdefault(check, [])
            if level.judged_at and (not times or level.judged_at > times[-1]):
                times.append(level.judged_at)
    return {check: max(0.0, max(gaps(judged[check]), default=0.0) - beat) for check, beat in BEATS.items()}


def gaps(times: list[float]) -> list[float]:
    """Return the gaps between moments."""
    return [later - earlier for earlier, later in pairwise(times)]


async def run(scratch: Path, seconds: float, *, troubled: bool) -> list[Row]:
    """Return what was seen of an agent in so many seconds after its first look."""
    name = "all of it hanging" if troubled else "all calm"
    machine = SimulatedMachine.create(scratch / "machine", name=NODE, seed=1, speedup=1.0)
    environment = {
        "LD_LIBRARY_PATH": str(build_double(scratch / "double")),
        "NVML_DOUBLE_STATE": str(machine.directory / "nvml.state"),
        "NOTIFY_SOCKET": str(scratch / "notify"),
        "WATCHDOG_USEC": str(int(WATCHDOG_S * 1e6)),
    }
    async with running_broker(scratch / "broker") as broker:
        site = Site(scratch, broker, machine, module="benchmarks.double_agent", more=CONFIGURATION)
        async with listening(settings(broker), f"{topics.ROOT}/main/node/+/+") as listener:
            controller = Controller(listener)
            with watchdog(scratch) as dog:
                await site.start(**environment)
                await controller.bodies(Status, lambda status: all(level.judged_at for level in status.checks.values()))
                rows = await trouble(machine, controller) if troubled else []
                await watch(controller, dog, seconds)
            await site.end()
    late = lateness_s(controller)
    worst = max(late, key=lambda check: late[check])
    return [
        Row(f"{name}: worst lateness, {worst}", late[worst], "s", "≤ 1"),
        Row(f"{name}: longest without feeding the watchdog of {WATCHDOG_S:g} s", max(gaps(dog.fed_at)), "s", "≤ 2"),
        *rows,
    ]


async def trouble(machine: SimulatedMachine, controller: Controller) -> list[Row]:
    """Let everything hang at once, write the flood and after it one Xid; return how long that took to be told."""
    for fault in ("nvml-hang", "mount-hang"):
        await machine.inject_fault(fault, device="", parameters={"repair": "fails"})
    took_s = await flood(machine)
    began = time.monotonic()
    machine.log_xid(0, XID)
    await controller.bodies(FindingRaised, lambda raised: raised.finding.code == str(XID))
    return [
        Row(f"the flood of {FLOOD_LINES:,} lines was written in", took_s, "s"),
        Row("a fault in the line after it is at the broker after", time.monotonic() - began, "s"),
    ]


async def measure(scratch: Path, seconds: float) -> list[Row]:
    """Return every figure, calm first."""
    rows = []
    for troubled in (False, True):
        folder = scratch / ("troubled" if troubled else "calm")
        await asyncio.to_thread(folder.mkdir)
        rows += await run(folder, seconds, troubled=troubled)
    return rows


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=75.0)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as scratch:
        rows = asyncio.run(measure(Path(scratch), seconds))
    publish("hang_proof", rows, about=f"{seconds:.0f} s each")


if __name__ == "__main__":
    main()
