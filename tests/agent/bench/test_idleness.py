"""Who is on the GPUs, and which of them are the benchmark's own: real processes, told by the C double of NVML."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.bench.gate import GpuUse, Sight
from agent.bench.idleness import Idleness
from agent.benches import ASKS_NVML
from agent.sources.child import Child, Slot
from tests.support.bench_site import BenchSite
from tests.support.nvml_double import GPU_UUIDS

FIRST, SECOND = GPU_UUIDS


@contextmanager
def running(folder: Path, name: str = "train") -> Iterator[int]:
    """Run a program of this name in a session of its own; give its process."""
    program = folder / name
    shutil.copy(shutil.which("sleep") or "", program)
    process = subprocess.Popen([str(program), "600"], start_new_session=True)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


async def look(site: BenchSite, *lines: str, looks: int = 1, session: int = 0, is_diagnostics: bool = False) -> Sight:
    """Return what the last of some looks shows."""
    site.library.say(*lines)
    child = Child(ASKS_NVML, Slot())
    idleness = Idleness(child, lambda: 1.0, lambda: True, session=session, is_diagnostics=is_diagnostics)
    try:
        return [await idleness.look(limit_s=20.0) for _ in range(looks)][-1]
    finally:
        await child.close()


async def test_two_idle_gpus(site: BenchSite) -> None:
    assert await look(site) == Sight(1.0, tuple(GpuUse(uuid, used_bytes=4718592) for uuid in GPU_UUIDS))


async def test_whoever_computes_draws_or_shares_is_seen(site: BenchSite) -> None:
    with running(site.root) as job:
        for kind in ("processes", "graphics", "mps"):
            sight = await look(site, f"gpu 1 {kind} {job}:5")
            assert [gpu.foreign for gpu in sight.gpus] == [(), (f"process {job} (train)",)]


async def test_its_own_session_is_not_foreign_and_any_other_is(site: BenchSite) -> None:
    with running(site.root) as own, running(site.root, "other") as other:
        sight = await look(site, f"gpu 0 processes {own}:5 {other}:5", session=own)
    assert sight.gpus[0].foreign == (f"process {other} (other)",)


@pytest.mark.parametrize(("looks", "foreign"), [(1, ()), (2, ("process 4194303",))])
async def test_what_is_gone_was_its_own_at_one_look_and_at_two_it_is_not(
    site: BenchSite, looks: int, foreign: tuple[str, ...]
) -> None:
    sight = await look(site, "gpu 0 processes 4194303:5", looks=looks, session=1)
    assert sight.gpus[0].foreign == foreign


@pytest.mark.parametrize("is_diagnostics", [True, False])
async def test_dcgm_s_tester_is_the_diagnosis_s_own_alone(site: BenchSite, *, is_diagnostics: bool) -> None:
    with running(site.root, "nvvs") as tester:
        sight = await look(site, f"gpu 0 processes {tester}:5", session=1, is_diagnostics=is_diagnostics)
    assert bool(sight.gpus[0].foreign) is not is_diagnostics


async def test_what_a_gpu_does_not_tell_is_said(site: BenchSite) -> None:
    sight = await look(site, "missing nvmlDeviceGetMemoryInfo_v2", "gpu 1 fail nvmlDeviceGetUtilizationRates 999")
    untold = [f"used bytes of {uuid}: Function Not Found (13)" for uuid in GPU_UUIDS]
    assert sight.gpus[0].unknown == (untold[0],)
    assert sight.gpus[1].unknown == (untold[1], f"utilization percent of {SECOND}: Unknown Error (999)")


ODD = st.sampled_from([b'{"gpus": [{"name": "GPU-1"}]}', b'{"gpus": [{"name": "\xff"}]}', b"{}", b"[" * 10_000])


@given(st.binary(max_size=200).filter(lambda text: b"\n" not in text) | ODD)
async def test_no_answer_of_whatever_form_is_taken_for_idle(answer: bytes) -> None:
    class Says(Child):
        async def ask(self, question: bytes, *, deadline_s: float) -> bytes:
            assert question == b"look"
            assert deadline_s > 0.0
            return answer

    sight = await Idleness(Says((sys.executable,), Slot()), lambda: 1.0, lambda: True).look(limit_s=1.0)
    assert sight.unknown or all(gpu.unknown for gpu in sight.gpus)
