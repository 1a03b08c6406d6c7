"""The NVML source with the real pynvml in its real child, over the C double and over the simulation's library alike."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from agent.sources.child import Slot
from agent.sources.nvml import ABSENT_INTERVAL_S, SHARED, NvmlSource, name_silent, nvidia_addresses
from checks.errors import CannotObserve
from checks.gpu import count
from checks.manifest import Gpu, Manifest
from checks.readings import FabricReading, GpuDetails, GpuProcess, GpuReading, NvlinkCounters, NvlinkReading, RemapBanks
from tests.support.eventually import eventually
from tests.support.memory_store import MemoryStore
from tests.support.nvml_double import GPU_UUIDS, Library, build_double
from tests.support.surroundings import SOON, approve, deadline, surroundings_at

FIRST, SECOND = GPU_UUIDS
LINKS_UP = NvlinkReading(
    states=(1,) * 18, counters=NvlinkCounters(replays=(0,) * 18, recoveries=(0,) * 18, crc_errors=(0,) * 18)
)
FABRIC = FabricReading(state=3, cluster_uuid="0" * 32, health_mask=0x1AA, health_summary=1)
PCI = {FIRST: "0000:1b:00", SECOND: "0000:1c:00"}
DETAILS = GpuDetails(
    counted_at_s=5.0,
    remap_banks=RemapBanks(max=2559, high=1),
    pcie_errors={"replays": 0, "correctable": 0},
    processes=(),
    persistence=True,
    ecc_mode=1,
    ecc_mode_pending=1,
    mig_mode=0,
    mig_mode_pending=0,
    unrepairable_memory=False,
    power_limit_milliwatts=700000,
    default_power_limit_milliwatts=700000,
    application_sm_clock_mhz=1980,
    application_memory_clock_mhz=2619,
    max_sm_clock_mhz=1980,
    max_memory_clock_mhz=2619,
    max_pcie_generation=5,
    max_pcie_width=16,
    slowdown_margin_celsius=-2,
    max_margin_celsius=0,
    vbios_version="96.00.99.00.01",
    inforom_version="G520.0200.00.05",
    inforom_corrupt=False,
    gsp_version="550.127.05",
    gsp_enabled=True,
    gsp_default=True,
)
SHORT_S = 1.0
"""Enough for a started child to answer, and short enough to wait for one that hangs."""


class Source(NvmlSource):
    """The source over one library, with a memory and a clock that tests can see."""

    def __init__(self, library: Library, store: MemoryStore | None = None, slot: Slot | None = None) -> None:
        self.now_s = 5.0
        surroundings = replace(library.surroundings(store), monotonic=lambda: self.now_s)
        super().__init__(surroundings, SOON, environment=library.environment, slot=slot)


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] in "ZX"
    except FileNotFoundError:
        return True


async def test_healthy_gpus_are_read_in_full(library: Library) -> None:
    source = Source(library)
    reading = await source.read()
    await source.close()
    expected = GpuReading(
        index=0,
        uuid=FIRST,
        pci="0000:1b:00",
        serial="1653012345000",
        name="NVIDIA H100 80GB HBM3",
        temperature_celsius=35,
        ecc_uncorrected_volatile=0,
        ecc_corrected_volatile=3,
        dram_corrected_volatile=3,
        dram_uncorrected_volatile=0,
        sram_corrected_volatile=0,
        sram_uncorrected_volatile=0,
        sram_uncorrected_aggregate=0,
        sram_threshold_exceeded=False,
        remapped_correctable=0,
        remapped_uncorrectable=1,
        remap_pending=False,
        remap_failed=False,
        recovery_action=0,
        nvlink=LINKS_UP,
        fabric=FABRIC,
        temperature_margin_celsius=52,
        memory_temperature_celsius=43,
        clock_event_reasons=1,
        power_cap_ns=0,
        sw_thermal_ns=0,
        hw_thermal_ns=0,
        power_brake_ns=0,
        performance_state=0,
        utilization_percent=0,
        sm_clock_mhz=345,
        memory_clock_mhz=2619,
        power_milliwatts=70280,
        pcie_generation=5,
        pcie_width=16,
        details=DETAILS,
    )
    assert expected == reading.gpus[0]
    assert (
        reading.at_s,
        reading.driver_version,
        reading.failure,
        reading.expected,
        reading.missed_deadlines,
    ) == (5.0, "550.127.05", "", True, 0)
    assert reading.known_gpus == PCI


async def test_the_child_stays_and_the_state_is_read_anew(library: Library) -> None:
    source = Source(library)
    await source.read()
    pid = source.child_pid
    library.say("gpu 1 temperature 91", "gpu 1 rows 0 2 1 1", "gpu 1 recovery 4", "gpu 1 links 110111111111111111")
    gpu = (await source.read()).gpus[1]
    assert pid == source.child_pid
    await source.close()
    assert (
        gpu.temperature_celsius,
        gpu.remapped_uncorrectable,
        gpu.remap_pending,
        gpu.remap_failed,
        gpu.recovery_action,
    ) == (91, 2, True, True, 4)
    assert gpu.nvlink == NvlinkReading(states=(1, 1, 0) + (1,) * 15)
    assert gpu.errors == {}


@pytest.mark.parametrize("call", ["nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetUUID", "nvmlDeviceGetTemperatureV"])
async def test_a_lost_gpu_keeps_its_name(library: Library, call: str) -> None:
    source = Source(library)
    await source.read()
    library.say(f"gpu 1 fail {call} 15")
    reading = await source.read()
    await source.close()
    lost = reading.gpus[1]
    assert (lost.lost, lost.uuid, lost.pci, lost.serial) == (True, SECOND, "0000:1c:00", "1653012345001")
    assert not reading.gpus[0].lost
    assert reading.known_gpus == PCI


async def test_a_gpu_that_was_lost_before_the_agent_started_is_named_from_the_inventory(library: Library) -> None:
    library.say("gpu 0 return 15")
    source = Source(library, MemoryStore({"known_gpus": PCI}))
    reading = await source.read()
    await source.close()
    assert [(gpu.uuid, gpu.lost) for gpu in reading.gpus] == [(FIRST, True), (SECOND, False)]


async def test_a_gpu_that_needs_a_reset_says_so_and_nothing_else(library: Library) -> None:
    source = Source(library)
    await source.read()
    library.say("gpu 0 return 16")
    gpu = (await source.read()).gpus[0]
    await source.close()
    assert (gpu.reset_required, gpu.lost, gpu.uuid, gpu.recovery_action) == (True, False, FIRST, None)
    assert gpu.errors["recovery_action"] == "GPU requires restart (16)"


async def test_an_error_names_its_fields_and_the_others_are_read(library: Library) -> None:
    library.say("gpu 0 fail nvmlDeviceGetRemappedRows 999")
    source = Source(library)
    gpu = (await source.read()).gpus[0]
    await source.close()
    fields = {"remapped_correctable", "remapped_uncorrectable", "remap_pending", "remap_failed"}
    assert dict.fromkeys(fields, "Unknown Error (999)") == gpu.errors
    assert (gpu.remap_pending, gpu.temperature_celsius, gpu.recovery_action) == (None, 35, 0)


@pytest.mark.parametrize("code", [3, 13, 25, 26])
async def test_what_a_gpu_does_not_have_is_none_and_no_error(library: Library, code: int) -> None:
    calls = ("GetRemappedRows", "GetTotalEccErrors", "GetSerial", "GetTemperatureV", "GetFieldValues", "GetMigMode")
    library.say(*(f"gpu 0 fail nvmlDevice{call} {code}" for call in calls))
    source = Source(library)
    gpu = (await source.read()).gpus[0]
    await source.close()
    assert (
        gpu.remap_pending,
        gpu.ecc_uncorrected_volatile,
        gpu.temperature_celsius,
        gpu.serial,
        gpu.errors,
    ) == (None, None, None, "", {})


async def test_what_hardly_changes_is_asked_by_the_minute_and_what_never_does_every_five(library: Library) -> None:
    source = Source(library)
    await source.read()
    library.say("gpu 0 persistence 0", "gpu 0 vbios 1.2.3", "gpu 0 pcie 5 8 5 16", "gpu 0 field 94 7")
    seen = []
    for source.now_s in (64.0, 65.0, 304.0, 305.0):
        gpu = (await source.read()).gpus[0]
        details = gpu.details
        replays = (details.pcie_errors["replays"], details.counted_at_s)
        seen.append((gpu.pcie_width, details.persistence, details.vbios_version, *replays))
    await source.close()
    old, new = "96.00.99.00.01", "1.2.3"
    assert seen == [
        (8, True, old, 0, 5.0),
        (8, False, old, 7, 65.0),
        (8, False, old, 7, 304.0),
        (8, False, new, 7, 304.0),
    ]


async def test_what_a_gpu_does_not_have_is_asked_again_after_five_minutes_only(library: Library) -> None:
    library.say("gpu 0 fail nvmlDeviceGetUtilizationRates 3", "gpu 0 fail nvmlDeviceGetRepairStatus 13")
    source = Source(library)
    await source.read()
    library.say("gpu 0 repair 1 0", "gpu 0 utilization 97 50")
    seen = []
    for source.now_s in (15.0, 304.0, 305.0):
        gpu = (await source.read()).gpus[0]
        seen.append((gpu.utilization_percent, gpu.details.channel_repair_pending, gpu.errors))
    await source.close()
    assert seen == [(None, None, {}), (None, None, {}), (97, True, {})]


async def test_an_error_is_asked_again_at_once(library: Library) -> None:
    library.say("gpu 0 fail nvmlDeviceGetVbiosVersion 999")
    source = Source(library)
    failed = (await source.read()).gpus[0]
    library.say()
    gpu = (await source.read()).gpus[0]
    await source.close()
    assert failed.errors == {"vbios_version": "Unknown Error (999)"}
    assert (gpu.details.vbios_version, gpu.errors) == ("96.00.99.00.01", {})


async def test_older_gpus_tell_pages_and_limits_in_degrees(library: Library) -> None:
    week_ago = int(time.time()) - 8 * 86400
    library.say(
        "gpu 0 retired 3 17 1 0",
        "gpu 1 retired 0 2 0 9999999999",
        "gpu 0 thresholds 92 89 95 85",
        f"gpu 0 retired 3 17 1 {week_ago}",
    )
    source = Source(library)
    first, second = [gpu.details for gpu in (await source.read()).gpus]
    await source.close()
    assert (first.retired_single_bit, first.retired_double_bit, first.retired_double_bit_last_week) == (3, 17, 0)
    assert (first.retirement_pending, second.retirement_pending, second.retired_double_bit_last_week) == (
        True,
        False,
        2,
    )
    limits = (first.slowdown_temperature_celsius, first.max_temperature_celsius, first.max_memory_temperature_celsius)
    assert limits == (89, 85, 95)


async def test_what_only_root_is_told_is_none_for_others(library: Library) -> None:
    library.say("gpu 0 fail nvmlDeviceGetSramEccErrorStatus 4", "gpu 1 sram 5 2 9 1")
    source = Source(library)
    first, second = (await source.read()).gpus
    await source.close()
    assert (first.sram_threshold_exceeded, first.errors) == (None, {})
    sram = (second.sram_corrected_volatile, second.sram_uncorrected_volatile, second.sram_uncorrected_aggregate)
    assert (sram, second.sram_threshold_exceeded) == ((5, 2, 9), True)


async def test_a_corrupt_inforom_is_a_fact_and_a_missing_power_cable_too(library: Library) -> None:
    library.say("gpu 0 fail nvmlDeviceValidateInforom 14", "gpu 1 fail nvmlDeviceGetHandleByIndex_v2 8")
    source = Source(library)
    first, second = (await source.read()).gpus
    await source.close()
    assert (first.details.inforom_corrupt, first.errors) == (True, {})
    assert (second.power_cable_missing, second.lost) == (True, False)


async def test_an_old_driver_calls_the_reasons_otherwise(library: Library) -> None:
    library.say("missing nvmlDeviceGetCurrentClocksEventReasons", "gpu 0 reasons 8")
    source = Source(library)
    first, _ = (await source.read()).gpus
    await source.close()
    assert (first.clock_event_reasons, first.errors) == (8, {})


@pytest.mark.parametrize(
    ("namespace", "expected"),
    [
        ("pid:[4026531836]", (GpuProcess(70, 1 << 30, "Z", "a (b", 1, "triton.service"), GpuProcess(71, 5, ""))),
        ("pid:[4026532999]", (GpuProcess(70, 1 << 30), GpuProcess(71, 5))),
    ],
)
async def test_processes_are_looked_up_where_their_numbers_are_the_hosts(
    library: Library, namespace: str, expected: tuple[GpuProcess, ...]
) -> None:
    proc = library.root / "proc"
    (proc / "70").mkdir(parents=True)
    (proc / "70/stat").write_text("70 (a (b) Z 1 70 70 0 -1 4228356 0\n")
    (proc / "70/cgroup").write_text("0::/system.slice/triton.service\n")
    (proc / "self/ns").mkdir(parents=True)
    (proc / "self/ns/pid").symlink_to(namespace)
    library.say(f"gpu 0 processes 70:{1 << 30} 71:5")
    source = Source(library)
    gpu = (await source.read()).gpus[0]
    await source.close()
    assert expected == gpu.details.processes


async def test_what_the_agent_itself_started_in_a_session_is_its_benchmark(library: Library) -> None:
    proc = library.root / "proc"
    for pid, parent, session in ((70, os.getpid(), 70), (71, 70, 70), (72, 1, 72), (73, 72, 72), (74, 70, 99)):
        (proc / str(pid)).mkdir(parents=True)
        (proc / str(pid) / "stat").write_text(f"{pid} (python) R {parent} {session} {session} 0 -1 4228356 0\n")
    (proc / "self/ns").mkdir(parents=True)
    (proc / "self/ns/pid").symlink_to("pid:[4026531836]")
    library.say("gpu 0 processes 70:1 71:1 73:1 74:1")
    source = Source(library)
    gpu = (await source.read()).gpus[0]
    await source.close()
    told = {process.pid: process.is_benchmark for process in gpu.details.processes or ()}
    assert told == {70: True, 71: True, 73: False, 74: False}


async def test_what_has_not_changed_is_kept_once(library: Library) -> None:
    source = Source(library)
    _with_counters, first, second = [(await source.read()).gpus[0] for _ in range(3)]
    await source.close()
    assert all(getattr(first, name) is getattr(second, name) for name in SHARED)


async def test_a_symbol_that_the_library_lacks_is_none(library: Library) -> None:
    library.say("missing nvmlDeviceGetRemappedRows")
    source = Source(library)
    gpu = (await source.read()).gpus[0]
    await source.close()
    assert (gpu.remap_pending, gpu.errors, gpu.uuid) == (None, {}, FIRST)


async def test_a_library_without_the_symbol_at_all_is_read(tmp_path: Path) -> None:
    library = Library(tmp_path, build_double(tmp_path / "old", "-DWITHOUT_REMAPPED_ROWS"))
    library.say()
    source = Source(library)
    gpu = (await source.read()).gpus[0]
    await source.close()
    assert (gpu.remap_pending, gpu.errors, gpu.uuid) == (None, {}, FIRST)


@pytest.mark.parametrize(
    ("line", "failure"),
    [
        ("init 9", "driver_not_loaded"),
        ("init 12", "library_not_found"),
        ("init 18", "version_mismatch"),
        ("init 999", "error"),
        ("fail nvmlDeviceGetCount_v2 9", "driver_not_loaded"),
        ("gpu 1 fail nvmlDeviceGetName 9", "driver_not_loaded"),
    ],
)
async def test_a_driver_that_does_not_answer_is_named_and_asked_by_a_fresh_process(
    library: Library, line: str, failure: str
) -> None:
    source = Source(library, MemoryStore({"known_gpus": PCI}))
    library.say(line)
    reading = await source.read()
    assert source.child_pid is None
    assert (failure, True, (), PCI) == (reading.failure, reading.expected, reading.gpus, reading.known_gpus)
    library.say()
    again = await source.read()
    await source.close()
    assert (again.failure, len(again.gpus)) == ("", 2)


@pytest.mark.parametrize(
    "line",
    [
        "hang nvmlInitWithFlags",
        "hang *",
        "hang * stubborn",
        "gpu 1 hang nvmlDeviceGetTotalEccErrors",
        "gpu 1 hang nvmlDeviceGetHandleByIndex_v2 stubborn",
    ],
)
async def test_a_hang_is_cut_off_at_the_deadline_and_over_when_the_driver_answers(library: Library, line: str) -> None:
    source = Source(library, MemoryStore({"known_gpus": PCI}))
    library.say(line)
    source.timing = deadline(SHORT_S)
    readings = [await source.read() for _ in range(2)]
    assert source.child_pid is None
    assert [(each.failure, each.missed_deadlines) for each in readings] == [("timeout", 1), ("timeout", 2)]
    assert "no answer within 1 s" in readings[1].detail

    library.say()
    source.timing = SOON
    again = await source.read()
    await source.close()
    assert (again.failure, again.missed_deadlines, len(again.gpus)) == ("", 0, 2)


async def test_a_child_that_cannot_be_killed_is_stuck_and_none_is_started_behind_it(library: Library) -> None:
    groups: list[int] = []
    slot = Slot(kill=lambda group, _: groups.append(abs(group)), kill_limit_s=0.05)
    source = Source(library, slot=slot)
    library.say("hang *")
    source.timing = deadline(SHORT_S)
    readings = [await source.read() for _ in range(3)]
    assert [reading.failure for reading in readings] == ["stuck"] * 3
    assert [reading.missed_deadlines for reading in readings] == [1, 2, 3]
    assert len(set(groups)) == 1
    os.killpg(groups[0], signal.SIGKILL)
    await eventually("it is gone", lambda: not slot.stuck)


async def test_a_crash_of_the_child_is_an_error_and_over_at_the_next_reading(library: Library) -> None:
    source = Source(library)
    await source.read()
    assert source.child_pid is not None
    os.kill(source.child_pid, signal.SIGSEGV)
    crashed, again = await source.read(), await source.read()
    await source.close()
    assert (crashed.failure, crashed.missed_deadlines) == ("error", 0)
    assert "ended with code -11" in crashed.detail
    assert (again.failure, len(again.gpus)) == ("", 2)


def test_a_child_whose_agent_is_gone_ends_without_a_word() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "agent.sources.nvml_child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        child.stdin.write(b"read 1.0\n")
        child.stdin.close()
        assert (child.stderr.read(), child.wait(timeout=20)) == (b"", 0)


async def test_a_host_without_gpus_is_asked_again_after_five_minutes_only(tmp_path: Path) -> None:
    starts, now = tmp_path / "starts", 1000.0
    script = f"echo start >> {starts}; exec {sys.executable} -m agent.sources.nvml_child"
    environment = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path)}
    surroundings = surroundings_at(tmp_path, nvml_command=("sh", "-c", script), monotonic=lambda: now)
    source = NvmlSource(surroundings, SOON, environment=environment)
    seen = []
    for now in (1000.0, 1015.0, 1000.0 + ABSENT_INTERVAL_S - 1, 1000.0 + ABSENT_INTERVAL_S):
        reading = await source.read()
        assert ("library_not_found", False, now) == (reading.failure, reading.expected, reading.at_s)
        seen.append(len(starts.read_text().splitlines()))
    assert seen == [1, 1, 1, 2]
    assert source.child_pid is None


async def test_a_host_with_an_nvidia_device_is_asked_every_time(tmp_path: Path) -> None:
    device = tmp_path / "sys/bus/pci/devices/0000:3b:00.0"
    device.mkdir(parents=True)
    (device / "vendor").write_text("0x10de\n")
    (device / "class").write_text("0x030200\n")
    library = Library(tmp_path, None)
    library.say("init 12")
    source = Source(library)
    first = await source.read()
    library.say()
    second = await source.read()
    await source.close()
    assert (first.failure, first.expected) == ("library_not_found", True)
    assert (second.failure, len(second.gpus)) == ("", 2)


async def test_gpus_are_learnt_once_and_kept_when_they_vanish(library: Library) -> None:
    store = MemoryStore()
    source = Source(library, store)
    await source.read()
    library.say("count 1")
    reading = await source.read()
    await source.close()
    assert (len(reading.gpus), reading.known_gpus, store.saves) == (1, PCI, 1)
    assert store.value == {"known_gpus": PCI}


async def test_a_gpu_that_sits_where_another_sat_has_replaced_it(library: Library) -> None:
    store = MemoryStore({"known_gpus": {"GPU-old": "0000:1b:00", SECOND: "0000:1c:00"}})
    source = Source(library, store)
    reading = await source.read()
    await source.close()
    assert reading.known_gpus == PCI


async def test_what_was_approved_is_missed_from_the_first_reading_on(library: Library) -> None:
    approve(library.root, Manifest(gpus=(Gpu(FIRST, "0000:1b:00"), Gpu("GPU-third", "0000:1d:00"))))
    store = MemoryStore({"known_gpus": {"GPU-taken-away": "0000:1e:00"}})
    source = Source(library, store)
    reading = await source.read()
    await source.close()
    assert reading.approved_gpus == {"0000:1b:00": FIRST, "0000:1d:00": "GPU-third"}
    assert reading.known_gpus == {FIRST: "0000:1b:00", "GPU-third": "0000:1d:00"}
    assert store.value == {"known_gpus": reading.known_gpus}


async def test_a_gpu_in_the_place_of_an_approved_one_has_replaced_it(library: Library) -> None:
    approve(library.root, Manifest(gpus=(Gpu("GPU-old", "0000:1b:00"), Gpu(SECOND, "0000:1c:00"))))
    source = Source(library)
    reading = await source.read()
    await source.close()
    assert reading.known_gpus == {SECOND: "0000:1c:00"}
    assert [finding.code for finding in count.judge([reading])] == ["swapped"]


async def test_what_is_approved_later_is_taken_up_at_the_next_reading(library: Library) -> None:
    source = Source(library)
    assert (await source.read()).approved_gpus == {}
    approve(library.root, Manifest(gpus=(Gpu(FIRST, "0000:1b:00"),)))
    reading = await source.read()
    await source.close()
    assert (reading.known_gpus, reading.approved_gpus) == ({FIRST: "0000:1b:00"}, {"0000:1b:00": FIRST})


async def test_gpus_that_were_approved_are_expected_where_nvml_is_not_even_installed(library: Library) -> None:
    approve(library.root, Manifest(gpus=(Gpu(FIRST, "0000:1b:00"),)))
    source = Source(library)
    library.say("fail * 12")
    reading = await source.read()
    await source.close()
    assert (reading.expected, reading.known_gpus) == (True, {FIRST: "0000:1b:00"})


async def test_no_gpu_is_held_open_during_a_repair(library: Library) -> None:
    source = Source(library)
    await source.read()
    async with source.let_go("a GPU reset"):
        assert source.child_pid is None
        with pytest.raises(CannotObserve, match="NVML is not asked during a GPU reset"):
            await source.read()
    assert len((await source.read()).gpus) == 2
    await source.close()


async def test_the_child_stays_small(library: Library) -> None:
    source = Source(library)
    await source.read()
    resident_bytes = psutil.Process(source.child_pid).memory_info().rss
    await source.close()
    assert resident_bytes <= 22 << 20


def test_a_hung_child_dies_with_the_agent(library: Library) -> None:
    library.say("hang *")
    command, environment = library.surroundings().nvml_command, library.environment
    script = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen({list(command)!r}, stdin=subprocess.PIPE, start_new_session=True)\n"
        "child.stdin.write(b'read\\n'); child.stdin.flush()\n"
        "print(child.pid, flush=True)\n"
        "child.wait()\n"
    )
    agent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment)
    assert agent.stdout is not None
    pid = int(agent.stdout.readline())
    asyncio.run(eventually("it hangs", lambda: "pause" in Path(f"/proc/{pid}/wchan").read_text()))
    agent.kill()
    agent.wait()
    agent.stdout.close()
    asyncio.run(eventually("the child is gone", lambda: is_gone(pid)))


def gpu(index: int, uuid: str = "", pci: str = "") -> GpuReading:
    return GpuReading(index=index, uuid=uuid, pci=pci, lost=not uuid)


@pytest.mark.parametrize(
    ("remembered", "known", "addresses", "expected"),
    [
        pytest.param({1: gpu(1, "B", "b")}, {"A": "a", "B": "b"}, (), ("B", "b"), id="as it last answered"),
        pytest.param({1: gpu(1, "A", "a")}, {"A": "a", "B": "b"}, (), ("B", "b"), id="indices have shifted"),
        pytest.param({}, {"A": "a", "B": "b"}, (), ("B", "b"), id="the only one missing"),
        pytest.param({}, {"A": "a", "B": "b", "C": "c"}, ("a", "b"), ("B", "b"), id="by its place"),
        pytest.param({}, {}, ("a", "b"), ("", "b"), id="its place alone"),
        pytest.param({}, {}, ("a",), ("", ""), id="nothing can be told"),
    ],
)
def test_a_silent_gpu_is_named(
    remembered: dict[int, GpuReading], known: dict[str, str], addresses: tuple[str, ...], expected: tuple[str, str]
) -> None:
    named = name_silent([gpu(0, "A", "a"), gpu(1)], remembered=remembered, known=known, addresses=addresses)
    assert expected == (named[1].uuid, named[1].pci)
    assert (named[0].index, named[0].uuid, named[0].pci) == (0, "A", "a")


def test_only_nvidia_display_and_3d_controllers_count(tmp_path: Path) -> None:
    devices = {
        "0000:9d:00.0": ("0x10de", "0x030200"),
        "0000:1B:00.0": ("0x10de", "0x030000"),
        "0000:05:00.0": ("0x10de", "0x068000"),
        "0000:06:00.0": ("0x15b3", "0x020700"),
        "0000:07:00.0": ("\xff", ""),
    }
    for name, (vendor, kind) in devices.items():
        folder = tmp_path / "bus/pci/devices" / name
        folder.mkdir(parents=True)
        (folder / "vendor").write_bytes(vendor.encode("latin-1"))
        (folder / "class").write_text(f"{kind}\n")
    assert nvidia_addresses(tmp_path) == ("0000:1b:00", "0000:9d:00")
    assert nvidia_addresses(tmp_path / "none") == ()
