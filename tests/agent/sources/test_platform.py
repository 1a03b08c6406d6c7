"""The platform from sysfs trees: modules, a bus with switches, processors, any bytes, and this very host."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sources.pci_tree import PciFunction, read_tree
from agent.sources.platform import PlatformSource, parse_errors
from checks.errors import CannotObserve
from checks.readings import PlatformReading
from checks.readings.platform import MemoryModule, PciDevice
from tests.support.memory_store import MemoryStore
from tests.support.surroundings import SOON, deadline, surroundings_at, write_files

ROOT_PORT, SWITCH_UP, SWITCH_DOWN = "0000:3a:01.0", "0000:3b:00.0", "0000:3c:04.0"
GPU, ADAPTER, DISK = "0000:3d:00.0", "0000:18:00.0", "0000:01:00.0"
BEHIND_SWITCH = f"pci0000:3a/{ROOT_PORT}/{SWITCH_UP}/{SWITCH_DOWN}"

CORRECTABLE = """Receiver Error 2
Bad TLP 0
Bad DLLP 1
RELAY_NUM Rollover 0
Replay Timer Timeout 0
Advisory Non-Fatal 0
Corrected Internal Error 0
Header Log Overflow 0
TOTAL_ERR_COR 2
"""
"""As the kernel's Documentation/ABI/testing/sysfs-bus-pci-devices-aer_stats shows it, with a second error."""


def add_function(root: Path, path: str, number: str, vendor: str = "0x15b3", **files: str) -> None:
    """Put a function on the bus. `path`: its place below sys/devices."""
    folder = f"sys/devices/{path}"
    texts = {"class": f"{number}\n", "vendor": f"{vendor}\n", **{name: f"{text}\n" for name, text in files.items()}}
    write_files(root, {f"{folder}/{name}": text for name, text in texts.items()})
    link = root / "sys/bus/pci/devices" / path.rpartition("/")[2]
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(root / folder)


def add_bus(root: Path) -> None:
    """Put a GPU behind a switch, an adapter and a disk below a root port each, and what does not matter."""
    add_function(root, f"pci0000:3a/{ROOT_PORT}", "0x060400", "0x8086", aer_dev_fatal="DLP 0\nTOTAL_ERR_FATAL 0")
    add_function(root, f"pci0000:3a/{ROOT_PORT}/{SWITCH_UP}", "0x060400")
    add_function(root, BEHIND_SWITCH, "0x060400", aer_dev_correctable=CORRECTABLE)
    add_function(root, f"{BEHIND_SWITCH}/{GPU}", "0x030200", "0x10de", aer_dev_fatal="DLP 1\nTOTAL_ERR_FATAL 1")
    add_function(root, "pci0000:17/0000:17:01.0", "0x060400", max_link_width="16")
    add_function(root, f"pci0000:17/0000:17:01.0/{ADAPTER}", "0x020700", current_link_width="8", max_link_width="16")
    add_function(root, f"pci0000:17/0000:17:01.0/{ADAPTER[:-1]}1", "0x020700", physfn="")
    add_function(root, f"pci0000:00/{DISK}", "0x010802", current_link_width="63", max_link_width="4")
    add_function(root, "pci0000:00/0000:00:1f.0", "0x060100")
    add_function(root, "pci0000:00/0000:02:00.0", "0x030000", "0x1a03")


def test_what_matters_on_the_bus_and_the_ports_above_it(tmp_path: Path) -> None:
    add_bus(tmp_path)
    assert read_tree(tmp_path / "sys") == (
        PciFunction(DISK, "nvme"),
        PciFunction("0000:17:01.0", "port"),
        PciFunction(ADAPTER, "network", "0000:17:01.0"),
        PciFunction(ROOT_PORT, "port"),
        PciFunction(SWITCH_UP, "port", ROOT_PORT),
        PciFunction(SWITCH_DOWN, "port", SWITCH_UP),
        PciFunction(GPU, "gpu", SWITCH_DOWN),
    )


async def test_devices_are_read_with_their_errors_and_links(tmp_path: Path) -> None:
    add_bus(tmp_path)
    devices = {device.address: device for device in (await reading_of(tmp_path)).devices}
    assert devices[SWITCH_DOWN] == PciDevice(
        SWITCH_DOWN, "port", SWITCH_UP, correctable={"Receiver Error": 2, "Bad DLLP": 1}
    )
    assert devices[GPU] == PciDevice(GPU, "gpu", SWITCH_DOWN, fatal={"DLP": 1}, fatal_at_first=1)
    assert devices[ADAPTER] == PciDevice(
        ADAPTER, "network", "0000:17:01.0", width=8, max_width=16, upstream_max_width=16
    )
    assert devices[DISK] == PciDevice(DISK, "nvme", max_width=4)
    assert (devices[ROOT_PORT].fatal, devices[ROOT_PORT].fatal_at_first) == ({}, 0)


async def test_fatal_errors_are_counted_from_the_first_sight_of_a_boot(tmp_path: Path) -> None:
    store = MemoryStore()
    add_bus(tmp_path)
    source = PlatformSource(surroundings_at(tmp_path, store), SOON)
    seen = []
    for count in (1, 3, 0, 2):
        write_files(tmp_path, {f"sys/devices/{BEHIND_SWITCH}/{GPU}/aer_dev_fatal": f"DLP {count}\n"})
        seen.append(await first_of(source, GPU))
    write_files(tmp_path, {"proc/sys/kernel/random/boot_id": "next\n"})
    seen.append(await first_of(source, GPU))
    assert seen == [1, 1, 0, 0, 2]
    assert store.saves == 3


async def first_of(source: PlatformSource, address: str) -> int | None:
    reading = await source.read()
    return next(device.fatal_at_first for device in reading.devices if device.address == address)


async def test_a_device_that_comes_later_is_seen(tmp_path: Path) -> None:
    add_bus(tmp_path)
    source = PlatformSource(surroundings_at(tmp_path), SOON)
    before = await source.read()
    add_function(tmp_path, "pci0000:00/0000:05:00.0", "0x010802")
    assert len((await source.read()).devices) == len(before.devices) + 1


async def test_memory_modules_and_what_no_module_was_blamed_for(tmp_path: Path) -> None:
    mc = "sys/devices/system/edac/mc"
    counts = {
        "mc0/ce_noinfo_count": "0\n",
        "mc0/ue_noinfo_count": "1\n",
        "mc0/dimm3/dimm_label": "CPU_SrcID#0_MC#0_Chan#1_DIMM#0\n",
        "mc0/dimm3/dimm_ce_count": "17\n",
        "mc0/dimm3/dimm_ue_count": "0\n",
        "mc1/rank0/dimm_ce_count": "many\n",
        "power/control": "auto\n",
    }
    write_files(tmp_path, {f"{mc}/{name}": text for name, text in counts.items()})
    assert (await reading_of(tmp_path)).modules == (
        MemoryModule("mc0", corrected=0, uncorrected=1),
        MemoryModule("mc0/dimm3", "CPU_SrcID#0_MC#0_Chan#1_DIMM#0", 17, 0),
        MemoryModule("mc1"),
        MemoryModule("mc1/rank0"),
    )


async def test_processors(tmp_path: Path) -> None:
    cpu = "sys/devices/system/cpu"
    files = {
        "cpu0/thermal_throttle/core_throttle_count": "3\n",
        "cpu0/thermal_throttle/package_throttle_count": "4\n",
        "cpu1/thermal_throttle/core_throttle_count": "0\n",
        "cpufreq/policy0/scaling_governor": "powersave\n",
        "cpufreq/policy1/scaling_governor": "powersave\n",
        "cpufreq/policy1/energy_performance_preference": "performance\n",
        "cpufreq/boost": "1\n",
    }
    write_files(tmp_path, {f"{cpu}/{name}": text for name, text in files.items()})
    write_files(tmp_path, {"sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc\n"})
    reading = await reading_of(tmp_path)
    assert (reading.throttles, reading.clocksource) == (7, "tsc")
    assert reading.governors == {"powersave": 1, "performance": 1}


async def test_a_virtual_machine_has_none_of_it(tmp_path: Path) -> None:
    assert await reading_of(tmp_path) == PlatformReading(5.0)


async def test_a_device_that_hangs_is_an_error(tmp_path: Path) -> None:
    add_bus(tmp_path)
    width = tmp_path / f"sys/devices/pci0000:00/{DISK}/current_link_width"
    width.unlink()
    # Opening a FIFO without a writer blocks, as reading the registers of a dead device does.
    os.mkfifo(width)
    source = PlatformSource(surroundings_at(tmp_path), deadline(0.2))
    with pytest.raises(CannotObserve, match=r"no answer within 0.2 s"):
        await source.read()
    width.unlink()
    assert len((await source.read()).devices) == 7


@given(st.one_of(st.text(max_size=200), st.lists(st.sampled_from(CORRECTABLE.splitlines())).map("\n".join)))
def test_any_text_is_errors_or_none(text: str) -> None:
    counts = parse_errors(text)
    assert counts is None or all(kind and count > 0 for kind, count in counts.items())


async def test_this_very_host_is_read() -> None:
    reading = await reading_of(Path("/"))
    assert reading.clocksource


async def reading_of(root: Path) -> PlatformReading:
    source = PlatformSource(surroundings_at(root), SOON)
    reading = await source.read()
    await source.close()
    return reading
