"""Whatever NVML says of GPUs is judged: no traceback, nothing that was not declared, and never `ok`."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from checks.check import LevelCheck
from checks.evaluator import judge
from checks.finding import Action, Verdict
from checks.readings import GpuDetails, GpuReading, NvmlReading
from checks.registry import CHECKS

GPU_CHECKS = [check for check in CHECKS if isinstance(check, LevelCheck) and check.reading is NvmlReading]

gpus = st.builds(
    replace,
    st.from_type(GpuReading),
    index=st.integers(0, 7),
    uuid=st.sampled_from(["GPU-0", "GPU-1", "GPU-2", ""]),
    name=st.sampled_from(["H100", "Tesla V100"]),
    details=st.from_type(GpuDetails),
    errors=st.dictionaries(st.sampled_from(GpuDetails.__slots__ + GpuReading.__slots__), st.text(max_size=9)),
)
windows = st.lists(
    st.builds(
        NvmlReading,
        at_s=st.floats(0, 1e5),
        gpus=st.lists(gpus, max_size=4).map(tuple),
        known_gpus=st.dictionaries(st.sampled_from(["GPU-0", "GPU-9"]), st.sampled_from(["0000:3b:00", "0000:3c:00"])),
        approved_gpus=st.dictionaries(st.sampled_from(["0000:3b:00", "0000:3c:00"]), st.sampled_from(["GPU-0", "x"])),
        driver_version=st.sampled_from(["550.127.05", ""]),
    ),
    min_size=1,
    max_size=5,
).map(lambda readings: sorted(readings, key=lambda reading: reading.at_s))


@settings(max_examples=60, deadline=None)
@given(windows)
def test_any_gpus_are_judged(readings: list[NvmlReading]) -> None:
    for check in GPU_CHECKS:
        for finding in judge(check, readings):
            assert finding.verdict is not Verdict.OK
            assert finding.because
            assert finding.verdict is not Verdict.UNKNOWN or finding.action is Action.NONE
            assert is_declared(check, readings, finding.code)


def is_declared(check: LevelCheck, readings: list[NvmlReading], code: str) -> bool:
    """Return whether what the check itself said is among its outcomes; the evaluator adds peers and youth."""
    said = [finding for finding in check.judge(readings) if finding.code == code]
    return all(any(outcome.covers(finding) for outcome in check.outcomes) for finding in said)


@settings(max_examples=50, deadline=None)
@given(st.text(min_size=1, max_size=20))
def test_a_gpu_that_tells_nothing_but_an_error_is_unknown_to_all_that_ask_it(error: str) -> None:
    """Those that do not say so compare GPUs with each other, or judge what is no value but NVML's answer itself."""
    fields = (*GpuReading.__slots__, *GpuDetails.__slots__)
    reading = NvmlReading(1e4, (GpuReading(0, "GPU-0", "0000:3b:00", errors=dict.fromkeys(fields, error)),))
    silent = {check.id for check in GPU_CHECKS if not judge(check, [reading])}
    assert silent == {"gpu.nvml", "gpu.count"}
