"""Every fault of the catalogue, injected into a simulated machine and judged by the agent's own sources and checks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.manifest_file import Approved
from agent.simulation import sources
from agent.simulation.faults import FAULTS, find_fault
from agent.simulation.hidden_faults import HIDDEN_FAULTS
from agent.simulation.machine import Seams, SimulatedMachine
from agent.simulation.nvml_library import SWAY_S, Gpu, swayed
from agent.sources.mounts import MountsSource
from agent.sources.nvml import NvmlSource
from agent.sources.registry import SOURCES
from checks.check import LevelCheck
from checks.errors import CannotJudge
from checks.finding import Action, Finding, Verdict
from checks.judge import LatchedJudge
from checks.kernel_log import believed
from checks.node_counters import BY_NAME, counters_of
from checks.readings import NvmlReading
from checks.registry import CHECKS
from tests.support.eventually import eventually
from tests.support.memory_store import MemoryStore
from tests.support.surroundings import deadline

APART_S = 15.0
"""Seconds between two readings, as the checks see it."""

Seen = set[tuple[str, str, str]]


async def no_wait(_seconds: float) -> None:
    """Simulated durations take no time here."""


class Watcher:
    """An agent's eyes on one machine, before and after its reboots."""

    def __init__(self, directory: Path) -> None:
        self.ended: list[int] = []
        self.killed: list[bool] = []
        seams = Seams(sleep=no_wait, end_process=self.ended.append, kill_process=lambda: self.killed.append(True))
        self.machine = SimulatedMachine.create(directory, name="n1", seed=7, speedup=360.0, seams=seams)
        self.stores = {declared.name: MemoryStore() for declared in SOURCES}
        self.start()

    def start(self) -> None:
        """Begin as an agent that has just been started."""
        timings = {declared.name: declared.timing for declared in SOURCES}
        self.sources = sources.make_sources(self.machine, self.stores.__getitem__, timings, approved=Approved())
        self.readings: dict[type, list[Any]] = {}

    @property
    def nvml(self) -> NvmlSource:
        """The source over NVML."""
        (source,) = [source for source in self.sources if isinstance(source, NvmlSource)]
        return source

    async def look(self) -> Seen:
        """Take two readings of each source and return what the level checks say: check, code, verdict."""
        for _ in range(2):
            for source in self.sources:
                reading = await source.read()
                earlier = self.readings.setdefault(type(reading), [])
                earlier.append(replace(reading, at_s=APART_S * len(earlier)))
        return {
            (check.id, finding.code, finding.verdict.value)
            for check in CHECKS
            if isinstance(check, LevelCheck) and check.reading in self.readings
            for finding in _judged(check, self.readings[check.reading])
        }

    async def logged(self) -> Seen:
        """Return what the latched checks say of the kernel log of this boot."""
        judge, seen = LatchedJudge(), set()
        count = len((self.machine.directory / "kmsg.log").read_bytes().splitlines())
        async with aclosing(sources.kernel_log_source(self.machine).records()) as records:
            async for record in records:
                assert believed(record, accept_userspace=False)
                seen |= {(each.check, each.code, each.verdict.value) for each in judge.feed(record)}
                if (record.sequence or 0) + 1 == count:
                    break
        return seen

    async def reboot(self) -> None:
        """Reboot the machine, and start again as the agent of its new boot."""
        before = self.machine.boot_id()
        await self.machine.reboot()
        await eventually("the agent is ended", lambda: bool(self.ended))
        assert self.ended == [75]
        assert before != self.machine.boot_id()
        self.ended.clear()
        await asyncio.gather(*(source.close() for source in self.sources))
        self.start()


def _judged(check: LevelCheck, window: list[Any]) -> tuple[Finding, ...]:
    try:
        return check.judge(window if check.window_s else window[-1:])
    except CannotJudge as error:
        return (Finding(check.id, "", "cannot_judge", Verdict.UNKNOWN, Action.NONE, str(error)),)


@pytest.fixture
async def watcher(tmp_path: Path) -> AsyncIterator[Watcher]:
    watcher = Watcher(tmp_path / "n1")
    yield watcher
    await watcher.nvml.close()


PENDING = ("gpu.row_remap", "pending", "degraded")
DBE = ("gpu.xid", "48", "failed")
REMAPPED = ("gpu.xid", "63", "degraded")

GROWN: Seen = {("gpu.ecc_uncorrected", "dram", "degraded")}
"""A counter that grew before the boot has not grown since."""

LEVELS: dict[str, Seen] = {
    "gpu-off-bus": {("gpu.count", "lost", "failed")},
    "ecc-contained": {PENDING, ("gpu.ecc_uncorrected", "dram", "degraded")},
    "ecc-uncontained": {
        PENDING,
        ("gpu.ecc_uncorrected", "dram", "degraded"),
        ("gpu.recovery_action", "reset", "failed"),
    },
    "row-remap-pending": {PENDING},
    "row-remap-failed": {("gpu.row_remap", "failed", "failed")},
    "recovery-action": {("gpu.recovery_action", "reset", "failed")},
    "gpu-halted": {("gpu.recovery_action", "reset", "failed")},
    "fabric-manager-down": {("host.services", "fabric_manager_down", "failed")},
    "nvlink-down": {("fabric.nvlink", "down", "failed")},
    "imex-failure": {("gpu.recovery_action", "recover_imex", "failed")},
    "app-fault": set(),
    "rdma-port-down": {("fabric.rdma_port", "down", "failed")},
    "rdma-port-flapping": {("fabric.rdma_flap", "flapping", "failed")},
    "rdma-port-missing": {("fabric.rdma_port", "missing", "failed")},
    "disk-full": {("storage.space", "space", "failed")},
    "disk-read-only": {("storage.read_only", "", "failed")},
    "memory-uncorrected": set(),
    "hung-task": set(),
    "agent-killed": set(),
    **{fault.name: set() for fault in HIDDEN_FAULTS},
}
"""Fault → what the level checks say of it. NVML's own failures are told one by one below."""

LINES: dict[str, set[str]] = {
    "gpu-off-bus": {"79"},
    "ecc-contained": {"48", "63", "94", "45"},
    "ecc-uncontained": {"48", "63", "95"},
    "row-remap-pending": {"63"},
    "row-remap-failed": {"64"},
    "recovery-action": {"154"},
    "gpu-halted": {"62"},
    "gsp-timeout": {"119"},
    "nvlink-down": {"74"},
    "imex-failure": {"154"},
    "app-fault": {"31"},
    "rdma-port-missing": {"firmware"},
    "disk-read-only": {"filesystem_error", "read_only"},
    "memory-uncorrected": {"memory_uncorrected"},
    "hung-task": {"hung_task"},
}
"""Fault → codes of what the latched checks say of its lines, nothing for those that are left out."""


async def test_a_healthy_machine_has_no_findings(watcher: Watcher) -> None:
    assert set() == await watcher.look()
    assert set() == await watcher.logged()


@pytest.mark.parametrize("fault", sorted(LEVELS))
async def test_a_fault_shows_itself_to_the_checks(watcher: Watcher, fault: str) -> None:
    await watcher.look()
    await watcher.machine.inject_fault(fault, device="", parameters={"repair": "fails"})
    assert LEVELS[fault] == await watcher.look()
    assert LINES.get(fault, set()) == {code for _, code, _ in await watcher.logged()}


async def test_a_gpu_whose_firmware_is_dead_needs_a_reset_and_cannot_be_judged(watcher: Watcher) -> None:
    await watcher.look()
    await watcher.machine.inject_fault("gsp-timeout", device="", parameters={})
    seen = await watcher.look()
    assert ("gpu.count", "reset_required", "failed") in seen
    assert {"failed", "unknown"} == {verdict for _, _, verdict in seen}


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("nvml-hang", ("gpu.nvml", "hung", "failed")),
        ("driver-not-loaded", ("gpu.nvml", "driver_not_loaded", "unknown")),
        ("driver-mismatch", ("gpu.nvml", "version_mismatch", "degraded")),
    ],
)
async def test_a_driver_that_does_not_answer_is_one_fault_and_all_else_unknown(
    watcher: Watcher, fault: str, expected: tuple[str, str, str]
) -> None:
    await watcher.look()
    watcher.nvml.timing = deadline(0.5)
    await watcher.machine.inject_fault(fault, device="", parameters={"repair": "succeeds"})
    seen = await watcher.look()
    assert expected in seen
    assert {"unknown"} == {verdict for check, _, verdict in seen if check != "gpu.nvml"}
    await watcher.reboot()
    assert set() == await watcher.look()


async def test_a_mount_that_hangs_is_a_fault_and_keeps_nobody_else_waiting(watcher: Watcher) -> None:
    await watcher.look()
    (mounts,) = [source for source in watcher.sources if isinstance(source, MountsSource)]
    mounts.timing = deadline(0.2)
    await watcher.machine.inject_fault("mount-hang", device="", parameters={"repair": "succeeds"})
    seen = await watcher.look()
    assert {("storage.space", "unreadable", "unknown"), ("storage.hang", "timeout", "failed")} == seen
    await watcher.reboot()
    assert set() == await watcher.look()


def test_every_fault_is_tried_here() -> None:
    tried = set(LEVELS) | {"gsp-timeout", "mount-hang", "nvml-hang", "driver-not-loaded", "driver-mismatch"}
    assert tried == {fault.name for fault in FAULTS}


@pytest.mark.parametrize("fault", [fault.name for fault in FAULTS if fault.reset_fixes and fault not in HIDDEN_FAULTS])
async def test_a_reset_that_succeeds_really_mends(watcher: Watcher, fault: str) -> None:
    await watcher.machine.inject_fault(fault, device="5", parameters={"repair": "succeeds"})
    assert set() != await watcher.look()
    await watcher.machine.reset_gpu(watcher.machine.hardware().gpus[5].uuid)
    watcher.readings.clear()
    assert set() == await watcher.look()


@pytest.mark.parametrize("fault", sorted(name for name, seen in LEVELS.items() if seen))
async def test_a_reboot_that_succeeds_really_mends(watcher: Watcher, fault: str) -> None:
    await watcher.look()
    await watcher.machine.inject_fault(fault, device="", parameters={"repair": "succeeds"})
    await watcher.reboot()
    assert set() == await watcher.look()
    assert set() == await watcher.logged()


@pytest.mark.parametrize("fault", sorted(name for name, seen in LEVELS.items() if seen - GROWN))
async def test_a_reboot_that_fails_leaves_the_fault_as_a_new_boot_shows_it(watcher: Watcher, fault: str) -> None:
    await watcher.look()
    await watcher.machine.inject_fault(fault, device="", parameters={"repair": "fails"})
    await watcher.reboot()
    looks = [await watcher.look() for _ in range(3)]
    assert LEVELS[fault] - GROWN == looks[-1]
    assert LINES.get(fault, set()) == {code for _, code, _ in await watcher.logged()}


async def test_a_gpu_that_is_gone_after_the_reboot_is_missed_by_the_inventory(watcher: Watcher) -> None:
    await watcher.look()
    await watcher.machine.inject_fault("xid79", device="2", parameters={"repair": "fails"})
    await watcher.reboot()
    reading = await watcher.nvml.read()
    gone = watcher.machine.hardware().gpus[2]
    assert (len(reading.gpus), len(reading.known_gpus)) == (7, 8)
    assert gone.uuid not in {gpu.uuid for gpu in reading.gpus}


async def test_a_healthy_node_tells_every_counter_and_its_temperature_moves(watcher: Watcher) -> None:
    await watcher.look()
    told = counters_of(each for readings in watcher.readings.values() for each in reversed(readings))
    assert set(told) == set(BY_NAME)
    gpus, states = watcher.readings[NvmlReading][-1].gpus, watcher.machine.hardware().gpus
    told_and_true = (
        (gpu.temperature_celsius, state.temperature_celsius) for gpu, state in zip(gpus, states, strict=True)
    )
    assert all(abs(celsius - true) <= 2 for celsius, true in told_and_true)
    sways = [swayed(Gpu({"gpu 3 sway": "2"}, 3), at) for at in range(0, int(SWAY_S), 60)]
    assert -2.0 <= min(sways) < -1.9 and 1.9 < max(sways) <= 2.0


async def test_a_contained_error_comes_as_one_burst(watcher: Watcher) -> None:
    await watcher.machine.inject_fault("xid94", device="0", parameters={})
    records = []
    async with aclosing(sources.kernel_log_source(watcher.machine).records()) as stream:
        async for record in stream:
            if "Xid" in record.text:
                records.append(record)
            if len(records) == 4:
                break
    assert records[-1].at_s - records[0].at_s < 0.01
    assert find_fault("xid94") is find_fault("ecc-contained")


async def test_a_job_is_seen_by_nvml_until_it_ends(tmp_path: Path) -> None:
    now = [1_000.0]
    seams = Seams(wall=lambda: now[0], sleep=no_wait)
    machine = SimulatedMachine.create(tmp_path / "n1", name="n1", seed=7, speedup=360.0, seams=seams)
    store = MemoryStore()
    (source,) = sources.make_sources(machine, lambda _: store, {"nvml": deadline(10.0)}, approved=Approved())
    assert isinstance(source, NvmlSource)
    await machine.inject_fault("job-arrives", device="", parameters={})
    for seconds, busy in ((0.0, True), (9.9, True), (0.2, False)):
        now[0] += seconds
        machine.pass_time()
        await source.close()
        gpus = (await source.read()).gpus
        assert {bool(gpu.details.processes) for gpu in gpus} == {busy}
        assert {gpu.utilization_percent for gpu in gpus} == {97 if busy else 0}
    await source.close()
    assert machine.state().faults == ()
