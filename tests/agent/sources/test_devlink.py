"""What `devlink health show` prints of RDMA adapters, kernels and hosts without it, and any text."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sources.devlink import ASK, NO_DEVLINK, DevlinkSource, parse_health
from agent.sources.source import Timing
from checks.errors import CannotObserve
from checks.readings import DevlinkReading, HealthReporter
from tests.support.captured import captured, write_tool
from tests.support.rdma_adapters import add_adapter
from tests.support.surroundings import SOON, deadline, surroundings_at, write_program

HEALTH = captured("devlink-health.json")
HEALTHY = HealthReporter("fw", "healthy", 0, 0)


def source_at(root: Path, timing: Timing = SOON) -> DevlinkSource:
    (root / "bin").mkdir(exist_ok=True)
    if not (root / "bin/grep").exists():
        (root / "bin/grep").symlink_to(shutil.which("grep") or "")
    return DevlinkSource(surroundings_at(root, tools=root / "bin"), timing)


def write_devlink(root: Path, text: str) -> None:
    write_tool(root / "bin", "devlink", {" ".join(ASK): text})


async def test_adapters_are_read_with_the_reporters_of_their_ports(tmp_path: Path) -> None:
    add_adapter(tmp_path, 0, "eth0")
    add_adapter(tmp_path, 1, "eth1")
    write_devlink(tmp_path, HEALTH)
    source = source_at(tmp_path)
    first, second = (await source.read()).adapters
    assert (first.name, first.address, first.pci) == ("mlx5_0", "0000:10:00.0", "0000:10:00")
    assert first.node_guid == "b83f:d203:00ab:cd00"
    assert [reporter.name for reporter in first.reporters] == ["fw", "fw_fatal", "tx", "rx"]
    assert first.reporters[0] == HEALTHY
    assert second.reporters[1] == HealthReporter("fw_fatal", "error", 1, 0, "2026-10-03 06:00:24")
    await source.close()


async def test_a_host_without_adapters_costs_nothing(tmp_path: Path) -> None:
    write_program(tmp_path / "bin", "devlink", "exit 1")
    assert await source_at(tmp_path).read() == DevlinkReading(5.0)


async def test_a_host_without_devlink_is_nobodys_fault(tmp_path: Path) -> None:
    add_adapter(tmp_path, 0, "eth0")
    assert await source_at(tmp_path).read() == DevlinkReading(5.0, missing_tools=("devlink",))


async def test_a_kernel_without_devlink_is_unknown_where_its_driver_needs_it(tmp_path: Path) -> None:
    add_adapter(tmp_path, 0, "eth0", vendor="0x1d0f")
    write_program(tmp_path / "bin", "devlink", f"echo '{NO_DEVLINK}' >&2; exit 1")
    source = source_at(tmp_path)
    assert await source.read() == DevlinkReading(5.0)
    add_adapter(tmp_path, 1, "eth1")
    with pytest.raises(CannotObserve, match="devlink tells no health: Failed to connect to devlink Netlink"):
        await source.read()


async def test_devlink_that_hangs_is_unknown(tmp_path: Path) -> None:
    add_adapter(tmp_path, 0, "eth0")
    write_program(tmp_path / "bin", "devlink", f"exec {shutil.which('sleep')} 60")
    source = source_at(tmp_path, deadline(0.5))
    with pytest.raises(CannotObserve, match="no answer within"):
        await source.read()
    await source.close()


def test_old_releases_call_a_reporter_a_name() -> None:
    printed = '{"health":{"pci/0000:04:00.0":[{"name":"fw","state":"healthy","error":0,"recover":0}]}}'
    assert parse_health(printed) == {"0000:04:00.0": [HEALTHY]}


def test_other_buses_are_left_out() -> None:
    assert parse_health('{"health":{"auxiliary/mlx5_core.sf.4":[{"reporter":"fw","state":"healthy"}]}}') == {}


async def test_an_adapter_without_reporters_is_not_listed(tmp_path: Path) -> None:
    add_adapter(tmp_path, 2, "eth2")
    write_devlink(tmp_path, HEALTH)
    assert await source_at(tmp_path).read() == DevlinkReading(5.0)


KEYS = st.sampled_from(re.findall(r"\w+", "health reporter name state error recover last_dump_date last_dump_time"))
HANDLES = st.sampled_from(["pci/0000:04:00.0", "pci/0000:04:00.0/65535", "pci/x", "platform/x"])
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12), st.just("error"))
rows = st.lists(st.one_of(scalars, st.dictionaries(KEYS, scalars, max_size=6)), max_size=4)
documents: st.SearchStrategy[Any] = st.one_of(
    st.dictionaries(HANDLES, st.one_of(rows, scalars), max_size=3).map(lambda health: json.dumps({"health": health})),
    st.dictionaries(KEYS, scalars, max_size=3).map(json.dumps),
)
printed = st.one_of(st.text(max_size=300), documents, st.sampled_from(["[" * 5000, '{"a":' * 5000, "{}", HEALTH[:60]]))


@settings(max_examples=300, deadline=None)
@given(printed)
def test_any_text_is_understood_or_an_error(text: str) -> None:
    try:
        told = parse_health(text)
    except CannotObserve as error:
        assert "devlink tells no health" in str(error)
        return
    for reporter in (reporter for reporters in told.values() for reporter in reporters):
        assert reporter.name
        assert (reporter.name + reporter.state + reporter.dumped).isprintable()
        assert all(count is None or count >= 0 for count in (reporter.errors, reporter.recoveries))
