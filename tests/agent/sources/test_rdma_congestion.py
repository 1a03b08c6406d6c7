"""What `ethtool -S` prints of interfaces behind RDMA ports, hosts without it, interfaces that hang, and any text."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sources.rdma_congestion import WANTED, RdmaCongestionSource, parse_counters
from agent.sources.source import Timing
from checks.errors import CannotObserve
from checks.readings import RdmaCongestionReading
from tests.support.captured import captured, write_tool
from tests.support.rdma_adapters import add_adapter
from tests.support.surroundings import SOON, deadline, surroundings_at, write_program

STATISTICS = captured("ethtool-mlx5.txt")
NONE = "no stats available\n"


def source_at(root: Path, timing: Timing = SOON) -> RdmaCongestionSource:
    (root / "bin").mkdir(exist_ok=True)
    if not (root / "bin/grep").exists():
        (root / "bin/grep").symlink_to(shutil.which("grep") or "")
    return RdmaCongestionSource(surroundings_at(root, tools=root / "bin"), timing)


def write_ethtool(root: Path, **texts: str) -> None:
    write_tool(root / "bin", "ethtool", {f"-S {name}": text for name, text in texts.items()})


async def test_each_interface_is_read_as_it_was_published(tmp_path: Path) -> None:
    add_adapter(tmp_path, 0, "eth03")
    add_adapter(tmp_path, 1, "eth04")
    write_ethtool(tmp_path, eth03=STATISTICS, eth04=NONE)
    source = source_at(tmp_path)
    reading = await source.read()
    first, second = reading.ports
    assert (first.name, first.interface, first.pci) == ("mlx5_0/1", "eth03", "0000:10:00")
    assert (first.node_guid, first.unreadable) == ("b83f:d203:00ab:cd00", "")
    assert (first.counters["tx_pci_signal_integrity"], first.counters["tx_pause_storm_error_events"]) == (3, 0)
    assert first.counters["tx_pause_storm_warning_events"] == 0, "some kernels print a space after its name"
    assert "rx_packets" not in first.counters
    assert (second.name, second.counters, second.unreadable) == ("mlx5_1/1", {}, "")
    await source.close()


async def test_a_host_without_adapters_costs_nothing(tmp_path: Path) -> None:
    write_program(tmp_path / "bin", "ethtool", "exit 1")
    assert await source_at(tmp_path).read() == RdmaCongestionReading(5.0)


async def test_a_host_without_ethtool_is_nobodys_fault(tmp_path: Path) -> None:
    add_adapter(tmp_path, 0, "eth03")
    assert await source_at(tmp_path).read() == RdmaCongestionReading(5.0, missing_tools=("ethtool",))


async def test_virtual_functions_and_odd_names_are_left_alone(tmp_path: Path) -> None:
    add_adapter(tmp_path, 0, "eth03", is_virtual=True)
    add_adapter(tmp_path, 1, "-i")
    add_adapter(tmp_path, 2, "")
    write_ethtool(tmp_path, eth03=STATISTICS)
    assert await source_at(tmp_path).read() == RdmaCongestionReading(5.0)


async def test_an_interface_that_hangs_leaves_the_others_alone(tmp_path: Path) -> None:
    add_adapter(tmp_path, 0, "eth03")
    add_adapter(tmp_path, 1, "eth04")
    (tmp_path / "text").write_text(STATISTICS)
    script = (
        f'case "$2" in eth03) exec {shutil.which("sleep")} 60 ;; *) exec {shutil.which("cat")} {tmp_path}/text ;; esac'
    )
    write_program(tmp_path / "bin", "ethtool", script)
    source = source_at(tmp_path, deadline(1.0))
    hung, late = (await source.read()).ports
    assert "no answer within" in hung.unreadable
    assert late.unreadable == "" or "no time was left" in late.unreadable
    await source.close()


async def test_what_is_no_answer_is_unknown(tmp_path: Path) -> None:
    add_adapter(tmp_path, 0, "eth03")
    write_ethtool(tmp_path, eth03="Cannot get stats strings information: No such device\n")
    (port,) = (await source_at(tmp_path).read()).ports
    assert port.unreadable == "ethtool tells no counters: Cannot get stats strings information: No such device"


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=300), st.binary(max_size=300).map(os.fsdecode), st.text(" :1_\nrtx", max_size=80)))
def test_any_text_is_understood_or_an_error(text: str) -> None:
    try:
        counters = parse_counters(f"NIC statistics:\n{text}")
    except CannotObserve:
        pytest.fail("the heading is there")
    assert all(WANTED.fullmatch(name) and value >= 0 for name, value in counters.items())
    if "NIC statistics:" not in text and "no stats available" not in text:
        with pytest.raises(CannotObserve, match="ethtool tells no counters"):
            parse_counters(text)
