"""The runner and its desk: beats, unknowns, edges, fresh looks, and what a restart remembers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import msgspec
import pytest

from agent.desk import SMOULDER_S, Desk, last_sequence
from agent.runner import RECORDS_PER_TURN, KernelLog, Runner
from agent.sources.source import Timing
from checks.check import Check, LevelCheck, Outcome, Recovery
from checks.errors import CannotJudge, CannotObserve
from checks.finding import Action, Finding, Verdict
from checks.gpu import xid
from checks.host import agent
from checks.node_counters import RECENT_S
from checks.policy import Policy
from checks.readings import (
    DisksReading,
    HostReading,
    KernelLogState,
    KernelRecord,
    NvlinkCounters,
    NvlinkReading,
    NvmlReading,
    RdmaPort,
    RdmaReading,
)
from checks.readings.disks import NvmeController
from checks.storage import kernel as storage_kernel
from tests.support.agent_node import (
    EPOCH,
    PCI,
    UUID,
    ManualClock,
    MemoryJournal,
    ScriptedLog,
    ScriptedSource,
    nvml,
    settle,
)
from wire.messages import NodeFacts, Status

LOST = f"NVRM: Xid (PCI:{PCI}): 79, pid=1234, GPU has fallen off the bus."
CONTAINED = f"NVRM: Xid (PCI:{PCI}): 94, pid=1234, Contained ECC error"
UNCONTAINED = f"NVRM: Xid (PCI:{PCI}): 95, pid=1234, Uncontained ECC error"


def busy(readings: Sequence[HostReading]) -> tuple[Finding, ...]:
    """Judge the load of the newest reading; a test says how the host is through it."""
    load = readings[-1].load_1min
    if load is None:
        raise CannotJudge("no load")
    if load < 0:
        raise RuntimeError("a defect in the check")
    if load < 10:
        return ()
    return (Finding("host.busy", "host", "", Verdict.FAILED, Action.REBOOT, f"load {load:g}"),)


SAYS = (Outcome("*", Verdict.FAILED, Action.REBOOT),)
BUSY = LevelCheck("host.busy", "the host is busy", HostReading, busy, SAYS)


def seen(readings: Sequence[HostReading]) -> tuple[Finding, ...]:
    """Tell how many readings the check was given."""
    return (Finding("host.seen", "host", str(len(readings)), Verdict.DEGRADED, Action.NONE, "seen"),)


@dataclass(slots=True)
class Node:
    """A runner with everything around it in the test's hand."""

    checks: Sequence[Check] = (BUSY,)
    clock: ManualClock = field(default_factory=ManualClock)
    journal: MemoryJournal = field(default_factory=MemoryJournal)
    log: ScriptedLog = field(default_factory=ScriptedLog)
    boot_id: str = "boot-1"
    load: float | None = 0.0
    gpu: Callable[[float], NvmlReading] = nvml
    accept_userspace: bool = False
    notified: int = 0
    host: ScriptedSource = field(init=False)
    nvml: ScriptedSource = field(init=False)
    desk: Desk = field(init=False)
    runner: Runner = field(init=False)

    def __post_init__(self) -> None:
        """Put the runner together."""
        self.host = ScriptedSource("host", lambda: HostReading(self.clock.now, load_1min=self.load), clock=self.clock)
        self.nvml = ScriptedSource("nvml", lambda: self.gpu(self.clock.now), clock=self.clock)
        self.desk = Desk(
            self.checks,
            journal=self.journal,
            boot_id=self.boot_id,
            notify=self._count,
            clock=self.clock.clock,
        )
        self.runner = Runner(
            self.desk,
            sources=(self.host, self.nvml),
            kernel_log=KernelLog(self.log, accept_userspace=self.accept_userspace),
            outbox=self.journal,
            facts=NodeFacts(),
            clock=self.clock.clock,
            phase=lambda: 0.0,
        )

    def _count(self) -> None:
        self.notified += 1

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run it for the time of the block."""
        task = asyncio.create_task(self.runner.run())
        await settle()
        try:
            yield
        finally:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


async def test_a_source_is_read_at_once_and_then_on_a_beat_that_does_not_drift() -> None:
    node = Node()
    async with node.running():
        await node.clock.advance(26.0)
    assert node.host.began == [1_000.0, 1_005.0, 1_015.0, 1_025.0]


async def test_beats_missed_by_a_slow_reading_are_left_out() -> None:
    node = Node()
    async with node.running():
        node.host.gate.clear()
        await node.clock.advance(27.0)
        node.host.gate.set()
        await node.clock.advance(20.0)
    assert node.host.began == [1_000.0, 1_005.0, 1_035.0, 1_045.0]


async def test_a_level_has_the_measures_of_a_fresh_reading_and_of_no_other() -> None:
    node = Node(gpu=lambda at_s: nvml(at_s, utilization_percent=0, temperature_celsius=34))
    async with node.running():
        assert node.runner.status().measures == {"gpu_idle_temperature_celsius": 34.0}
        node.nvml.gate.clear()
        await node.clock.advance(600.0)
        assert node.runner.status().measures == {}


async def test_a_level_has_the_counters_of_fresh_readings_and_of_the_ones_shortly_before() -> None:
    watching = LevelCheck("gpu.watched", "", NvmlReading, lambda _: (), SAYS, window_s=3_600.0)
    node = Node((watching,), gpu=lambda at_s: nvml(at_s, temperature_celsius=34, nvlink=links(at_s)))
    async with node.running():
        assert node.runner.status().counters == {
            "gpu_temperature_celsius": 34.0,
            "nvlinks_active": 1.0,
            "nvlink_errors": 7.0,
        }
        await node.clock.advance(30.0)
        assert node.runner.status().counters["nvlink_errors"] == 7.0
        await node.clock.advance(RECENT_S)
        assert "nvlink_errors" not in node.runner.status().counters
        node.nvml.gate.clear()
        await node.clock.advance(600.0)
        assert node.runner.status().counters == {}


def links(at_s: float) -> NvlinkReading:
    """Return one link, whose counters are asked for in the first reading alone."""
    return NvlinkReading(states=(1,), counters=NvlinkCounters(crc_errors=(7,)) if at_s < 1_010.0 else None)


async def test_a_fault_comes_and_goes_with_the_readings() -> None:
    node = Node(load=50.0)
    async with node.running():
        assert node.journal.told() == ["+host.busy|host| failed"]
        level = node.runner.status()
        assert (level.checks["host.busy"].verdict, level.checks["host.busy"].because) == ("failed", "load 50")
        assert level.raised_at == {"host.busy|host|": EPOCH + 1_000.0}
        assert level.last_event_seq == 1
        node.load = 1.0
        await node.clock.advance(6.0)
    assert node.journal.told() == ["+host.busy|host| failed", "-host.busy|host|"]
    assert node.notified == 2
    level = node.runner.status()
    assert (
        level.findings,
        level.checks["host.busy"].verdict,
        level.checks["host.busy"].judged_at,
    ) == ([], "ok", EPOCH + 1_005.0)


async def test_a_check_gets_the_readings_of_its_window_and_no_older_ones() -> None:
    windowed = LevelCheck("host.seen", "counts its readings", HostReading, seen, SAYS, window_s=10.0)
    newest = LevelCheck("host.one", "counts its readings", HostReading, seen, SAYS)
    node = Node(checks=(windowed, newest))
    async with node.running():
        await node.clock.advance(60.0)
    assert {"2"} == {finding.code for finding in node.runner.status().findings if finding.check == "host.seen"} - {"1"}
    assert [len(window) for window in _windows(node)] == [1, 2, 2]


def _windows(node: Node) -> list[list[HostReading]]:
    window = node.desk._windows["host"]
    by_check = {check.id: readings for check, readings in window.views()}
    return [by_check["host.one"], by_check["host.seen"], list(window._readings)]


@pytest.mark.parametrize(("load", "code"), [(None, "unjudged"), (-1.0, "crashed")])
async def test_a_check_that_cannot_judge_or_crashes_is_unknown_and_keeps_its_fault(
    load: float | None, code: str
) -> None:
    node = Node(load=50.0)
    async with node.running():
        judged_at = node.runner.status().checks["host.busy"].judged_at
        node.load = load
        await node.clock.advance(6.0)
        assert [f"+host.busy|host|{code} unknown"] == node.journal.told()[1:]
        assert judged_at == node.runner.status().checks["host.busy"].judged_at
        assert (code == "crashed") == (node.desk.crashes["host.busy"] == 1)
        node.load = 1.0
        await node.clock.advance(10.0)
    assert {"-host.busy|host|", f"-host.busy|host|{code}"} == set(node.journal.told()[2:])


@pytest.mark.parametrize(
    ("error", "code"), [(CannotObserve("no such library"), "unobserved"), (RuntimeError("defect"), "crashed")]
)
async def test_a_source_that_fails_makes_its_checks_unknown_and_the_next_reading_heals_it(
    error: Exception, code: str
) -> None:
    node = Node()

    def fail() -> HostReading:
        raise error

    answer, node.host.answer = node.host.answer, fail
    async with node.running():
        assert [f"+host.busy|host|{code} unknown"] == node.journal.told()
        assert (
            node.runner.status().checks["host.busy"].verdict,
            node.runner.status().checks["host.busy"].judged_at,
        ) == ("unknown", 0.0)
        assert node.runner.meets_budget
        node.host.answer = answer
        await node.clock.advance(6.0)
    assert [f"-host.busy|host|{code}"] == node.journal.told()[1:]


async def test_a_source_that_never_answers_is_overdue_once_and_starves_the_watchdog() -> None:
    node = Node()
    node.host.gate.clear()
    async with node.running():
        await node.clock.advance(25.0)
        assert (
            node.journal.told(),
            node.runner.meets_budget,
            node.runner.first_look.is_set(),
        ) == ([], True, False)
        await node.clock.advance(30.0)
        assert node.journal.told() == ["+host.busy|host|overdue unknown"]
        assert not node.runner.meets_budget
        assert node.runner.first_look.is_set()
        node.host.gate.set()
        await node.clock.advance(1.0)
        assert node.runner.meets_budget
    assert node.journal.told()[1:] == ["-host.busy|host|overdue"]
    assert node.host.began == [1_000.0, 1_055.0]


async def test_a_kernel_record_is_in_the_outbox_before_any_time_passes() -> None:
    node = Node(checks=(xid.CHECK,))
    async with node.running():
        node.log.write(LOST)
        await settle()
        assert [f"+gpu.xid|{UUID}|79 failed"] == node.journal.told()
        assert node.notified == 1
    (finding,) = node.runner.status().findings
    assert (finding.pci, finding.serial) == (PCI, "S1")
    assert node.runner.kernel_lines == (LOST,)


async def test_what_any_container_can_write_is_counted_and_not_believed() -> None:
    node = Node(checks=(xid.CHECK,))
    async with node.running():
        node.log.write(LOST, facility=1)
        await settle()
    assert (node.journal.told(), node.runner.records_ignored) == ([], 1)
    trusting = Node(checks=(xid.CHECK,), accept_userspace=True)
    async with trusting.running():
        trusting.log.write(LOST, facility=1)
        await settle()
    assert ([f"+gpu.xid|{UUID}|79 failed"], 0) == (trusting.journal.told(), trusting.runner.records_ignored)


async def test_a_flood_of_records_leaves_the_other_tasks_their_turn() -> None:
    node = Node(checks=(xid.CHECK,))
    turns = 0
    async with node.running():
        for _ in range(5_000):
            node.log.write("eth0: link is up")
        while node.log.lines.qsize():
            await asyncio.sleep(0)
            turns += 1
    assert turns >= 5_000 // RECORDS_PER_TURN


async def test_a_broken_stream_is_taken_up_again() -> None:
    node = Node(checks=(xid.CHECK,))
    async with node.running():
        node.log.interrupt(CannotObserve("/dev/kmsg: permission denied"))
        node.log.interrupt(RuntimeError("defect"))
        node.log.write(LOST)
        await node.clock.advance(2.9)
        assert node.journal.told() == []
        await node.clock.advance(0.2)
    assert [f"+gpu.xid|{UUID}|79 failed"] == node.journal.told()
    assert node.desk.crashes == {"kernel_log": 1}


async def test_checks_over_a_log_that_cannot_be_read_are_unknown() -> None:
    node = Node(checks=(xid.CHECK,))
    node.log.readable, node.log.because = False, "permission denied"
    async with node.running():
        assert node.journal.told() == ["+gpu.xid|host|unobserved unknown"]
        level = node.runner.status().checks["gpu.xid"]
        assert (level.verdict, level.because) == ("unknown", "the kernel log cannot be read: permission denied")
        node.log.readable = True
        await node.clock.advance(10.0)
        assert node.runner.status().checks["gpu.xid"].verdict == "ok"
    assert node.journal.told()[1:] == ["-gpu.xid|host|unobserved"]


def crash(_: Sequence[KernelRecord]) -> tuple[Finding, ...]:
    """Stand for a defect in a check."""
    raise RuntimeError("defect")


def never(_: Finding, __: Recovery) -> str:
    """Release nothing."""
    return ""


async def test_a_latched_check_that_crashes_is_unknown_for_an_interval_and_hinders_no_other() -> None:
    broken = type(xid.CHECK)("host.broken", "crashes", crash, never, SAYS)
    node = Node(checks=(broken, xid.CHECK))
    async with node.running():
        node.log.write(LOST)
        await settle()
        assert [f"+gpu.xid|{UUID}|79 failed"] == node.journal.told()
        await node.clock.advance(10.0)
        assert node.journal.told()[1:] == ["+host.broken|host|crashed unknown"]
        await node.clock.advance(10.0)
    assert node.journal.told()[2:] == ["-host.broken|host|crashed"]
    assert node.desk.crashes == {"host.broken": 1}


async def test_a_server_that_answers_again_ends_what_the_kernel_said_of_it() -> None:
    node = Node(checks=(storage_kernel.CHECK,))
    async with node.running():
        node.log.write("nfs: server storage.example not responding, still trying")
        node.log.write("nfs: server other.example OK")
        await settle()
        assert node.journal.told() == ["+storage.kernel|storage.example|nfs_server degraded"]
        node.log.write("nfs: server storage.example OK")
        await settle()
    assert node.journal.told()[1:] == ["-storage.kernel|storage.example|nfs_server"]


async def test_what_is_said_of_a_disk_bears_its_serial_once_its_controller_is_known() -> None:
    node = Node(checks=(storage_kernel.CHECK,))
    disks = DisksReading(1.0, controllers=(NvmeController("nvme0", serial="S64F"), NvmeController("nvme1")))
    line = "I/O error, dev nvme{}n1, sector 8 op 0x0:(READ)"
    async with node.running():
        node.log.write(line.format(0))
        await settle()
        node.desk.take(disks, began=1.0, began_at=1.0)
        node.log.write(line.format(0))
        node.log.write(line.format(1))
        await settle()
    serials = {key.device: entry.finding.serial for key, entry in node.desk.book.raised.items()}
    assert serials == {"nvme0n1": "S64F", "nvme1n1": ""}


async def test_a_fault_that_needs_a_reset_is_released_only_by_a_reading_that_begins_after_it() -> None:
    node = Node(checks=(xid.CHECK,))
    async with node.running():
        node.log.write(UNCONTAINED)
        await node.clock.advance(30.0)
        assert [f"+gpu.xid|{UUID}|95 failed"] == node.journal.told()
        node.nvml.gate.clear()
        await node.clock.advance(6.0)
        began_before = len(node.nvml.began)
        node.desk.device_was_reset(UUID)
        node.nvml.gate.set()
        await settle()
        assert len(node.nvml.began) == began_before
        assert [f"+gpu.xid|{UUID}|95 failed"] == node.journal.told()
        levels = await node.runner.run_checks(["gpu.xid"])
    assert {check: level.verdict for check, level in levels.items()} == {"gpu.xid": "ok"}
    assert [f"-gpu.xid|{UUID}|95"] == node.journal.told()[1:]


async def test_a_restart_forgets_no_latched_fault_and_a_reboot_with_a_healthy_gpu_ends_it() -> None:
    node = Node(checks=(xid.CHECK,))
    async with node.running():
        node.log.write(LOST)
        await settle()
    again = Node(checks=(xid.CHECK,), journal=node.journal, clock=node.clock)
    assert last_sequence(node.journal, "boot-1") == 0
    assert last_sequence(node.journal, "boot-2") == -1
    async with again.running():
        await again.clock.advance(100.0)
        assert [finding.code for finding in again.runner.status().findings] == ["79"]
    lost = Node(checks=(xid.CHECK,), journal=node.journal, clock=node.clock, boot_id="boot-2")
    lost.gpu = lambda at_s: nvml(at_s, lost=True)
    async with lost.running():
        assert [finding.code for finding in lost.runner.status().findings] == ["79"]
        lost.gpu = nvml
        await lost.clock.advance(10.0)
        assert lost.runner.status().findings == []
    assert [f"+gpu.xid|{UUID}|79 failed", f"-gpu.xid|{UUID}|79"] == node.journal.told()


async def test_a_record_is_tied_to_its_gpu_by_the_names_of_the_last_run() -> None:
    node = Node(checks=(xid.CHECK,))
    async with node.running():
        pass
    again = Node(checks=(xid.CHECK,), journal=node.journal, clock=node.clock)
    again.nvml.gate.clear()
    async with again.running():
        again.log.write(LOST)
        await settle()
    (finding,) = again.runner.status().findings
    assert (finding.device, finding.serial) == (UUID, "S1")


async def test_run_checks_judges_readings_that_begin_after_it_was_asked() -> None:
    node = Node(load=50.0)
    node.host.gate.clear()
    async with node.running():
        asked = asyncio.create_task(node.runner.run_checks(["host.busy"]))
        await node.clock.advance(2.0)
        assert not asked.done()
        node.load = 1.0
        node.host.gate.set()
        levels = await asked
    assert node.host.began == [1_000.0, 1_002.0]
    assert (levels["host.busy"].judged_at, levels["host.busy"].verdict) == (EPOCH + 1_002.0, "ok")


async def test_run_checks_reads_until_hysteresis_has_settled() -> None:
    slow = LevelCheck("host.busy", "busy", HostReading, busy, SAYS, policy=Policy(clear_after=3))
    node = Node(checks=(slow,), load=50.0)
    async with node.running():
        node.load = 1.0
        asked = asyncio.create_task(node.runner.run_checks(["host.busy"]))
        await node.clock.advance(2.5)
        levels = await asked
    assert levels["host.busy"].verdict == "ok"
    assert node.host.began == [1_000.0, 1_000.0, 1_001.0, 1_002.0]


async def test_run_checks_does_not_wait_for_ever() -> None:
    node = Node()
    async with node.running():
        node.host.gate.clear()
        asked = asyncio.create_task(node.runner.run_checks(["host.busy"]))
        await node.clock.advance(26.0)
        levels = await asked
        assert levels["host.busy"].verdict == "unknown"
        node.host.gate.set()
        await settle()


async def test_no_reading_goes_on_once_the_runner_has_ended_and_none_of_them_counts() -> None:
    node = Node()
    async with node.running():
        node.host.gate.clear()
        asked = asyncio.create_task(node.runner.run_checks(["host.busy"]))
        await settle()
    async with asyncio.timeout(30.0):
        levels = await asked
    assert levels["host.busy"].verdict == "unknown"


async def test_a_check_without_a_source_is_unknown() -> None:
    node = Node()
    node.runner._feeds.pop("host")
    levels = await node.runner.run_checks(["host.busy"])
    assert (levels["host.busy"].verdict, levels["host.busy"].because) == ("unknown", "this node has no source host")


async def test_the_state_of_the_log_is_judged_by_level_checks() -> None:
    def loses(readings: Sequence[KernelLogState]) -> tuple[Finding, ...]:
        found = Finding("host.log", "host", "", Verdict.UNKNOWN, Action.NONE, readings[-1].because)
        return (found,) if readings[-1].because else ()

    node = Node(checks=(LevelCheck("host.log", "the log is read", KernelLogState, loses, SAYS),))
    async with node.running():
        node.log.because = "12 records lost"
        await node.clock.advance(10.0)
        assert node.journal.told() == ["+host.log|host| unknown"]
        assert "kernel_log" in node.runner.last_readings
        asked = await node.runner.run_checks(["host.log"])
    assert asked["host.log"].verdict == "unknown"


def mounted(_: Sequence[HostReading]) -> tuple[Finding, ...]:
    """Find a fault on a mount point whose name is no UTF-8."""
    name = b"/mnt/\xff".decode(errors="surrogateescape")
    return (Finding("host.mount", name, "", Verdict.FAILED, Action.NONE, f"{name} is full", evidence={name: name}),)


async def test_a_name_that_is_no_text_can_still_be_told() -> None:
    node = Node(checks=(LevelCheck("host.mount", "mounts", HostReading, mounted, SAYS),))
    async with node.running():
        level = node.runner.status()
    assert msgspec.json.decode(msgspec.json.encode(level), type=Status) == level
    assert level.findings[0].because == "/mnt/\\udcff is full"


async def test_the_facts_tell_what_nvml_said() -> None:
    node = Node()
    async with node.running():
        facts = node.runner.status().facts
    assert ("580.1", "H100", 1, {UUID: f"gpu 0 H100 serial S1 at {PCI}"}) == (
        facts.driver_version,
        facts.gpu_model,
        facts.gpu_count,
        facts.devices,
    )


async def test_a_fault_that_comes_again_every_second_fills_neither_disk_nor_outbox() -> None:
    node = Node(checks=(xid.CHECK,))
    async with node.running():
        for _ in range(120):
            node.log.write(CONTAINED)
            await node.clock.advance(1.0)
    assert len(node.journal.events) == 1


async def test_a_source_is_read_fast_while_something_smoulders_and_calmly_after() -> None:
    node = Node()
    node.host.timing = Timing(interval_s=10.0, fast_interval_s=2.0, deadline_s=1.0)
    async with node.running():
        await node.clock.advance(20.0)
        calm = len(node.host.began)
        node.load = 50.0
        await node.clock.advance(20.0)
        smouldering = len(node.host.began) - calm
        await node.clock.advance(SMOULDER_S)
        stands = len(node.host.began)
        await node.clock.advance(100.0)
    assert calm <= 3
    assert smouldering >= 6
    assert len(node.host.began) - stands <= 11


async def test_a_line_about_a_gpu_makes_nvml_be_asked_at_once() -> None:
    node = Node(checks=(xid.CHECK,))
    async with node.running():
        await node.clock.advance(6.0)
        node.nvml.began.clear()
        node.log.write(LOST)
        await settle()
        assert node.nvml.began == [1_006.0]


async def test_a_source_whose_process_cannot_be_killed_is_a_finding_and_over_when_it_answers() -> None:
    node = Node(checks=(BUSY, agent.CHECK))
    async with node.running():

        def stuck() -> HostReading:
            raise CannotObserve("process 7 does not die of SIGKILL", stuck=True)

        healthy, node.host.answer = node.host.answer, stuck
        await node.clock.advance(80.0)
        assert "+host.agent|host|stuck degraded" in node.journal.told()
        node.host.answer = healthy
        await node.clock.advance(30.0)
        assert "-host.agent|host|stuck" in node.journal.told()


async def test_a_fault_that_was_raised_before_its_part_was_known_is_told_again_with_the_serial() -> None:
    node = Node(checks=(storage_kernel.CHECK,))
    async with node.running():
        node.log.write("I/O error, dev nvme0n1, sector 8 op 0x0:(READ)")
        await settle()
        (before,) = node.runner.status().findings
        node.desk.take(
            DisksReading(1.0, controllers=(NvmeController("nvme0", serial="S64F"),)), began=1.0, began_at=1.0
        )
        (after,) = node.runner.status().findings
        node.desk.take(
            DisksReading(2.0, controllers=(NvmeController("nvme0", serial="S64F"),)), began=2.0, began_at=2.0
        )
    assert (before.serial, after) == ("", replace(before, serial="S64F"))
    assert node.journal.told() == [f"+storage.kernel|nvme0n1|{before.code} {before.verdict}"] * 2


async def test_a_kernel_record_of_an_adapter_bears_its_guid_in_the_next_run_too() -> None:
    node = Node(checks=(storage_kernel.CHECK,))
    port = RdmaPort("mlx5_0/1", node_guid="a088:1", pci=PCI)
    node.desk.take(RdmaReading(1.0, (port,)), began=1.0, began_at=1.0)
    later = Node(checks=(BUSY,), journal=node.journal, boot_id="boot-2")
    said = Finding("host.busy", "mlx5_0/1", "", Verdict.FAILED, Action.REBOOT, "so", pci=PCI)
    assert later.desk._identified(said).serial == "a088:1"
