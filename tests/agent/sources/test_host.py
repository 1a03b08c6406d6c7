"""Host readings: the kernel's own text, what was seen earlier in a boot, any bytes at all, and this very host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sources.host import HostSource, read_facts
from agent.sources.processes import parse_channel, parse_stat, parse_switches
from agent.sources.procfs import (
    parse_asked_pools,
    parse_files,
    parse_load,
    parse_meminfo,
    parse_pressure,
    parse_uptime,
)
from checks.readings import HostReading
from checks.readings.host import HugePagePool, Pressure, WaitingProcess
from tests.support.memory_store import MemoryStore
from tests.support.surroundings import SOON, surroundings_at, write_files

FIELDS = "1 20 0 -1 4194560 0 0 0 0 3 4 0 0 20 0 1 0"
"""Fields 5 to 21 of /proc/<pid>/stat."""

POOL = "sys/kernel/mm/hugepages/hugepages-1048576kB"
FILES = {
    "proc/meminfo": (
        "MemTotal:       2113595180 kB\nMemFree:        1900000000 kB\nMemAvailable:   2000000000 kB\n"
        "Buffers:           1234567 kB\nCached:          98765432 kB\nActive:          12345678 kB\n"
        "Inactive:         87654321 kB\nShmem:             765432 kB\nSlab:             7654321 kB\n"
        "SReclaimable:      6543210 kB\nSwapTotal:       8388604 kB\n"
        "SwapFree:        8388600 kB\nCommitLimit:    1065186192 kB\nCommitted_AS:   12345678 kB\n"
        "HugePages_Total:      64\nActive(anon):     123 kB\n"
    ),
    "proc/loadavg": "2.47 1.03 0.50 3/2901 12345\n",
    "proc/uptime": "86400.25 1234567.89\n",
    "proc/cmdline": "BOOT_IMAGE=/vmlinuz root=/dev/sda1 default_hugepagesz=1G hugepagesz=1G hugepages=64 quiet\n",
    "proc/sys/vm/overcommit_memory": "0\n",
    "proc/sys/kernel/pid_max": "4194304\n",
    "proc/sys/kernel/threads-max": "16512345\n",
    "proc/sys/kernel/tainted": "12289\n",
    "proc/sys/kernel/random/boot_id": "b00t\n",
    "proc/sys/fs/file-nr": "9600\t0\t9223372036854775807\n",
    "proc/pressure/memory": (
        "some avg10=0.00 avg60=1.25 avg300=0.50 total=123\nfull avg10=0.00 avg60=0.75 avg300=0.25 total=12\n"
    ),
    "proc/1/stat": f"1 (systemd) S 0 {FIELDS} 5 0",
    "proc/2/stat": f"2 (kthreadd) S 0 {FIELDS} 5 0",
    "proc/20/stat": f"20 (a) b) (c)) D 1 {FIELDS} 1234 0",
    "proc/20/status": "Name:\ta\nvoluntary_ctxt_switches:\t150\nnonvoluntary_ctxt_switches:\t5\n",
    "proc/20/wchan": "rpc_wait_bit_killable",
    "proc/21/stat": f"21 (nv_queue) D 2 {FIELDS} 77 0",
    "proc/21/wchan": "0",
    "proc/22/stat": f"22 (sh) Z 20 {FIELDS} 78 0",
    "proc/23/stat": f"23 (sh) Z 20 {FIELDS} 79 0",
    "proc/30/stat": "",
    f"{POOL}/nr_hugepages": "60\n",
    f"{POOL}/free_hugepages": "12\n",
    f"{POOL}/resv_hugepages": "2\n",
}


async def reading_of(root: Path, store: MemoryStore | None = None) -> HostReading:
    source = HostSource(surroundings_at(root, store), SOON)
    reading = await source.read()
    await source.close()
    return reading


async def test_a_host_is_read_in_full(tmp_path: Path) -> None:
    write_files(tmp_path, FILES)
    reading = await reading_of(tmp_path)
    assert (reading.at_s, reading.memory_total_bytes) == (5.0, 2113595180 << 10)
    assert reading.memory_available_bytes == 2000000000 << 10
    assert (reading.swap_total_bytes, reading.swap_free_bytes) == (8388604 << 10, 8388600 << 10)
    assert (reading.committed_bytes, reading.commit_limit_bytes) == (12345678 << 10, 1065186192 << 10)
    assert (reading.load_1min, reading.tasks, reading.tasks_max) == (2.47, 2901, 4194304)
    assert (reading.files_open, reading.files_max, reading.uptime_s) == (9600, (1 << 63) - 1, 86400.25)
    assert (reading.taint, reading.taint_at_first, reading.overcommit_mode) == (12289, 12289, 0)
    assert reading.pressure == (Pressure("memory", 1.25, 0.75, 0.5, 0.25),)
    assert reading.huge_pages == (HugePagePool(1 << 30, total=60, free=12, reserved=2, expected=64),)


def test_processes_are_read_by_name_and_state(tmp_path: Path) -> None:
    write_files(tmp_path, FILES)
    facts = read_facts(tmp_path / "proc", tmp_path / "sys")
    assert (facts.zombies, facts.zombie_parent, facts.zombies_of_parent) == (2, "a) b) (c) (20)", 2)
    assert set(facts.waiting) == {
        WaitingProcess(20, "a) b) (c)", 1234, switches=155, waits_in="rpc_wait_bit_killable"),
        WaitingProcess(21, "nv_queue", 77, is_kernel_thread=True),
    }


async def test_what_a_boot_had_first_is_remembered_until_the_next(tmp_path: Path) -> None:
    store = MemoryStore()
    write_files(tmp_path, {**FILES, "proc/cmdline": "quiet\n"})
    await reading_of(tmp_path, store)
    write_files(tmp_path, {"proc/sys/kernel/tainted": "12417\n", f"{POOL}/nr_hugepages": "40\n"})
    later = await reading_of(tmp_path, store)
    assert (later.taint, later.taint_at_first) == (12417, 12289)
    assert [(pool.total, pool.expected) for pool in later.huge_pages] == [(40, 60)]
    write_files(tmp_path, {"proc/sys/kernel/random/boot_id": "next\n"})
    rebooted = await reading_of(tmp_path, store)
    assert (rebooted.taint_at_first, rebooted.huge_pages[0].expected) == (12417, 40)


async def test_what_is_remembered_is_written_only_when_it_changes(tmp_path: Path) -> None:
    write_files(tmp_path, FILES)
    store = MemoryStore()
    for _ in range(3):
        await reading_of(tmp_path, store)
    assert store.saves == 1


@pytest.mark.parametrize("damaged", [{"boot_id": "b00t", "taint": "x", "huge_pages": 7}, {"boot_id": 3}, {"x": []}])
async def test_a_damaged_memory_is_begun_anew(tmp_path: Path, damaged: dict[str, Any]) -> None:
    write_files(tmp_path, FILES)
    reading = await reading_of(tmp_path, MemoryStore(damaged))
    assert (reading.taint, reading.taint_at_first) == (12289, 12289)


async def test_a_host_of_which_nothing_can_be_read_is_told_so(tmp_path: Path) -> None:
    write_files(tmp_path, {"proc/meminfo": b"\xff\xfe", "proc/loadavg": "", "proc/pressure/io": "nothing"})
    reading = await reading_of(tmp_path)
    assert (reading.memory_total_bytes, reading.load_1min, reading.tasks, reading.taint) == (None, None, None, None)
    assert reading.pressure == (Pressure("io"),)


@pytest.mark.parametrize(
    ("command_line", "pools"),
    [
        ("hugepages=512", {2 << 20: 512}),
        ("default_hugepagesz=1G hugepages=8", {1 << 30: 8}),
        ("hugepagesz=1G hugepages=8 hugepagesz=2M hugepages=100", {1 << 30: 8, 2 << 20: 100}),
        ("hugepages=0:4,1:4 nothugepages=3", {}),
        ("quiet", {}),
    ],
)
def test_pools_that_the_kernel_was_asked_for(command_line: str, pools: dict[int, int]) -> None:
    assert pools == parse_asked_pools(command_line)


@given(st.text(max_size=300))
def test_any_text_is_a_value_or_none(text: str) -> None:
    assert all(value >= 0 for value in parse_meminfo(text).values())
    assert all(value >= 0 for value in parse_asked_pools(text).values())
    for value in (*parse_files(text), *parse_load(text), parse_uptime(text), parse_switches(text)):
        assert value is None or value >= 0
    assert parse_pressure("io", text).resource == "io"
    assert parse_channel(text).isprintable()


@given(st.binary(max_size=300))
def test_any_bytes_are_a_process_or_none(stat: bytes) -> None:
    for line in (stat, b"7 (" + stat + f") D 1 {FIELDS} 9 ".encode()):
        process = parse_stat(line)
        assert process is None or (process.pid >= 0 and process.name.isprintable())


async def test_this_very_host_is_read() -> None:
    reading = await reading_of(Path("/"))
    assert (reading.memory_total_bytes or 0) > (reading.memory_available_bytes or 0) > 0
    assert (reading.cpu_count or 0) >= 1
    assert (reading.uptime_s or 0) > 0
    assert 0 < (reading.tasks or 0) < (reading.tasks_max or 0)
    assert (reading.files_open or 0) > 0
    assert reading.taint is not None
