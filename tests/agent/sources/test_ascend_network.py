"""RoCE ports of NPUs: what hccn_tool printed on real hosts, ports that never were up, and any text at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sources.ascend_network import AscendNetworkSource, parse_health, parse_link, parse_optics
from checks.errors import CannotObserve
from checks.readings import AscendNetworkReading
from checks.readings.accelerator import Link, Optics
from tests.support.captured import captured, write_tool
from tests.support.memory_store import MemoryStore
from tests.support.surroundings import SOON, surroundings_at, write_files

OPTICS = Optics(False, 1.0189, 0.1445, 4.4035, 0.2818)


def answers(link: str, health: str) -> dict[str, str]:
    return {
        "-i 0 -link -g": captured(f"hccn-link-{link}.txt"),
        "-i 0 -net_health -g": captured(f"hccn-health-{health}.txt"),
        "-i 0 -optical -g": captured("hccn-optical.txt"),
    }


def source_at(root: Path, printed: dict[str, str], store: MemoryStore | None = None) -> AscendNetworkSource:
    write_files(root, {"dev/davinci0": "", "dev/davinci_manager": "", "dev/null": ""})
    write_tool(root / "bin", "hccn_tool", printed)
    return AscendNetworkSource(surroundings_at(root, store, tools=root / "bin"), SOON)


async def test_a_port_that_is_up_is_learnt(tmp_path: Path) -> None:
    store = MemoryStore()
    reading = await source_at(tmp_path, answers("up", "success"), store).read()
    (device,) = reading.devices
    assert device.links == (Link("RoCE", state="UP", health="Success", optics=OPTICS),)
    assert (device.name, device.physical, reading.known) == ("npu0", 0, {"npu0": ""})
    assert store.value == {"known": {"npu0": ""}}


async def test_a_port_that_never_was_up_is_not_learnt(tmp_path: Path) -> None:
    reading = await source_at(tmp_path, answers("down", "init")).read()
    assert (reading.devices[0].links[0].state, reading.known) == ("DOWN", {})


async def test_an_npu_that_does_not_answer_is_an_error_of_its_own(tmp_path: Path) -> None:
    (device,) = (await source_at(tmp_path, {}).read()).devices
    assert device.links == ()
    assert "tells no link status" in device.errors["links"]


async def test_a_host_without_npus_says_so(tmp_path: Path) -> None:
    source = AscendNetworkSource(surroundings_at(tmp_path, tools=tmp_path / "bin"), SOON)
    assert await source.read() == AscendNetworkReading(5.0)
    await source.close()


async def test_a_port_that_was_up_is_missed_without_its_tool(tmp_path: Path) -> None:
    write_files(tmp_path, {"dev/davinci0": ""})
    store = MemoryStore({"known": {"npu0": ""}})
    reading = await AscendNetworkSource(surroundings_at(tmp_path, store, tools=tmp_path / "bin"), SOON).read()
    assert reading.failure == "hccn_tool is not installed"


async def test_npus_that_left_with_their_device_nodes_are_missed(tmp_path: Path) -> None:
    write_tool(tmp_path / "bin", "hccn_tool", {})
    store = MemoryStore({"known": {"npu0": ""}})
    reading = await AscendNetworkSource(surroundings_at(tmp_path, store, tools=tmp_path / "bin"), SOON).read()
    assert reading.failure == "no NPU has a device node"


@given(st.text(max_size=200))
def test_any_text_is_understood_or_not(text: str) -> None:
    parse_optics(text)
    assert parse_health(text).isprintable()
    try:
        assert parse_link(text).isprintable()
    except CannotObserve as error:
        assert "tells no link status" in str(error)


@pytest.mark.parametrize(
    "text", ["", "hccn_tool is busy, please try again\n", "link status: \n", "link status: \x1b[31mUP\n"]
)
def test_no_word_is_no_state(text: str) -> None:
    with pytest.raises(CannotObserve):
        parse_link(text)
