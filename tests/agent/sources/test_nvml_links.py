"""NVLinks and the fabric, by the real pynvml, over the C double and over the simulation's library alike."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agent.sources.nvml import NvmlSource
from agent.sources.nvml_links import COUNTERS, COUNTERS_EVERY_S, FEC_HISTORY, LinkReader
from checks.readings import FabricReading, GpuReading, NvlinkCounters, NvlinkReading
from tests.support.nvml_double import Library
from tests.support.surroundings import SOON

BLACKWELL = [
    *(f"gpu 0 field {number} !3" for number in (161, 162, 163)),
    *(f"gpu 0 field {number} {number}" for number in COUNTERS.values() if number > 163),
    *(f"gpu 0 field {number} {2**40 + number}" for number in FEC_HISTORY),
]


async def read(library: Library, *lines: str) -> GpuReading:
    """Return the first GPU, of which the lines are true."""
    library.say(*lines)
    source = NvmlSource(library.surroundings(), SOON, environment=library.environment)
    reading = await source.read()
    await source.close()
    return reading.gpus[0]


async def test_every_state_of_a_link_is_told(library: Library) -> None:
    gpu = await read(library, "gpu 0 links 0123")
    assert gpu.nvlink is not None
    assert (gpu.nvlink.states, gpu.nvlink.mig, gpu.errors) == ((0, 1, 2, 3), False, {})


async def test_a_gpu_without_links_has_none(library: Library) -> None:
    gpu = await read(library, "gpu 0 links ")
    assert (gpu.nvlink, gpu.errors) == (None, {})


@pytest.mark.parametrize(("links", "states"), [("", ()), ("00", (0, 0))])
async def test_links_that_mig_took_away_are_marked(library: Library, links: str, states: tuple[int, ...]) -> None:
    gpu = await read(library, f"gpu 0 links {links}", "gpu 0 mig 1")
    assert gpu.nvlink is not None
    assert (gpu.nvlink.mig, gpu.nvlink.states) == (True, states)


@pytest.mark.parametrize(
    "lacking", ["gpu 0 fail nvmlDeviceGetFieldValues 3", "gpu 0 field 91 !2", "gpu 0 field 165 !3"]
)
async def test_links_are_asked_one_by_one_where_the_driver_lacks_a_field(library: Library, lacking: str) -> None:
    gpu = await read(library, "gpu 0 links 1121110", lacking)
    assert gpu.nvlink is not None
    assert gpu.nvlink.states == (1, 1, 2, 1, 1, 1, 0)


async def test_a_link_that_does_not_tell_its_state_keeps_its_place(library: Library) -> None:
    gpu = await read(library, "gpu 0 links 11", "gpu 0 field 91 4", "gpu 0 field 165 1 !3 1 !3")
    assert gpu.nvlink is not None
    assert gpu.nvlink.states == (1, 1, 1, None)


@pytest.mark.parametrize("line", ["gpu 0 field 165 1 !999", "gpu 0 fail nvmlDeviceGetMigMode 999"])
async def test_a_state_that_cannot_be_read_is_an_error(library: Library, line: str) -> None:
    gpu = await read(library, "gpu 0 links 11", line)
    assert (gpu.nvlink, gpu.errors["nvlink"]) == (None, "Unknown Error (999)")
    assert gpu.fabric is not None


async def test_counters_of_hopper_are_told_by_link(library: Library) -> None:
    gpu = await read(
        library, "gpu 0 links 111", "gpu 0 field 161 0 7 0", "gpu 0 field 162 0 0 1", "gpu 0 field 163 5000000000 0 0"
    )
    expected = NvlinkCounters(replays=(0, 7, 0), recoveries=(0, 0, 1), crc_errors=(5_000_000_000, 0, 0))
    assert gpu.nvlink == NvlinkReading(states=(1, 1, 1), counters=expected)


async def test_counters_of_ampere_are_asked_by_the_old_call(library: Library) -> None:
    old = [f"gpu 0 field {number} !3" for number in (161, 162, 163)]
    counted = ["gpu 0 link_counter 0 0 2", "gpu 0 link_counter 1 1 0", "gpu 0 link_counter 2 3 4"]
    gpu = await read(library, "gpu 0 links 11", *old, *counted, "gpu 0 link_counter 3 10 20")
    assert gpu.nvlink is not None
    assert NvlinkCounters(replays=(0, 2), recoveries=(1, 0), crc_errors=(13, 24)) == gpu.nvlink.counters


async def test_counters_of_blackwell_are_told_with_their_history(library: Library) -> None:
    gpu = await read(library, "gpu 0 links 21", *BLACKWELL)
    assert gpu.nvlink is not None
    new: dict[str, Any] = {name: (number, number) for name, number in COUNTERS.items() if number > 163}
    history = tuple((2**40 + number, 2**40 + number) for number in FEC_HISTORY)
    assert NvlinkCounters(**new, fec_history=history) == gpu.nvlink.counters


async def test_a_gpu_without_counters_has_none(library: Library) -> None:
    gpu = await read(library, *(f"gpu 0 field {number} !2" for number in (161, 162, 163)))
    assert gpu.nvlink is not None
    assert (NvlinkCounters(), "") == (gpu.nvlink.counters, gpu.nvlink.counters_unreadable)


async def test_counters_that_cannot_be_read_do_not_hide_the_states(library: Library) -> None:
    gpu = await read(library, "gpu 0 links 11", "gpu 0 field 162 0 !999")
    assert gpu.nvlink == NvlinkReading(states=(1, 1), counters_unreadable="Unknown Error (999)")
    assert gpu.errors == {}


async def test_a_gpu_that_is_lost_while_its_counters_are_read_is_lost(library: Library) -> None:
    gpu = await read(library, "gpu 0 field 162 0 !15")
    assert (gpu.lost, gpu.nvlink) == (True, None)


async def test_counters_are_asked_once_a_minute(library: Library) -> None:
    source = NvmlSource(library.surroundings(), SOON, environment=library.environment)
    readings = [(await source.read()).gpus for _ in range(2)]
    await source.close()
    asked = [[gpu.nvlink is not None and gpu.nvlink.counters is not None for gpu in gpus] for gpus in readings]
    assert asked == [[True, True], [False, False]]


def test_the_minute_is_each_gpus_own() -> None:
    now_s = iter((10.0, 40.0, 10.0 + COUNTERS_EVERY_S, 10.0 + COUNTERS_EVERY_S))
    reader = LinkReader(lambda: next(now_s))
    assert [reader.is_due(gpu) for gpu in (1, 2, 1, 2)] == [True, True, True, False]


@pytest.mark.parametrize("state", range(4))
async def test_the_fabric_is_told(library: Library, state: int) -> None:
    gpu = await read(library, f"gpu 0 fabric {state} 0 {'0f' * 16} 7 9a6 2")
    assert FabricReading(state, 0, "0f" * 16, 7, 0x9A6, 2) == gpu.fabric


async def test_the_fabric_of_an_older_driver_has_no_summary(library: Library) -> None:
    gpu = await read(library, f"gpu 0 fabric 3 999 {'0' * 32} 0 1aa")
    assert FabricReading(3, 999, "0" * 32, 0, 0x1AA, None) == gpu.fabric


@pytest.mark.parametrize("code", [2, 3, 13, 25])
async def test_a_gpu_that_knows_of_no_fabric_has_none(library: Library, code: int) -> None:
    gpu = await read(library, f"gpu 0 fail nvmlDeviceGetGpuFabricInfoV {code}")
    assert (gpu.fabric, gpu.errors) == (None, {})


async def test_a_fabric_that_cannot_be_read_is_an_error(library: Library) -> None:
    gpu = await read(library, "gpu 0 fail nvmlDeviceGetGpuFabricInfoV 999")
    assert (gpu.fabric, gpu.errors) == (None, {"fabric": "Unknown Error (999)"})
    assert gpu.nvlink is not None
    assert replace(gpu.nvlink, counters=None) == NvlinkReading(states=(1,) * 18)
