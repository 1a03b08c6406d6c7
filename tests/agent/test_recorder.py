"""What a desk judged, recorded and judged again: the same edges. A recording never hinders what it records."""

from __future__ import annotations

import asyncio
import io
import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agent.desk import Desk
from agent.onlooker import record
from agent.recorder import NOBODY, Observer, Recorder, create, header_of, reader_of, record_beside
from agent.replay import replay
from agent.settings import Watch
from agent.simulation.machine import SimulatedMachine
from agent.watched import watched
from checks.errors import CannotJudge
from checks.judge import Judged
from checks.readings import HostReading, KernelLogState, KernelRecord, RdmaPort, RdmaReading
from checks.recording import FORMAT, Header, Reset, Taken, Unobserved, read
from checks.registry import CHECKS
from tests.support.agent_node import EPOCH, PCI, UUID, ManualClock, MemoryJournal, nvml
from tests.support.eventually import eventually

HEADER = Header(FORMAT, "a test", boot_id="boot-1")
UNCONTAINED = f"NVRM: Xid (PCI:{PCI}): 95, pid=1234, Uncontained ECC error"
LOST = f"NVRM: Xid (PCI:{PCI}): 79, pid=1234, GPU has fallen off the bus."


def entries(text: bytes) -> list[Taken]:
    return list(read(text.splitlines(keepends=True), name="r.jsonl")[1])


def told(edge: Judged) -> str:
    key = f"{edge.check}|{edge.device}|{edge.code}"
    return f"-{key}" if edge.verdict == "ok" else f"+{key} {edge.verdict}"


@dataclass(slots=True)
class Recorded:
    """A desk whose every input a recorder sees."""

    out: io.BytesIO = field(default_factory=io.BytesIO)
    journal: MemoryJournal = field(default_factory=MemoryJournal)
    clock: ManualClock = field(default_factory=ManualClock)
    recorder: Recorder = field(init=False)
    desk: Desk = field(init=False)

    def __post_init__(self) -> None:
        """Begin the recording."""
        self.recorder = Recorder(self.out)
        self.recorder.begin(HEADER)
        self.start("boot-1", self.recorder)

    def start(self, boot_id: str, observer: Observer = NOBODY) -> None:
        """Start the agent, in this boot."""
        clock = self.clock.clock
        self.desk = Desk(
            CHECKS, journal=self.journal, boot_id=boot_id, notify=lambda: None, clock=clock, observer=observer
        )

    def look(self, *, ports: int | None = 4, lost: bool = False) -> None:
        """Let every source answer; `ports` is the state of the only one."""
        at_s = self.clock.now
        port = RdmaPort("mlx5_0/1", link_layer="InfiniBand", state=ports, phys_state=5 if ports == 4 else 2)
        known = {"mlx5_0/1": 400.0}
        for reading in (nvml(at_s, lost=lost), RdmaReading(at_s, (port,), known), KernelLogState(at_s, readable=True)):
            self.desk.take(reading, began=at_s, began_at=EPOCH + at_s)

    def write(self, text: str) -> None:
        """Let the kernel log hold a record."""
        self.desk.take_record(KernelRecord(self.clock.now, text, facility=0, severity=3), is_believed=True)


async def test_a_recording_gives_the_edges_that_the_daemon_told() -> None:
    node = Recorded()
    for step in range(12):
        node.look(ports=1 if 2 < step < 8 else 4)
        if step == 3:
            node.write(UNCONTAINED)
        if step == 5:
            node.desk.device_was_reset(UUID)
        if step == 9:
            node.desk.take_failure("rdma", code="overdue", because="no reading for 9 s")
        await node.clock.advance(10.0)
    header, taken = read(node.out.getvalue().splitlines(keepends=True), name="r.jsonl")
    edges = list(replay(header, taken))
    assert [told(edge) for edge in edges] == node.journal.told()
    assert {f"+gpu.xid|{UUID}|95 failed", f"-gpu.xid|{UUID}|95"} <= set(node.journal.told())
    assert "+fabric.rdma_port|host|overdue unknown" in node.journal.told()
    assert {edge.pci for edge in edges if edge.check == "gpu.xid"} == {PCI}
    assert node.recorder.entries == len(entries(node.out.getvalue()))


async def test_a_reboot_in_a_recording_ends_what_only_a_reboot_ends() -> None:
    node = Recorded()
    node.look()
    node.write(LOST)
    await node.clock.advance(10.0)
    node.recorder.go_on("boot-2", at=EPOCH + node.clock.now, written=0)
    node.start("boot-2", node.recorder)
    await node.clock.advance(10.0)
    node.look()
    header, taken = read(node.out.getvalue().splitlines(keepends=True), name="r.jsonl")
    edges = [told(edge) for edge in replay(header, taken) if edge.check == "gpu.xid"]
    assert edges == [f"+gpu.xid|{UUID}|79 failed", f"-gpu.xid|{UUID}|79"]


def test_only_the_wanted_sources_are_kept() -> None:
    out = io.BytesIO()
    recorder = Recorder(out, only={"host"})
    recorder.begin(HEADER)
    recorder(HostReading(1.0), source="host", at=1.0)
    recorder(nvml(1.0), source="nvml", at=1.0)
    recorder(Unobserved("it hangs"), source="rdma", at=1.0)
    recorder(Reset("GPU-1"), source="", at=1.0)
    assert [taken.what for taken in entries(out.getvalue())] == [HostReading(1.0), Reset("GPU-1")]


class FullDisk(io.BytesIO):
    """A disk that takes the first line alone."""

    def write(self, data: bytes) -> int:  # type: ignore[override] # BytesIO takes any buffer
        """Take it, or fail as a full disk does."""
        if self.tell():
            raise OSError(28, "No space left on device")
        return super().write(data)


def test_a_full_disk_ends_the_recording_and_nothing_else() -> None:
    recorder = Recorder(FullDisk())
    recorder.begin(HEADER)
    recorder(HostReading(1.0), source="host", at=1.0)
    recorder(HostReading(2.0), source="host", at=2.0)
    assert (recorder.failure, recorder.ended.is_set()) == ("No space left on device", True)


def test_a_recording_beside_the_daemon_goes_on_after_a_restart_and_stays_within_its_size(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    for number in range(2):
        _record_three(path, now=float(number), most_bytes=10_000)
    most_bytes = path.stat().st_size + 150
    _record_three(path, now=2.0, most_bytes=most_bytes)
    kinds = [type(taken.what).__name__ for taken in entries(path.read_bytes())]
    assert kinds == [*["HostReading"] * 3, "Started", *["HostReading"] * 3, "Started"]
    assert path.stat().st_size <= most_bytes


@pytest.mark.parametrize("kept", [1, 20, 180, 250])
def test_half_a_line_that_a_kill_left_spoils_nothing_of_what_follows(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "r.jsonl"
    _record_three(path, now=0.0, most_bytes=10_000)
    whole = path.read_bytes()
    path.write_bytes(whole[:kept])
    _record_three(path, now=1.0, most_bytes=10_000)
    header, taken = read(path.read_bytes().splitlines(keepends=True), name="r.jsonl")
    assert header == HEADER
    assert [type(each.what) for each in taken][-3:] == [HostReading] * 3


def test_what_is_no_recording_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    os.mkfifo(tmp_path / "pipe")
    for name in ("notes", "pipe", "."):
        assert NOBODY is record_beside(tmp_path / name, HEADER, most_bytes=1_000_000, now=1.0)
    assert (tmp_path / "notes").read_text() == "mine"


def _record_three(path: Path, *, now: float, most_bytes: int) -> None:
    observer = record_beside(path, HEADER, most_bytes=most_bytes, now=now)
    for _ in range(3):
        observer(HostReading(1.0), source="host", at=1.0)
    observer.close()


def test_a_daemon_runs_without_a_recording_that_cannot_be_written(tmp_path: Path) -> None:
    assert NOBODY is record_beside(tmp_path / "missing" / "r.jsonl", HEADER, most_bytes=1, now=1.0)


@pytest.mark.parametrize("name", ["r.jsonl", "r.jsonl.gz"])
async def test_a_node_is_recorded_without_its_agent(tmp_path: Path, name: str) -> None:
    machine = SimulatedMachine.create(tmp_path / "n1", name="n1", seed=1, speedup=360.0)
    await machine.inject_fault("gpu-off-bus", device="2", parameters={})
    recorder, ending = Recorder(create(str(tmp_path / name)), only={"nvml", "kernel_log"}), asyncio.Event()
    watch = Watch(node="n1", simulation_directory=machine.directory)
    recording = asyncio.create_task(record(watch, watched(watch), recorder, only={"nvml", "kernel_log"}, ending=ending))
    await eventually("the GPUs are recorded", lambda: _holds_gpus(tmp_path / name))
    ending.set()
    await recording
    with reader_of(tmp_path / name) as lines:
        header, taken = read(lines, name=name)
        edges = list(replay(header, taken))
    assert (header.node, header.boot_id) == ("n1", machine.boot_id())
    assert ("gpu.xid", "79", "failed") in {(edge.check, edge.code, edge.verdict) for edge in edges}


def _holds_gpus(path: Path) -> bool:
    try:
        with reader_of(path) as lines:
            return any(taken.source == "nvml" for taken in read(lines, name="r")[1])
    except (EOFError, CannotJudge):
        return False


def test_a_header_names_its_origin() -> None:
    header = header_of("n1", "boot-1", accept_userspace=True)
    assert header.origin.startswith("recorded on n1 from 20")
    assert (header.node, header.boot_id, header.accept_userspace, header.expected) == ("n1", "boot-1", True, None)
