"""What counted meanwhile, and how the GPUs are set: what differs, and what that means."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.bench.counters import Counted, grown, new_lines
from agent.bench.modes import changed
from checks.bench_outcome import Outcome
from checks.readings import GpuDetails, GpuReading, NvlinkCounters, NvlinkReading, RdmaPort

UUID, PCI = "GPU-1", "0000:3b:00"
GPU = GpuReading(
    0,
    UUID,
    PCI,
    ecc_uncorrected_volatile=0,
    remapped_correctable=1,
    nvlink=NvlinkReading(states=(1, 1), counters=NvlinkCounters(replays=(0, 5), recoveries=(0, None))),
    details=GpuDetails(pcie_errors={"fatal": 0, "replays": 3}),
)
PORT = RdmaPort("mlx5_0/1", link_downed=2, carrier_downs=None)
BEFORE = Counted((GPU,), (PORT,), ("a line",))


def links(**counters: Any) -> GpuReading:
    """Return the GPU with these counters of its links."""
    return replace(GPU, nvlink=NvlinkReading(states=(1, 1), counters=NvlinkCounters(**counters)))


@pytest.mark.parametrize(
    ("after", "severity", "because"),
    [
        (
            replace(GPU, ecc_uncorrected_volatile=2),
            Outcome.FAIL,
            "ecc_uncorrected_volatile of GPU-1 grew from 0 to 2 while it ran",
        ),
        (
            replace(GPU, remapped_correctable=2),
            Outcome.WARN,
            "remapped_correctable of GPU-1 grew from 1 to 2 while it ran",
        ),
        (
            links(replays=(0, 6), recoveries=(0, None)),
            Outcome.WARN,
            "NVLink 1 replays of GPU-1 grew from 5 to 6 while it ran",
        ),
        (
            links(replays=(0, 5), recoveries=(1, 9)),
            Outcome.FAIL,
            "NVLink 0 recoveries of GPU-1 grew from 0 to 1 while it ran",
        ),
        (
            replace(GPU, details=GpuDetails(pcie_errors={"fatal": 1, "replays": 30})),
            Outcome.FAIL,
            "PCIe fatal of GPU-1 grew from 0 to 1 while it ran",
        ),
        (replace(GPU, lost=True), Outcome.FAIL, "GPU-1 does not answer any more since it ran"),
    ],
)
def test_what_grew_is_told(after: GpuReading, severity: Outcome, because: str) -> None:
    (fault,) = grown(BEFORE, replace(BEFORE, gpus=(after,)))
    assert (fault.severity, fault.because, fault.device) == (severity, because, UUID)


@pytest.mark.parametrize(
    ("ports", "because"),
    [
        ((replace(PORT, link_downed=3),), "link_downed of mlx5_0/1 grew from 2 to 3 while it ran"),
        ((), "the port mlx5_0/1 is not there any more since it ran"),
    ],
)
def test_a_port_that_went_down_is_told(ports: tuple[RdmaPort, ...], because: str) -> None:
    (fault,) = grown(BEFORE, replace(BEFORE, ports=ports))
    assert (fault.severity, fault.because) == (Outcome.FAIL, because)


@pytest.mark.parametrize(
    "after",
    [
        BEFORE,
        Counted((replace(GPU, remapped_correctable=0),), (replace(PORT, link_downed=0),), ("a line",)),
        Counted((replace(GPU, nvlink=None, ecc_uncorrected_volatile=None),), (PORT,), ("a line", "another")),
    ],
)
def test_what_is_the_same_began_anew_or_is_not_told_is_no_fault(after: Counted) -> None:
    assert grown(BEFORE, after) == ()


@pytest.mark.parametrize(("code", "severity"), [(79, Outcome.FAIL), (63, Outcome.WARN)])
def test_an_xid_that_came_meanwhile_is_a_fault(code: int, severity: Outcome) -> None:
    line = f"NVRM: Xid (PCI:{PCI}): {code}, pid=1, name=python, something happened"
    earlier = replace(BEFORE, kernel_lines=(line,))
    assert grown(earlier, earlier) == ()
    (fault,) = grown(earlier, replace(earlier, kernel_lines=(line, line)))
    assert (fault.code, fault.severity) == ("xid", severity)
    assert fault.because.startswith(f"the kernel reported Xid {code} while it ran: ")


LINES = st.lists(st.sampled_from("ab"), max_size=8).map(tuple)


@given(LINES, LINES, st.integers(1, 10))
def test_lines_that_came_are_found_however_many_are_kept(
    before: tuple[str, ...], came: tuple[str, ...], kept: int
) -> None:
    before = before[-kept:]
    after = (*before, *came)[-kept:]
    found = new_lines(before, after)
    assert len(found) <= len(came)
    assert found == after[len(after) - len(found) :]
    if len(before) + len(came) <= kept:
        assert found == came


MODES = st.dictionaries(
    st.sampled_from(["GPU-1", "GPU-2"]),
    st.dictionaries(st.sampled_from(["persistence", "sm_clock_mhz", "memory_clock_mhz"]), st.integers(0, 2)),
)


@given(MODES, MODES)
def test_what_is_set_back_is_what_differs_and_clocks_go_together(wanted: Any, now: Any) -> None:
    found = changed(wanted, now)
    for gpu, modes in wanted.items():
        differing = {name for name, value in modes.items() if now.get(gpu, {}).get(name) != value}
        assert differing <= found.get(gpu, {}).keys()
        assert found.get(gpu, {}).items() <= modes.items()
        clocks = {"sm_clock_mhz", "memory_clock_mhz"} & modes.keys()
        assert not differing & clocks or clocks <= found[gpu].keys()
    after = {gpu: {**now.get(gpu, {}), **found.get(gpu, {})} for gpu in {*now, *found}}
    assert changed(wanted, after) == {}
