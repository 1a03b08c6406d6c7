"""What fleetmend reads and measures on this host's own GPUs, beside what nvidia-smi says, as a page of evidence.

Doubles stand in for hardware everywhere else. Where there is a GPU, this holds the real thing against them: every value
that both sides have, every check's verdict, and the benchmarks that one host can run. It touches no setting, and it
measures: no job may run meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from agent.bench.child import LINES
from agent.scratch import Drawer, Scratch
from agent.sources.registry import make_sources
from agent.sources.source import Surroundings, Timing
from checks.bench_limits import shipped_limits
from checks.bench_outcome import Outcome
from checks.bench_result import Benchmark, BenchResult
from checks.readings.nvml import GpuReading, NvmlReading
from wire.bench import BenchWish

ROOT: Final = Path(__file__).resolve().parents[1]
EVIDENCE: Final = ROOT / "docs" / "evidence"

NO_GPU: Final = 69
"""Source: sysexits.h, EX_UNAVAILABLE."""

BENCHMARKS: Final = (Benchmark.GPU_BANDWIDTH, Benchmark.GEMM, Benchmark.NCCL_ALL_REDUCE)
LIMIT_S: Final = 120.0

Value = str | float | None


@dataclass(frozen=True, slots=True)
class Field:
    """One value that both sides have.

    Attributes:
        asked: as nvidia-smi calls it. Source: nvidia-smi --help-query-gpu.
        ours: where the reading has it, in nvidia-smi's unit.
        within: how far apart two moments may be.
    """

    asked: str
    ours: Callable[[GpuReading], Value]
    within: float = 0.0


FIELDS: Final = (
    Field("uuid", lambda gpu: gpu.uuid),
    Field("name", lambda gpu: gpu.name),
    Field("serial", lambda gpu: gpu.serial or None),
    Field("pcie.link.gen.max", lambda gpu: gpu.details.max_pcie_generation),
    Field("pcie.link.width.current", lambda gpu: gpu.pcie_width),
    Field("pcie.link.width.max", lambda gpu: gpu.details.max_pcie_width),
    Field("temperature.gpu", lambda gpu: gpu.temperature_celsius, within=5.0),
    Field("temperature.memory", lambda gpu: gpu.memory_temperature_celsius, within=5.0),
    Field("power.draw.instant", lambda gpu: _thousandth(gpu.power_milliwatts), within=150.0),
    Field("power.limit", lambda gpu: _thousandth(gpu.details.power_limit_milliwatts), within=0.01),
    Field("power.default_limit", lambda gpu: _thousandth(gpu.details.default_power_limit_milliwatts), within=0.01),
    Field("clocks.max.sm", lambda gpu: gpu.details.max_sm_clock_mhz),
    Field("clocks.max.memory", lambda gpu: gpu.details.max_memory_clock_mhz),
    Field("vbios_version", lambda gpu: gpu.details.vbios_version),
    Field("inforom.img", lambda gpu: gpu.details.inforom_version),
    Field("persistence_mode", lambda gpu: _switch(gpu.details.persistence)),
    Field("ecc.mode.current", lambda gpu: _switch(gpu.details.ecc_mode)),
    Field("mig.mode.current", lambda gpu: _switch(gpu.details.mig_mode)),
    Field("ecc.errors.uncorrected.volatile.total", lambda gpu: gpu.ecc_uncorrected_volatile),
    Field("ecc.errors.corrected.volatile.total", lambda gpu: gpu.ecc_corrected_volatile),
    Field("remapped_rows.uncorrectable", lambda gpu: gpu.remapped_uncorrectable),
    Field("remapped_rows.correctable", lambda gpu: gpu.remapped_correctable),
)


class NothingToSee(Exception):
    """The host has no GPU that answers; the text says why."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One value of one GPU, as both sides say it. `agrees` is `None` where one side has none."""

    gpu: int
    asked: str
    ours: str
    theirs: str
    agrees: bool | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page; return 1 when anything on it is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=EVIDENCE, metavar="FOLDER", help="default: docs/evidence")
    folder: Path = parser.parse_args(arguments).output
    try:
        reading = asyncio.run(read_gpus())
        driver = ask_nvidia_smi(("driver_version",))[0]["driver_version"]
    except NothingToSee as reason:
        sys.stderr.write(f"{reason}\n")
        return NO_GPU
    compared = list(compare(reading, ask_nvidia_smi([field.asked for field in FIELDS])))
    verdicts = ask_checks()
    results = [run_benchmark(benchmark) for benchmark in BENCHMARKS]
    kind = shipped_limits().sku_of(reading.gpus[0].name) or reading.gpus[0].name.replace(" ", "-")
    path = folder / f"{datetime.now(UTC):%Y-%m-%d}-{kind}-driver-{driver}.md"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(page(reading, driver, compared, verdicts, results), "utf-8")
    sys.stdout.write(f"{path}\n")
    wrong = [each for each in compared if each.agrees is False]
    return 1 if wrong or any(result.outcome is not Outcome.PASS for result in results) else 0


async def read_gpus() -> NvmlReading:
    """Return what the agent's own source reads, with what it asks of a GPU only now and then.

    Raises:
        NothingToSee: NVML does not answer, or knows of no GPU.
    """
    timing = Timing(interval_s=1.0, fast_interval_s=1.0, deadline_s=30.0)
    (source,) = make_sources(Surroundings(partial(Drawer, Scratch())), {"nvml": timing})
    try:
        reading: NvmlReading = await source.read()
    finally:
        await source.close()
    if reading.failure or not reading.gpus:
        raise NothingToSee(f"no NVIDIA GPU answers here: {reading.detail or reading.failure or 'NVML knows of none'}")
    return reading


def ask_nvidia_smi(fields: Sequence[str]) -> list[dict[str, str]]:
    """Return field → text of each GPU, in NVML's order.

    Raises:
        NothingToSee: it is not there, or fails.
    """
    command = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except OSError as error:
        raise NothingToSee(f"nvidia-smi cannot be run: {error.strerror}") from error
    if done.returncode:
        raise NothingToSee(f"nvidia-smi ended with {done.returncode}: {done.stdout.strip() or done.stderr.strip()}")
    rows = csv.reader(done.stdout.splitlines(), skipinitialspace=True)
    return [dict(zip(fields, row, strict=True)) for row in rows]


def compare(reading: NvmlReading, theirs: Sequence[dict[str, str]]) -> Iterator[Compared]:
    """Yield every value of every GPU, as both sides say it."""
    for gpu, said in zip(reading.gpus, theirs, strict=True):
        for field in FIELDS:
            ours, text = field.ours(gpu), said[field.asked]
            yield Compared(gpu.index, field.asked, _shown(ours), text, _agrees(field, ours, text))


def _agrees(field: Field, ours: Value, theirs: str) -> bool | None:
    if ours is None or theirs.startswith(("[", "N/A")) or (theirs == "0" and isinstance(ours, str)):
        return None
    if isinstance(ours, str):
        return ours == theirs
    return abs(ours - float(theirs)) <= field.within


def ask_checks() -> dict[str, Any]:
    """Return what `fleetmend check --json` says of this host."""
    command = [sys.executable, "-m", "cli.main", "check", "--only", "gpu,fabric", "--json", "--timeout", "60"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def run_benchmark(benchmark: Benchmark) -> BenchResult:
    """Return what one benchmark measures, in a process of its own as the agent starts it."""
    wish = BenchWish("evidence", benchmark, 1, LIMIT_S, 4_000_000_000.0, "a person")
    with subprocess.Popen(
        [sys.executable, "-m", f"agent.bench.children.{benchmark}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        start_new_session=True,
    ) as process:
        try:
            said, _ = process.communicate(msgspec.json.encode(wish) + b"\n", timeout=LIMIT_S + 30.0)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return BenchResult(benchmark, Outcome.ERROR, f"it did not end within {LIMIT_S + 30.0:g} s")
    lines = [LINES.decode(line) for line in said.splitlines()]
    results = [line for line in lines if isinstance(line, BenchResult)]
    return results[-1] if results else BenchResult(benchmark, Outcome.ERROR, f"it ended with {process.returncode}")


def page(
    reading: NvmlReading,
    driver: str,
    compared: Sequence[Compared],
    verdicts: dict[str, Any],
    results: Sequence[BenchResult],
) -> str:
    """Return the page, in Markdown."""
    names = sorted({gpu.name for gpu in reading.gpus})
    parts = [
        f"# {len(reading.gpus)} × {', '.join(names)}, driver {driver}",
        f"`make hardware` on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC; kernel {platform.release()}.",
        "## What both sides read\nnvidia-smi was asked a moment later, so that what moves may differ a little.",
        _table(
            ("GPU", "value", "fleetmend", "nvidia-smi", ""),
            [(each.gpu, f"`{each.asked}`", each.ours, each.theirs, _WORDS[each.agrees]) for each in compared],
        ),
        "## What each check says",
        _table(
            ("check", "verdict", "because"),
            [(f"`{check}`", each["verdict"], each["because"]) for check, each in verdicts["checks"].items()],
        ),
        "## What was measured",
    ]
    for result in results:
        parts.append(f"### {result.benchmark}: {result.outcome}\n{result.because}")
        parts += [f"- {note}" for note in result.notes]
        parts += [f"- {fault.code} {fault.device}: {fault.because}" for fault in result.faults]
        if result.numbers:
            parts.append(_numbers(result))
    return "\n\n".join(parts) + "\n"


_WORDS: Final = {True: "same", False: "**differs**", None: "not on both sides"}


def _numbers(result: BenchResult) -> str:
    limits = shipped_limits()
    rows = [
        (n.metric, n.device, n.size_bytes or "", n.way, _shown(n.value), limits.metric(n.metric).unit, n.samples)
        for n in result.numbers
    ]
    return _table(("metric", "where", "bytes", "way", "value", "unit", "samples"), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(each).replace("|", "\\|") for each in line) + " |" for line in lines)


def _shown(value: Value) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _thousandth(value: int | None) -> float | None:
    return None if value is None else value / 1_000.0


def _switch(value: int | None) -> str | None:
    return None if value is None else "Enabled" if value else "Disabled"


if __name__ == "__main__":
    sys.exit(main())
