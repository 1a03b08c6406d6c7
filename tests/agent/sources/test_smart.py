"""SMART: what nvme-cli and smartctl printed on real hosts, in several releases, disks that hang, and any text."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sources.smart import ASK_NVME, ASK_SMARTCTL, SmartSource
from agent.sources.smart_log import parse_nvme, parse_smartctl
from agent.sources.source import Timing
from checks.errors import CannotObserve
from checks.readings import DiskSmart, SmartReading
from checks.storage.smart import judge
from tests.support.captured import captured, write_tool
from tests.support.surroundings import SOON, deadline, surroundings_at, write_files, write_program

DISK = DiskSmart("nvme0", "S64GNE0R100001", "SAMSUNG MZQL27T6HBLA-00A07", "0000:c1:00")
LOG = captured("nvme-smart-log.json")
NO_LOG = "NVMe status: INVALID_LOG_PAGE: The log page indicated is invalid(0x4109)\n"
DENIED = "Usage: nvme smart-log <device> [OPTIONS]\n" + 20 * "  [ --option ]\n" + "/dev/nvme0: Permission denied\n"
"""nvme-cli 2.3 shows its usage beside the error."""

MEGARAID = "Smartctl open device: /dev/sda failed: DELL or MegaRaid controller, please try adding '-d megaraid,N'"
STANDBY = "Device is in STANDBY mode, exit(2)"


def add_nvme(root: Path, name: str = "nvme0", serial: str = DISK.serial, transport: str = "pcie") -> None:
    files = {"transport": transport, "address": f"{DISK.pci}.0", "model": f"{DISK.model}   ", "serial": f"{serial}  "}
    write_files(root, {f"sys/class/nvme/{name}/{file}": f"{text}\n" for file, text in files.items()})


def add_disk(root: Path, name: str = "sdc", vendor: str = "ATA     ", removable: str = "0") -> None:
    files = {"removable": removable, "device/vendor": vendor, "device/model": "Hitachi HDS72105"}
    write_files(root, {f"sys/block/{name}/{file}": f"{text}\n" for file, text in files.items()})


def source_at(root: Path, timing: Timing = SOON) -> SmartSource:
    (root / "bin").mkdir(exist_ok=True)
    if not (root / "bin/grep").exists():
        (root / "bin/grep").symlink_to(shutil.which("grep") or "")
    return SmartSource(surroundings_at(root, tools=root / "bin"), timing)


def write_nvme(root: Path, **texts: str) -> None:
    write_tool(
        root / "bin", "nvme", {" ".join((*ASK_NVME, f"{root}/dev/{name}")): text for name, text in texts.items()}
    )


def write_smartctl(root: Path, **texts: str) -> None:
    answers = {" ".join((*ASK_SMARTCTL, f"{root}/dev/{name}")): text for name, text in texts.items()}
    write_tool(root / "bin", "smartctl", answers)


def smartctl_says(message: str) -> str:
    return json.dumps({"smartctl": {"exit_status": 2, "messages": [{"string": message, "severity": "error"}]}})


async def test_a_disk_of_each_kind_is_read_as_it_was_captured(tmp_path: Path) -> None:
    add_nvme(tmp_path)
    add_disk(tmp_path)
    write_nvme(tmp_path, nvme0=LOG)
    write_smartctl(tmp_path, sdc=captured("smartctl-sata-failed.json"))
    nvme, sata = (await source_at(tmp_path).read()).disks
    assert (nvme.name, nvme.serial, nvme.model, nvme.pci) == (DISK.name, DISK.serial, DISK.model, DISK.pci)
    assert (nvme.critical_warning, nvme.spare_percent, nvme.spare_threshold_percent) == (0, 100, 5)
    assert (nvme.used_percent, nvme.media_errors, nvme.temperature_celsius) == (2, 0, 37)
    assert (nvme.warning_minutes, nvme.critical_minutes, nvme.unreadable) == (0, 0, "")
    assert (sata.serial, sata.model, sata.passed) == ("MSK423Y20S3HBC", "Hitachi HDS72105", False)
    assert (sata.reallocated, sata.pending, sata.uncorrectable, sata.temperature_celsius) == (1975, 8, 0, 25)


@pytest.mark.parametrize("name", ["nvme-smart-log-decimals.json", "nvme-smart-log-texts.json"])
def test_other_releases_tell_the_same(name: str) -> None:
    assert parse_nvme(DISK, LOG) == parse_nvme(DISK, captured(name))


def test_flags_may_be_an_object_and_warnings_stand_before_it() -> None:
    printed = captured("nvme-smart-log-flags.json")
    assert parse_nvme(DISK, f"warning: no such option\n{printed}").critical_warning == 0
    told = json.loads(printed)
    told["critical_warning"] = {"Value": 9}
    assert parse_nvme(DISK, json.dumps(told)).critical_warning == 9
    told["critical_warning"] = dict.fromkeys(("available_spare", "reliability_degraded"), 1)
    told["critical_warning"] |= dict.fromkeys(("temp_threshold", "ro", "vmbu_failed", "pmr_ro"), 0)
    assert parse_nvme(DISK, json.dumps(told)).critical_warning == 5


def test_the_other_spelling() -> None:
    told = {"Critical_Warning": 0, "available_spare": 99, "available_spare_threshold": 10, "percentage_used": 101}
    disk = parse_nvme(DISK, json.dumps(told))
    assert (disk.spare_percent, disk.spare_threshold_percent, disk.used_percent) == (99, 10, 101)


def test_smartctl_knows_nvme_as_well() -> None:
    disk = parse_smartctl(DiskSmart("nvme0"), captured("smartctl-nvme.json"))
    assert (disk.serial, disk.model) == ("S466NX0M776250H", "Samsung SSD 970 EVO 500GB")
    assert (disk.media_errors, disk.spare_percent, disk.used_percent, disk.temperature_celsius) == (7, 99, 3, 35)


def test_a_sas_disk_with_its_trip_temperature() -> None:
    disk = parse_smartctl(DiskSmart("sdb"), captured("smartctl-sas.json"))
    assert (disk.passed, disk.reallocated, disk.uncorrectable, disk.pending) == (True, 0, 0, None)
    assert (disk.temperature_celsius, disk.limit_celsius) == (31, 60)


@pytest.mark.parametrize(
    "printed", [smartctl_says(MEGARAID), smartctl_says(STANDBY), '{"smart_support": {"available": false}}']
)
def test_what_has_nothing_to_tell_is_silent(printed: str) -> None:
    disk = parse_smartctl(DiskSmart("sda"), printed)
    assert disk.silent
    assert judge([SmartReading(5.0, (disk,))]) == ()


def test_a_virtual_controller_is_silent() -> None:
    assert parse_nvme(DISK, NO_LOG).silent == NO_LOG.strip()


async def test_a_host_without_such_disks_costs_nothing(tmp_path: Path) -> None:
    add_nvme(tmp_path, transport="tcp")
    add_disk(tmp_path, "sdd", removable="1")
    write_files(tmp_path, {"sys/block/vda/removable": "0\n", "sys/block/sr0/removable": "1\n"})
    source = source_at(tmp_path)
    assert await source.read() == SmartReading(5.0)
    await source.close()


async def test_disks_without_tools_are_listed_and_nobodys_fault(tmp_path: Path) -> None:
    add_nvme(tmp_path)
    add_disk(tmp_path, vendor="SEAGATE ")
    reading = await source_at(tmp_path).read()
    assert reading.disks == (DISK, DiskSmart("sdc", model="SEAGATE Hitachi HDS72105"))
    assert reading.missing_tools == ("nvme", "smartctl")
    assert judge([reading]) == ()


async def test_smartctl_alone_asks_nvme_disks(tmp_path: Path) -> None:
    add_nvme(tmp_path)
    write_smartctl(tmp_path, nvme0=captured("smartctl-nvme.json"))
    reading = await source_at(tmp_path).read()
    assert (reading.missing_tools, reading.disks[0].serial, reading.disks[0].media_errors) == ((), DISK.serial, 7)


async def test_a_disk_that_hangs_leaves_the_others_alone_and_is_asked_last(tmp_path: Path) -> None:
    for name in ("nvme0", "nvme1"):
        add_nvme(tmp_path, name)
    write_files(tmp_path, {"log": LOG})
    asked, sleep, cat = tmp_path / "asked", shutil.which("sleep"), shutil.which("cat")
    script = f'echo "$3" >>{asked}\ncase "$3" in *nvme0) exec {sleep} 60 ;; *) exec {cat} {tmp_path}/log ;; esac'
    write_program(tmp_path / "bin", "nvme", script)
    source = source_at(tmp_path, deadline(1.0))
    first = await source.read()
    assert [disk.name for disk in first.disks] == ["nvme0", "nvme1"]
    assert "no answer within" in first.disks[0].unreadable
    await source.read()
    order = [Path(line).name for line in asked.read_text().splitlines()]
    assert order == ["nvme0", "nvme1", "nvme1", "nvme0"]
    await source.close()


async def test_no_time_left_is_unknown(tmp_path: Path) -> None:
    add_nvme(tmp_path)
    write_nvme(tmp_path, nvme0=LOG)
    times = iter([0.0, 0.0, 99.0, 99.0])
    (tmp_path / "bin/grep").symlink_to(shutil.which("grep") or "")
    surroundings = surroundings_at(tmp_path, tools=tmp_path / "bin", monotonic=lambda: next(times))
    (disk,) = (await SmartSource(surroundings, SOON).read()).disks
    assert disk.unreadable == "no time was left to ask"


async def test_a_lack_of_rights_is_told_once_for_all_disks(tmp_path: Path) -> None:
    for name in ("nvme0", "nvme1"):
        add_nvme(tmp_path, name)
    write_nvme(tmp_path, nvme0=DENIED, nvme1=DENIED)
    reading = await source_at(tmp_path).read()
    assert (reading.disks, reading.denied) == ((), ("nvme0", "nvme1"))


async def test_the_serial_that_smartctl_told_stays_with_a_disk_that_no_longer_answers(tmp_path: Path) -> None:
    add_disk(tmp_path)
    write_smartctl(tmp_path, sdc=captured("smartctl-sata-failed.json"))
    source = source_at(tmp_path)
    await source.read()
    write_smartctl(tmp_path, sdc="smartctl: cannot allocate memory")
    (disk,) = (await source.read()).disks
    assert disk.serial == "MSK423Y20S3HBC"
    assert disk.unreadable == "smartctl tells no health: smartctl: cannot allocate memory"


KEYS = st.sampled_from(
    re.findall(
        r"\w+",
        "critical_warning value temperature avail_spare spare_thresh percent_used media_errors warning_temp_time "
        "nvme_smart_health_information_log smart_status passed smart_support available ata_smart_attributes table id "
        "raw string scsi_error_counter_log read total_uncorrected_errors endurance_used current_percent smartctl "
        "messages current drive_trip serial_number model_name",
    )
)
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12), st.just(5))
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=12,
)
documents = st.dictionaries(KEYS, values, max_size=8).map(json.dumps)
printed = st.one_of(st.text(max_size=300), documents, st.sampled_from(["[" * 5000, '{"a":' * 5000, "{}", LOG[:200]]))


@settings(max_examples=300, deadline=None)
@given(printed)
def test_any_text_is_understood_or_an_error(text: str) -> None:
    for parse, value in ((parse_nvme, "critical_warning"), (parse_smartctl, "passed")):
        try:
            disk = parse(DISK, text)
        except CannotObserve as error:
            assert "tells no health" in str(error)
            continue
        assert disk.silent or getattr(disk, value) is not None or disk.critical_warning is not None
        numbers = (disk.media_errors, disk.reallocated, disk.pending, disk.used_percent, disk.spare_percent)
        assert all(number is None or number >= 0 for number in numbers)
        assert (disk.serial + disk.model + disk.silent).isprintable()
