"""Ascend NPUs: what npu-smi printed on real hosts, in several versions, a tool that fails, and any text at all."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sources import npu_smi
from agent.sources.ascend import AscendSource
from checks.manifest import Accelerator, Manifest
from checks.readings import AscendReading
from checks.readings.accelerator import BadPages, EccCount, Fault, Health, Link, Temperature
from tests.support.captured import FOLDER, captured, write_tool
from tests.support.memory_store import MemoryStore
from tests.support.surroundings import SOON, approve, deadline, surroundings_at, write_files, write_program

DIE = "42C711D4-20B03704-4A10C8D4-14CC040A-D2102003"
PCI = {"sys/bus/pci/devices/0000:61:00.0/vendor": "0x19e5\n", "sys/bus/pci/devices/0000:61:00.0/class": "0x120000\n"}
ADAPTER = {
    "sys/bus/pci/devices/0000:03:00.0/vendor": "0x19e5\n",
    "sys/bus/pci/devices/0000:03:00.0/class": "0x020000\n",
}
ONE = captured("npu-smi-map-910b3.txt").split("\t1 ")[0]

ANSWERS = {
    "info -m": ONE,
    "info -t board -i 0": captured("npu-smi-board-card-25.5.1.txt"),
    "info -t board -i 0 -c 0": captured("npu-smi-board-chip-23.0.5.txt"),
    "info -t health -i 0 -c 0": captured("npu-smi-health-warning.txt"),
    "info -t ecc -i 0 -c 0": captured("npu-smi-ecc-23.0.5.txt"),
    "info -t temp -i 0 -c 0": captured("npu-smi-temp-25.5.1.txt"),
    "info -t power -i 0 -c 0": captured("npu-smi-power-25.5.1.txt"),
    "info -t hccs -i 0 -c 0": captured("npu-smi-hccs.txt"),
}


def source_at(root: Path, answers: dict[str, str] | None = None, store: MemoryStore | None = None) -> AscendSource:
    """Return the source on a host with one NPU; without answers there is no tool."""
    write_files(root, PCI | ADAPTER)
    (root / "bin").mkdir(exist_ok=True)
    if answers is not None:
        write_tool(root / "bin", "npu-smi", answers)
    return AscendSource(surroundings_at(root, store, tools=root / "bin"), SOON)


async def test_a_whole_npu_is_read(tmp_path: Path) -> None:
    store = MemoryStore()
    reading = await source_at(tmp_path, ANSWERS, store).read()
    (npu,) = reading.devices
    assert (npu.vendor, npu.name, npu.logical, npu.physical, npu.card, npu.chip) == ("huawei", "npu0", 0, None, 0, 0)
    assert (npu.uuid, npu.pci, npu.serial, npu.slot, npu.model) == (
        DIE,
        "0000:61:00",
        "1025C9048791",
        "0",
        "Ascend 910B3",
    )
    assert npu.health == Health("Warning", (Fault("80E01801", "node type=SOC, sensor type=Temperature"),))
    assert npu.ecc == (EccCount("HBM", 0, 0), EccCount("DDR", 0, 0))
    assert (npu.bad_pages, npu.power_watts) == (BadPages(retired=0), 103.5)
    assert npu.temperatures == (Temperature("NPU", 39.0),)
    assert npu.links == tuple(Link("HCCS", str(number), "OK", errors=0, retries=0) for number in range(3))
    assert npu.capabilities == {"health", "ecc", "bad_pages", "links", "temperatures", "power_watts"}
    assert (npu.errors, reading.failure, reading.present) == ({}, "", ("0000:61:00",))
    assert store.value == {"known": {DIE: "0000:61:00"}}
    assert reading.known == {DIE: "0000:61:00"}


async def test_who_a_chip_is_is_asked_once(tmp_path: Path) -> None:
    source = source_at(tmp_path, ANSWERS)
    first = await source.read()
    write_tool(tmp_path / "bin", "npu-smi", {line: text for line, text in ANSWERS.items() if "board" not in line})
    assert first.devices == (await source.read()).devices


async def test_a_part_that_does_not_answer_is_an_error_of_its_own(tmp_path: Path) -> None:
    source = source_at(tmp_path, ANSWERS)
    await source.read()
    write_tool(tmp_path / "bin", "npu-smi", {line: text for line, text in ANSWERS.items() if "hccs" not in line})
    (npu,) = (await source.read()).devices
    assert (npu.links, list(npu.errors)) == ((), ["links"])
    assert npu.health is not None


async def test_a_part_that_was_never_there_is_not_missed(tmp_path: Path) -> None:
    source = source_at(tmp_path, {**ANSWERS, "info -t hccs -i 0 -c 0": "This device does not support querying hccs."})
    (npu,) = (await source.read()).devices
    assert (npu.links, npu.errors) == ((), {})


async def test_a_chip_that_does_not_say_who_it_is_is_not_learnt(tmp_path: Path) -> None:
    answers = {line: text for line, text in ANSWERS.items() if "board" not in line}
    reading = await source_at(tmp_path, answers).read()
    assert (reading.devices[0].uuid, reading.known) == ("", {})
    assert "identity" in reading.devices[0].errors


async def test_a_host_without_npus_costs_nothing_and_says_so(tmp_path: Path) -> None:
    write_files(tmp_path, ADAPTER)
    source = AscendSource(surroundings_at(tmp_path, tools=tmp_path / "bin"), SOON)
    assert await source.read() == AscendReading(5.0)
    await source.close()


async def test_npus_without_the_tool_are_not_well(tmp_path: Path) -> None:
    reading = await source_at(tmp_path).read()
    assert (reading.failure, reading.expected) == ("npu-smi is not installed", True)


@pytest.mark.parametrize("printed", ["dcmi model initialized failed, because the device is used. ret is -8020\n", ""])
async def test_a_tool_that_lists_nothing_is_a_failure(tmp_path: Path, printed: str) -> None:
    reading = await source_at(tmp_path, {"info -m": printed}).read()
    assert reading.failure.startswith("npu-smi info -m lists no chip")
    assert reading.devices == ()


async def test_a_tool_on_a_host_without_npus_is_none(tmp_path: Path) -> None:
    write_tool(tmp_path / "bin", "npu-smi", {"info -m": "dcmi module initialize failed. ret is -8005\n"})
    reading = await AscendSource(surroundings_at(tmp_path, tools=tmp_path / "bin"), SOON).read()
    assert reading == AscendReading(5.0)


async def test_what_there_was_no_time_for_is_said(tmp_path: Path) -> None:
    write_files(tmp_path, PCI)
    write_tool(tmp_path / "bin", "npu-smi", ANSWERS)
    surroundings = surroundings_at(tmp_path, tools=tmp_path / "bin", monotonic=itertools.count(step=2).__next__)
    (npu,) = (await AscendSource(surroundings, deadline(11.0)).read()).devices
    assert npu.health is not None
    assert npu.errors["temperatures"] == "no time was left to ask"


async def test_a_tool_that_hangs_is_a_failure(tmp_path: Path) -> None:
    write_files(tmp_path, PCI)
    sleep = shutil.which("sleep")
    write_program(tmp_path / "bin", "npu-smi", f"exec {sleep} 60")
    source = AscendSource(surroundings_at(tmp_path, tools=tmp_path / "bin"), deadline(0.2))
    assert "no answer within 0.2 s" in (await source.read()).failure


def test_chips_with_two_dies_and_two_numbers() -> None:
    chips = npu_smi.parse_mapping(captured("npu-smi-map-910.txt"))
    assert [(chip.card, chip.chip, chip.logical, chip.physical) for chip in chips] == [
        (0, 0, 0, 0),
        (0, 1, 1, 1),
        (1, 0, 2, 2),
    ]


def test_two_codes_and_their_texts() -> None:
    faults = (Fault("80E18402", "node type=HBM, sensor type=ECC"), Fault("81078603", "node type=PCIE, link down"))
    assert npu_smi.parse_health(captured("npu-smi-health-two-codes.txt")) == Health("Alarm", faults)


@pytest.mark.parametrize("name", ["npu-smi-health-ok-23.0.5.txt", "npu-smi-health-ok-manual.txt"])
def test_a_well_device_in_both_forms(name: str) -> None:
    assert npu_smi.parse_health(captured(name)) == Health("OK")


def test_pages_that_wait_for_a_restart() -> None:
    line = "HBM Double Bit Next-Isolated Pages Count : {}"
    text = captured("npu-smi-ecc-950-manual.txt").replace(line.format(0), line.format(2))
    assert npu_smi.parse_bad_pages(text) == BadPages(retired=0, pending=2)
    assert npu_smi.parse_ecc(text) == (EccCount("HBM", 0, 0),)


def test_links_with_their_lanes() -> None:
    links = npu_smi.parse_hccs(captured("npu-smi-hccs-910b.txt"))
    assert [(link.lanes, link.errors, link.state) for link in links] == [(4, 0, "OK")] * 7


NPU_TEXTS = [captured(path.name) for path in sorted(FOLDER.glob("npu-smi-*.txt"))]
PARSERS = (
    npu_smi.parse_health,
    npu_smi.parse_ecc,
    npu_smi.parse_bad_pages,
    npu_smi.parse_temperatures,
    npu_smi.parse_power,
    npu_smi.parse_hccs,
    npu_smi.parse_mapping,
)
mutilated = st.builds(
    lambda text, at, cut, junk: text[:at] + junk + text[at + cut :],
    st.sampled_from(NPU_TEXTS),
    st.integers(0, 900),
    st.integers(0, 60),
    st.text(max_size=12),
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=400), mutilated))
def test_any_text_is_understood_or_not(text: str) -> None:
    for parse in PARSERS:
        value = parse(text)
        if isinstance(value, Health):
            assert value.said.isprintable()
            assert all(len(fault.code) <= 8 and fault.text.isprintable() for fault in value.faults)
    identity = npu_smi.parse_identity(text, text)
    assert len(identity.serial) <= 64


@settings(max_examples=200, deadline=None)
@given(mutilated)
def test_no_text_makes_a_sick_device_well(text: str) -> None:
    """What is broken in the middle of the word is another word, and no check takes another word for well."""
    sick = npu_smi.parse_health(text.replace("OK", "Alarm"))
    assert sick is None or sick.said != "OK"


async def test_devices_that_were_approved_are_known_where_none_answers(tmp_path: Path) -> None:
    mine = Accelerator("huawei", "NPU-1", "0000:c1:00")
    approve(tmp_path, Manifest(accelerators=(mine, Accelerator("amd", "GPU-1", "0000:c2:00"))))
    (tmp_path / "bin").mkdir()
    reading = await AscendSource(surroundings_at(tmp_path, tools=tmp_path / "bin"), SOON).read()
    assert (reading.known, reading.failure) == ({"NPU-1": "0000:c1:00"}, "npu-smi is not installed")
