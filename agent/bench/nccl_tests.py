"""All-reduces by NVIDIA's `all_reduce_perf`, where nccl-tests is installed: its JSON, and nothing of its environment.

The program writes the whole environment that it was given into its report. So it is given little, and that part of the
report is not read.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from agent.bench.all_reduce_plan import PLANS, Plan
from agent.bench.child import Broken, NotHere, Progress, Say
from agent.bench.nccl_ways import OF_THE_SITE, Way, environment_of
from agent.bench.nvidia_files import kind_of, nvidia_driver, nvidia_gpus
from agent.bench.passes import ending
from agent.bench.programs import run_program
from agent.bench.sums import WRONG_RESULT
from agent.bench.watch import Watch
from checks.bench_outcome import Outcome
from checks.bench_result import BenchFault, BenchMachine, Benchmark, BenchNumber, BenchResult
from wire.bench import BenchWish

PROGRAM: Final = "all_reduce_perf"
GIVEN: Final = frozenset(
    {"PATH", "LD_LIBRARY_PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "CUDA_DEVICE_ORDER", *OF_THE_SITE}
)
"""What the program gets of the environment, beside what leads the way."""

FOLDER: Final = "fleetmend-nccl-tests-"
SCRATCH: Final = Path("/dev/shm")  # noqa: S108  the folder in it has a name that nobody can guess
"""In memory, and writable though systemd makes the rest of the file systems read-only to the agent."""

MOST_BYTES: Final = 16 << 20
MICROSECOND: Final = 1e-6


class _Half(msgspec.Struct, frozen=True):
    """One of two ways to run a size: into another buffer, or into its own."""

    bus_bw: float | str | None = None
    time: float | str | None = None
    nwrong: float | str | None = None


class _Each(msgspec.Struct, frozen=True):
    """The times of single repetitions, in microseconds and per cent."""

    p50_us: float | str | None = None
    p99_us: float | str | None = None
    cv_pct: float | str | None = None


class _Row(msgspec.Struct, frozen=True):
    size: int
    out_of_place: _Half | None = None
    in_place: _Half | None = None
    out_of_place_per_iter: _Each | None = None
    actual_iterations: int = 0


class _Device(msgspec.Struct, frozen=True):
    device_info: str | None = None


class _Config(msgspec.Struct, frozen=True):
    ngpus: int = 0
    nthreads: int = 1
    devices: tuple[_Device, ...] = ()


class _Report(msgspec.Struct, frozen=True):
    """Source: nccl-tests 2.19.6, util.cu, whose truths are the words "true" and "false"."""

    results: tuple[_Row, ...]
    nccl_version: int = 0
    config: _Config = _Config()
    errors: tuple[str | None, ...] = ()


_report = msgspec.json.Decoder(_Report)


def parse_report(text: bytes, way: Way) -> BenchResult:
    """Return what a report says.

    Raises:
        Broken: it is no such report, or has no result at all, which is never a pass.
    """
    try:
        report = _report.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Broken(f"the report of {PROGRAM}: {error}") from error
    machine = _machine(report)
    metric = way.metric_of(machine.gpus)
    numbers = tuple(number for row in report.results if (number := _number(row, metric, way)) is not None)
    faults = tuple(fault for row in report.results for fault in _faults(row))
    if not numbers:
        raise Broken(f"the report of {PROGRAM} has no result{_errors(report)}")
    because = f"{PROGRAM} measured all-reduces over {machine.gpus} GPUs, and all sums are right."
    return BenchResult(
        Benchmark.NCCL_ALL_REDUCE,
        Outcome.FAIL if faults else Outcome.PASS,
        faults[0].because if faults else because,
        numbers,
        faults,
        machine,
    )


class NcclTests:
    """The back end."""

    def __init__(
        self, program: str, environment: Mapping[str, str], *, root: Path = Path("/"), scratch: Path = SCRATCH
    ) -> None:
        """`environment`: of this process; `root`: where `proc` and `sys` are; `scratch`: where reports are written."""
        self._program, self._environment, self._root, self._scratch = program, environment, root, scratch

    def measured(self, way: Way, wish: BenchWish, *, say: Say, watch: Watch) -> BenchResult:
        """Return what one way came back with.

        Raises:
            NotHere: the host has no GPU, or several nodes are to run, for which the program needs MPI.
            Broken: the program failed, hangs, or says nothing that can be read.
        """
        if wish.rank is not None and len(wish.rank.nodes) > 1:
            raise NotHere(f"{PROGRAM} cannot run on several nodes without MPI")
        gpus = nvidia_gpus(self._root)
        if not gpus:
            raise NotHere("the driver lists no GPU")
        say(Progress(0.0, PROGRAM))
        result = parse_report(self._reported(way, _arguments(len(gpus), PLANS[min(max(wish.tier, 1), 3)]), watch), way)
        machine = msgspec.structs.replace(result.machine, driver=nvidia_driver(self._root))
        return msgspec.structs.replace(result, machine=machine)

    def _reported(self, way: Way, arguments: Sequence[str], watch: Watch) -> bytes:
        """Return the report. A version that does not time single repetitions refuses, and is asked without that."""
        forget_old_reports(self._scratch)
        environment = {
            name: value
            for name, value in environment_of(way, self._environment).items()
            if name in GIVEN or name in way.environment
        }
        said = ""
        with tempfile.TemporaryDirectory(prefix=f"{FOLDER}{os.getpid()}-", dir=self._scratch) as folder:
            for number, extra in enumerate((("-I", "1"), ())):
                path = Path(folder) / f"{number}.json"
                command = (self._program, *arguments, *extra, "-J", str(path))
                ended = run_program(command, limit_s=watch.left_s, environment=environment)
                with contextlib.suppress(OSError), path.open("rb") as file:
                    return file.read(MOST_BYTES)
                said = f"{PROGRAM} {ending(ended.code)} without a report: {ended.first_words}"
        raise Broken(said)


def find_nccl_tests(environment: Mapping[str, str]) -> str | None:
    """Return where the program is, `None` where it is not installed."""
    return shutil.which(PROGRAM, path=environment.get("PATH"))


def forget_old_reports(folder: Path) -> None:
    """Remove what processes left behind that were killed in the middle."""
    for old in folder.glob(f"{FOLDER}*"):
        owner = old.name.removeprefix(FOLDER).partition("-")[0]
        if owner.isascii() and owner.isdigit() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(old, ignore_errors=True)


def _arguments(gpus: int, plan: Plan) -> tuple[str, ...]:
    """Return the options: int32 sums, doubling from the smallest size to the largest, each checked."""
    first, last = str(plan.sizes_bytes[0]), str(plan.sizes_bytes[-1])
    repetitions = str(plan.repetitions)
    return ("-b", first, "-e", last, "-f", "2", "-g", str(gpus), "-d", "int32", "-n", repetitions, "-w", "2", "-c", "1")


def _number(row: _Row, metric: str, way: Way) -> BenchNumber | None:
    half, each = row.out_of_place or row.in_place, row.out_of_place_per_iter or _Each()
    bandwidth = _positive(half.bus_bw) if half is not None else None
    if half is None or bandwidth is None or row.size <= 0:
        return None
    return BenchNumber(
        metric,
        bandwidth,
        size_bytes=row.size,
        way=way.name,
        p50_s=(_positive(each.p50_us) or _positive(half.time) or 0.0) * MICROSECOND,
        p99_s=(_positive(each.p99_us) or 0.0) * MICROSECOND,
        variation=(_positive(each.cv_pct) or 0.0) / 100,
        samples=max(row.actual_iterations, 0),
    )


def _faults(row: _Row) -> list[BenchFault]:
    wrong = [half.nwrong for half in (row.out_of_place, row.in_place) if half is not None and _positive(half.nwrong)]
    return [
        BenchFault(WRONG_RESULT, f"An all-reduce of {row.size / 2**20:g} MiB summed {words:g} words wrongly.")
        for words in wrong[:1]
    ]


def _machine(report: _Report) -> BenchMachine:
    version, config = report.nccl_version, report.config
    return BenchMachine(
        sku=kind_of(device.device_info for device in config.devices if device.device_info),
        nccl=f"{version // 10_000}.{version % 10_000 // 100}.{version % 100}" if version > 0 else "",
        gpus=config.ngpus * config.nthreads,
    )


def _errors(report: _Report) -> str:
    said = [text for text in report.errors if text]
    return f": {said[0][:200]}" if said else ""


def _positive(value: float | str | None) -> float | None:
    """Return a number that is one; the program writes the word "nan" for one that is none."""
    return value if isinstance(value, float | int) and math.isfinite(value) and value > 0.0 else None
