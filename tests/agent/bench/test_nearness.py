"""On which CPUs a copy to the host runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.bench.nearness import cpus_of, near

PCI = "0000:1b:00.0"


def device(root: Path, cpus: str) -> Path:
    (root / PCI).mkdir(parents=True, exist_ok=True)
    (root / PCI / "local_cpulist").write_text(cpus)
    return root


def test_a_thread_runs_on_the_near_cpus_and_everywhere_afterwards(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    one = min(before)

    with near(PCI, devices=device(tmp_path, f"{one}\n")):
        assert os.sched_getaffinity(0) == {one}

    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize("cpus", ["", "65000", "nonsense", "9-3"])
def test_nothing_changes_where_no_near_cpu_may_be_used(tmp_path: Path, cpus: str) -> None:
    before = os.sched_getaffinity(0)

    with near(PCI, devices=device(tmp_path, cpus)):
        assert os.sched_getaffinity(0) == before


def test_nothing_changes_for_a_device_that_is_not_there(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)

    with near(PCI, devices=tmp_path):
        assert os.sched_getaffinity(0) == before


def test_lists_of_cpus_are_read(tmp_path: Path) -> None:
    assert cpus_of(device(tmp_path, "0-2,8,10-11\n") / PCI / "local_cpulist") == {0, 1, 2, 8, 10, 11}


@given(text=st.binary(max_size=200))
def test_any_bytes_are_cpus_or_none(tmp_path_factory: pytest.TempPathFactory, text: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "cpulist"
    path.write_bytes(text)

    assert all(0 <= cpu < 65_536 for cpu in cpus_of(path))
