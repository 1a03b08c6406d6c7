"""AMD GPUs by amd-smi: what it printed on real hosts, in several versions, a program that fails, and any text."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sources import amd_smi
from agent.sources.amd import AmdSource, gpu_addresses
from checks.errors import CannotObserve
from checks.manifest import Accelerator, Manifest
from checks.readings import AmdReading
from checks.readings.accelerator import BadPages, EccCount, Link, PcieLink, Temperature, Throttle
from tests.support.captured import captured, write_tool
from tests.support.memory_store import MemoryStore
from tests.support.surroundings import SOON, approve, deadline, surroundings_at, write_files, write_program

UUID = "a4ff73ff-0000-1000-80ff-ffffffffffff"
METRIC = captured("amd-smi-metric-rx6600.json")
STATIC = captured("amd-smi-static-rx6600.json")
LIST = json.dumps([{"gpu": 0, "bdf": "0000:0b:00.0", "uuid": UUID, "kfd_id": 45091, "node_id": 1, "partition_id": 0}])
ANSWERS = {
    "metric --json": METRIC,
    "static --json": STATIC,
    "list --json": LIST,
    "bad-pages --json": captured("amd-smi-bad-pages-none.json"),
}


def pci_device(address: str, kind: str, vendor: str = "0x1002") -> dict[str, str]:
    folder = f"sys/bus/pci/devices/{address}"
    return {f"{folder}/vendor": f"{vendor}\n", f"{folder}/class": f"{kind}\n"}


def source_at(root: Path, answers: dict[str, str] | None = None, store: MemoryStore | None = None) -> AmdSource:
    """Return the source on a host with one GPU; without answers there is no program."""
    write_files(root, pci_device("0000:0b:00.0", "0x038000"))
    (root / "bin").mkdir(exist_ok=True)
    grep = root / "bin/grep"
    if not grep.exists():
        grep.symlink_to(shutil.which("grep") or "")
    if answers is not None:
        write_tool(root / "bin", "amd-smi", answers)
    return AmdSource(surroundings_at(root, store, tools=root / "bin"), SOON)


async def test_a_graphics_card_is_read_as_it_was_captured(tmp_path: Path) -> None:
    reading = await source_at(tmp_path, ANSWERS).read()
    (gpu,) = reading.devices
    assert (gpu.name, gpu.uuid, gpu.pci, gpu.serial) == ("gpu0", UUID, "0000:0b:00", "")
    assert gpu.model == "Navi 23 [Radeon RX 6600/6600 XT"
    assert gpu.ecc == (EccCount("GPU", 0, 0, 0),)
    assert gpu.temperatures == (
        Temperature("edge", 36.0, 100.0, 105.0),
        Temperature("hotspot", 37.0, 110.0, 115.0),
        Temperature("mem", 32.0, 100.0, 105.0),
    )
    assert gpu.pcie == PcieLink(8, 16, 8, 16.0, 16.0)
    assert (gpu.bad_pages, gpu.power_watts) == (BadPages(0, 0, 0), 6.0)
    assert (gpu.links, gpu.throttles, gpu.errors, reading.failure) == ((), (), {}, "")
    assert reading.known == {UUID: "0000:0b:00"}


async def test_who_a_gpu_is_is_asked_once_and_its_best_width_is_remembered(tmp_path: Path) -> None:
    store = MemoryStore()
    source = source_at(tmp_path, ANSWERS, store)
    await source.read()
    narrow = {"metric --json": METRIC.replace('"width": 8', '"width": 4'), "bad-pages --json": "[]"}
    write_tool(tmp_path / "bin", "amd-smi", narrow)
    (gpu,) = (await source.read()).devices
    assert gpu.pcie is not None
    assert (gpu.uuid, gpu.pcie.width, gpu.pcie.best_width) == (UUID, 4, 8)
    assert store.value == {"known": {UUID: "0000:0b:00"}, "widths": {UUID: 8}}
    assert list(gpu.errors) == ["bad_pages"]


async def test_a_host_without_amd_costs_nothing_and_says_so(tmp_path: Path) -> None:
    write_files(tmp_path, pci_device("0000:01:00.0", "0x030200", vendor="0x10de"))
    source = AmdSource(surroundings_at(tmp_path, tools=tmp_path / "bin"), SOON)
    assert await source.read() == AmdReading(5.0)
    await source.close()


async def test_gpus_without_program_and_driver_are_not_well(tmp_path: Path) -> None:
    reading = await source_at(tmp_path).read()
    assert reading.failure == "amd-smi is not installed, and the amdgpu driver shows no GPU"


async def test_a_program_that_tells_of_no_gpu_is_a_failure(tmp_path: Path) -> None:
    reading = await source_at(tmp_path, {"metric --json": "ERROR:root:Unable to get devices"}).read()
    assert reading.failure == "amd-smi names no GPU: ERROR:root:Unable to get devices"


async def test_a_program_that_hangs_is_a_failure(tmp_path: Path) -> None:
    source_at(tmp_path)
    write_program(tmp_path / "bin", "amd-smi", f"exec {shutil.which('sleep')} 60")
    source = AmdSource(surroundings_at(tmp_path, tools=tmp_path / "bin"), deadline(0.2))
    assert "no answer within 0.2 s" in (await source.read()).failure


async def test_graphics_count_where_the_driver_serves_them(tmp_path: Path) -> None:
    write_files(tmp_path, pci_device("0000:03:00.0", "0x030000") | pci_device("0000:04:00.0", "0x030000"))
    (tmp_path / "sys/bus/pci/drivers/amdgpu").mkdir(parents=True)
    (tmp_path / "sys/bus/pci/devices/0000:04:00.0/driver").symlink_to(tmp_path / "sys/bus/pci/drivers/amdgpu")
    assert gpu_addresses(tmp_path / "sys") == ("0000:04:00",)


def test_two_cards_under_a_wrapper() -> None:
    warning = "WARNING: User is missing the following required groups: render\n"
    rows = amd_smi.rows(warning + captured("amd-smi-metric-two-cards.json"))
    assert list(rows) == [0, 1]
    assert amd_smi.parse_ecc(rows[1]) == (EccCount("UMC", 0, 0, 0),)
    assert amd_smi.parse_throttles(rows[1]) == ()


def test_the_limits_of_an_instinct() -> None:
    static = amd_smi.rows(captured("amd-smi-static-mi210.json"))[0]
    metric: dict[str, Any] = {"temperature": {"hotspot": {"value": 100, "unit": "C"}}}
    assert amd_smi.parse_temperatures(metric, static) == (Temperature("hotspot", 100.0, 100.0, 105.0),)
    pages = amd_smi.parse_bad_pages({"retired": [{"page_address": "0x1"}], "pending": amd_smi.NO_PAGES}, static)
    assert pages == BadPages(1, 0, None, 655)
    assert amd_smi.parse_pci(static) == ""


def test_throttling_with_its_clock() -> None:
    told = {"accumulation_counter": 900, "prochot_accumulated": 3, "prochot_violation_status": "NOT ACTIVE"}
    row: dict[str, Any] = {"throttle": {**told, "hbm_thermal_violation_status": "ACTIVE"}}
    assert amd_smi.parse_throttles(row) == (Throttle("prochot", False, 3), Throttle("hbm_thermal", True))
    assert amd_smi.parse_throttle_clock(row) == 900


def test_two_lists_after_each_other_are_one() -> None:
    printed = '[{"gpu": 0, "link_status": ["U", "D", "X", "N/A"]}]\n[{"gpu": 1, "link_status": []}]'
    rows = amd_smi.rows(printed)
    links = amd_smi.parse_links(rows[0], {"xgmi_err": "AMDSMI_XGMI_STATUS_NO_ERRORS"})
    states = [Link("XGMI", "0", "up"), Link("XGMI", "1", "down"), Link("XGMI", "2", "disabled")]
    assert [*states, Link("XGMI", health="NO_ERRORS")] == list(links)
    assert list(rows) == [0, 1]


scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12))
KEYS = st.sampled_from(
    re.findall(
        r"\w+",
        "gpu value unit ecc ecc_blocks UMC temperature edge pcie width throttle limit link_status xgmi_err retired "
        "pending ras bad_page_threshold correctable_count power bus",
    )
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=12,
)
documents = st.lists(st.dictionaries(KEYS, values, max_size=8), max_size=3)


def parse_everything(row: dict[str, Any]) -> None:
    for temperature in amd_smi.parse_temperatures(row, row):
        assert -1e6 <= temperature.celsius <= 1e6
    for count in amd_smi.parse_ecc(row):
        assert count.uncorrected is None or count.uncorrected >= 0
    amd_smi.parse_throttles(row)
    amd_smi.parse_throttle_clock(row)
    amd_smi.parse_pcie(row, row)
    amd_smi.parse_power(row)
    amd_smi.parse_bad_pages(row, row)
    assert all(link.health.isprintable() for link in amd_smi.parse_links(row, row))
    assert amd_smi.parse_text(row, "asic", "market_name").isprintable()
    amd_smi.parse_pci(row)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=300), documents.map(json.dumps), st.sampled_from(["[" * 5000, '{"a":' * 5000])))
def test_any_text_is_understood_or_an_error(printed: str) -> None:
    try:
        rows = amd_smi.rows(printed)
    except CannotObserve as error:
        assert str(error).startswith("amd-smi names no GPU")
        return
    for row in rows.values():
        parse_everything(dict(row))


@pytest.mark.parametrize("printed", ["", "N/A", "[]", "{}", '{"gpu_data": 3}', '[{"gpu": "N/A"}]', '[{"gpu": true}]'])
def test_no_gpu_is_an_error(printed: str) -> None:
    with pytest.raises(CannotObserve):
        amd_smi.rows(printed)


async def test_devices_that_were_approved_are_known_where_none_answers(tmp_path: Path) -> None:
    mine = Accelerator("amd", "GPU-1", "0000:c2:00")
    approve(tmp_path, Manifest(accelerators=(Accelerator("huawei", "NPU-1", "0000:c1:00"), mine)))
    reading = await AmdSource(surroundings_at(tmp_path, tools=tmp_path / "bin"), SOON).read()
    assert reading.known == {"GPU-1": "0000:c2:00"}
