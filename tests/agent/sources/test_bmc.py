"""The BMC: a real ipmitool against a simulated one, what is news in its log, and any text at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sources.bmc import BmcSource
from agent.sources.bmc_log import DAY_S
from agent.sources.ipmi import parse_events, parse_sensors
from checks.readings import BmcReading
from checks.readings.bmc import BmcEvent, BmcSensor
from tests.support.ipmi import log_events, running_bmc
from tests.support.memory_store import MemoryStore
from tests.support.surroundings import SOON, surroundings_at, write_files, write_program

SENSORS = """\
Inlet Temp       | 04h | ok  |  7.1 | 23 degrees C
PS1 Status       | 85h | ok  | 10.1 | Presence detected
PS2 Status       | 86h | cr  | 10.2 | Presence detected, Power Supply AC lost
Fan7             | 41h | ns  | 29.7 | No Reading
P1-DIMMA1 | x    | B0h | ok  | 32.64 | 41 degrees C
Get SDR 0000 command failed: Requested sensor, data, or record not found
"""
"""In the form of ipmitool 1.8.19."""

SUPPLY_FAILED = "0x04 0x08 0xc8 0x6f 0x01 0xff 0xff"
MEMORY_UNCORRECTED = "0x04 0x0c 0x53 0x6f 0x01 0xff 0xff"
"""Event message version, sensor type and number, type of event, its data. Source: IPMI 2.0, tables 29-6 and 42-3."""


@pytest.fixture
def tools(tmp_path: Path) -> Iterator[Path]:
    with running_bmc(tmp_path / "bmc") as programs:
        yield programs


def source_of(root: Path, tools: Path, store: MemoryStore | None = None) -> BmcSource:
    write_files(root, {"dev/ipmi0": ""})
    return BmcSource(surroundings_at(root, store, tools=tools), SOON)


async def test_a_real_event_log_is_read_and_only_news_is_told(tmp_path: Path, tools: Path) -> None:
    log_events(tools, SUPPLY_FAILED)
    store = MemoryStore()
    first = await source_of(tmp_path, tools, store).read()
    assert (first.present, first.failure, first.events) == (True, "", ())
    log_events(tools, MEMORY_UNCORRECTED)
    second = await source_of(tmp_path, tools, store).read()
    assert second.events == (BmcEvent(2, "Memory #0x53", "Uncorrectable ECC"),)
    assert (await source_of(tmp_path, tools, store).read()).events == second.events


async def test_a_host_without_a_bmc_or_without_the_tool_says_so(tmp_path: Path) -> None:
    tools = write_program(tmp_path / "bin", "ipmitool", "exit 1").parent
    without_bmc = await BmcSource(surroundings_at(tmp_path, tools=tools), SOON).read()
    without_tool = await source_of(tmp_path, tmp_path).read()
    assert without_bmc == without_tool == BmcReading(5.0)


@pytest.mark.parametrize(
    ("script", "failure"),
    [
        ("echo Could not open device; exit 1", "ipmitool sdr elist ended with code 1: Could not open device"),
        ("exit 3", "ipmitool sdr elist ended with code 3: it said nothing"),
    ],
)
async def test_a_bmc_that_does_not_answer_is_a_failure(tmp_path: Path, script: str, failure: str) -> None:
    tools = write_program(tmp_path / "bin", "ipmitool", script).parent
    reading = await source_of(tmp_path, tools).read()
    assert (reading.present, reading.failure) == (True, failure)


async def test_a_log_that_was_cleared_begins_anew(tmp_path: Path) -> None:
    event = "1,11/27/2026,10:00:00,Fan #0x41,Lower Critical going low ,Asserted"
    tools = write_program(tmp_path / "bin", "ipmitool", f'[ "$1" = sdr ] || echo "{event}"').parent
    reading = await source_of(tmp_path, tools, MemoryStore({"last_record": 40, "events": []})).read()
    assert reading.events == (BmcEvent(1, "Fan #0x41", "Lower Critical going low"),)


async def test_an_event_is_told_for_a_day_also_over_a_restart_and_a_boot(tmp_path: Path) -> None:
    tools = write_program(tmp_path / "bin", "ipmitool", "exit 0").parent
    event = {"record": 7, "sensor": "Fan #0x41", "event": "Lower Critical going low", "asserted": True}
    store = MemoryStore({"last_record": 7, "events": [[1000.0, event]]})
    write_files(tmp_path, {"dev/ipmi0": ""})

    async def told(now: float) -> int:
        surroundings = surroundings_at(tmp_path, store, tools=tools, monotonic=lambda: now)
        return len((await BmcSource(surroundings, SOON).read()).events)

    moments = (1000.0 + DAY_S - 1, 60.0, 60.0 + DAY_S - 1, 60.0 + DAY_S)
    assert [await told(now) for now in moments] == [1, 1, 1, 0]


def test_sensors_are_read() -> None:
    assert list(parse_sensors(SENSORS)) == [
        BmcSensor("Inlet Temp", "ok", "23 degrees C"),
        BmcSensor("PS1 Status", "ok", "Presence detected"),
        BmcSensor("PS2 Status", "cr", "Presence detected, Power Supply AC lost"),
        BmcSensor("Fan7", "ns", "No Reading"),
        BmcSensor("P1-DIMMA1 | x", "ok", "41 degrees C"),
    ]


def test_events_are_read() -> None:
    text = "SDRR successfully erased\n4a, Pre-Init ,0000006498,Power Supply #0xc8,Failure detected,Deasserted\n"
    assert list(parse_events(text)) == [BmcEvent(0x4A, "Power Supply #0xc8", "Failure detected", asserted=False)]


@given(st.text(max_size=300), st.sampled_from(SENSORS.splitlines()), st.integers(0, 40))
def test_any_text_gives_sensors_and_events_or_none(junk: str, line: str, cut: int) -> None:
    for text in (junk, line[:cut] + junk + line[cut:]):
        assert all(sensor.name.isprintable() and len(sensor.status) == 2 for sensor in parse_sensors(text))
        assert all(event.record >= 0 and event.event.isprintable() for event in parse_events(text))
