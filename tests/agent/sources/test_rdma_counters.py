"""Counters of RDMA ports from sysfs trees: which are read, which are left alone, and any bytes at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sources.rdma_counters import RdmaCountersSource
from checks.fabric import rdma_ber, rdma_errors
from checks.finding import Verdict
from checks.readings import PortCounters
from tests.support.rdma_tree import add_adapter
from tests.support.surroundings import SOON, surroundings_at


async def ports_of(root: Path) -> list[PortCounters]:
    return list((await RdmaCountersSource(surroundings_at(root), SOON).read()).ports)


async def test_what_is_judged_or_shown_is_read_and_nothing_else(tmp_path: Path) -> None:
    files = {
        "ports/1/counters/port_xmit_packets": "9\n",
        "ports/1/hw_counters/out_of_sequence": "7\n",
        "ports/1/hw_counters/lifespan": "10\n",
    }
    add_adapter(tmp_path, files=files)
    expected = PortCounters(
        name="mlx5_0/1",
        link_layer="InfiniBand",
        rate_gbit_per_s=400.0,
        node_guid="a088:c203:00ab:cdef",
        pci="0000:3b:00",
        counters={"link_downed": 3, "symbol_error": 0, "out_of_sequence": 7},
    )
    assert [expected] == await ports_of(tmp_path)


async def test_efa_keeps_its_commands_with_the_device(tmp_path: Path) -> None:
    files = {"hw_counters/no_completion_cmds": "1\n", "ports/1/hw_counters/rx_drops": "2\n"}
    add_adapter(tmp_path, "rdmap0s6", files=files)
    (port,) = await ports_of(tmp_path)
    assert {name: port.counters[name] for name in ("no_completion_cmds", "rx_drops")} == {
        "no_completion_cmds": 1,
        "rx_drops": 2,
    }


async def test_bnxt_recoverable_errors_are_not_even_read(tmp_path: Path) -> None:
    """The driver writes the number of broadcast packets into that file."""
    files = {"ports/1/hw_counters/recoverable_errors": "90000\n", "ports/1/hw_counters/unrecoverable_err": "0\n"}
    add_adapter(tmp_path, "bnxt_re0", files=files)
    (port,) = await ports_of(tmp_path)
    assert {"link_downed", "symbol_error", "unrecoverable_err"} == set(port.counters)


async def test_a_restricted_adapter_is_asked_once_and_is_unknown(tmp_path: Path) -> None:
    adapter = add_adapter(tmp_path)
    now = [0.0]
    source = RdmaCountersSource(surroundings_at(tmp_path, monotonic=lambda: now[0]), SOON)
    counters = adapter / "ports/1/counters"
    for path in counters.iterdir():
        path.unlink()
        path.mkdir()
    first = await source.read()
    for path in counters.iterdir():
        path.rmdir()
        path.write_text("1\n")
    now[0] = 60.0
    second = await source.read()
    now[0] = 300.0
    third = await source.read()
    assert [reading.ports[0].unread for reading in (first, second, third)] == [2, 2, 0]
    assert [finding.verdict for finding in rdma_errors.judge([first, second])] == [Verdict.UNKNOWN]
    assert rdma_errors.judge([first, second, third]) == ()


async def test_no_port_at_all(tmp_path: Path) -> None:
    assert await ports_of(tmp_path) == []


async def test_what_the_firmware_does_not_give_is_not_there(tmp_path: Path) -> None:
    add_adapter(tmp_path, files={"ports/1/counters/symbol_error": "N/A (no PMA)\n"})
    (port,) = await ports_of(tmp_path)
    assert (port.counters, port.unread) == ({"link_downed": 3}, 1)


NAMES = ("ports/1/counters/symbol_error", "ports/1/hw_counters/rx_drops", "ports/1/rate", "node_guid")


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(st.binary(max_size=60), min_size=len(NAMES), max_size=len(NAMES)))
async def test_any_bytes_give_a_port_that_can_be_judged(
    tmp_path_factory: pytest.TempPathFactory, texts: list[bytes]
) -> None:
    root = tmp_path_factory.mktemp("root")
    add_adapter(root, files=dict(zip(NAMES, texts, strict=True)))
    reading = await RdmaCountersSource(surroundings_at(root), SOON).read()
    (port,) = reading.ports
    assert all(value >= 0 for value in port.counters.values())
    for check in (rdma_errors, rdma_ber):
        assert Verdict.OK not in {finding.verdict for finding in check.judge([reading])}
