"""`bench.storage`: how fast a file system gives back what was written to it, and whether it gives back the same.

A scratch file without a name is written, then read in blocks past the page cache, bounded in bytes and in seconds. One
reader, one block at a time: it finds a disk or a mount that has become slow, and is no contest of the most that it can.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agent.bench.child import Broken, NotHere, Progress, Say, carry_out
from agent.bench.nvidia_files import kind_of, nvidia_gpus
from agent.bench.pace import at_most_every
from agent.bench.samples import number_of
from agent.bench.scratch_file import BLOCK_BYTES, ScratchFile
from agent.bench.wishes import number_option
from agent.sources.mount_table import parse_mounts
from checks.bench_outcome import Outcome
from checks.bench_result import BenchFault, BenchMachine, Benchmark, BenchResult
from checks.filesystems import NETWORK_KINDS
from checks.readings import FilesystemReading
from wire.bench import BenchWish

METRIC: Final = "storage_read"
GIGABYTE: Final = 1e9

DEFAULT_BYTES: Final = 1 << 30
MOST_BYTES: Final = 64 << 30
DEFAULT_SECONDS: Final = 10.0
MOST_SECONDS: Final = 240.0
"""Of the file, and of reading it. Source: our choice; 1 GiB outgrows the cache of a disk's controller, and twice 10 s
leave room in the 30 s of the first tier."""

SHARE_OF_LIMIT: Final = 0.4
"""Writing and reading each end at this share of the wish's time. Source: our choice."""

MOUNTS: Final = "proc/self/mountinfo"

KEPT_FREE: Final = 0.05
"""Of the file system, which must stay free beside the scratch file. Source: ext4's reserve for root, mke2fs(8) -m."""

IN_MEMORY: Final = frozenset({"tmpfs", "ramfs", "devtmpfs"})


@dataclass(slots=True)
class _Readings:
    times_s: list[float] = field(default_factory=list)
    wrong: list[int] = field(default_factory=list)


def run(
    wish: BenchWish,
    say: Say,
    *,
    monotonic: Callable[[], float] = time.perf_counter,
    make_file: Callable[[Path], ScratchFile] = ScratchFile,
    root: Path = Path("/"),
) -> BenchResult:
    """Measure the file system of the option `path`.

    Options: `path`, an absolute path of a folder; `bytes`, of the scratch file; `seconds`, of reading.

    Raises:
        NotHere: no path is given, it is kept in memory, or it has no room for the file.
        Broken: no scratch file can be made, or its server does not take it.
    """
    folder = _folder(wish)
    size_bytes = int(number_option(wish, "bytes", DEFAULT_BYTES, least=BLOCK_BYTES, most=MOST_BYTES))
    seconds = number_option(wish, "seconds", DEFAULT_SECONDS, least=1.0, most=MOST_SECONDS)
    seconds = min(seconds, SHARE_OF_LIMIT * wish.limit_s)
    filesystem = _filesystem_of(folder, root / MOUNTS)
    machine = BenchMachine(kind_of(gpu.model for gpu in nvidia_gpus(root)), topology=_place(filesystem))
    _refuse_without_room(folder, size_bytes)
    paced = at_most_every(1.0, say, monotonic)
    with make_file(folder) as file:
        try:
            blocks = _write(file, size_bytes // BLOCK_BYTES, seconds, paced, monotonic)
            file.forget()
            readings = _read(file, blocks, seconds, paced, monotonic)
        except OSError as error:
            return _failed(folder, machine, error)
        return _result(folder, machine, readings, is_direct=file.is_direct)


def _folder(wish: BenchWish) -> Path:
    path = wish.options.get("path", "")
    if not path:
        raise NotHere("no option `path` says which file system to read")
    folder = Path(path)
    if "\0" in path or not folder.is_absolute():
        raise Broken(f"option path: an absolute path is wanted, and not {path!r}")
    try:
        is_folder, whole = folder.is_dir(), folder.resolve()
    except OSError as error:
        raise Broken(f"option path: {path[:80]} cannot be looked at: {error.strerror}") from error
    if not is_folder:
        raise Broken(f"option path: there is no folder {path}")
    return whole


def _filesystem_of(folder: Path, mounts: Path) -> FilesystemReading:
    """Return what the folder lies on, of no kind where that cannot be told.

    Raises:
        NotHere: it lies in memory.
    """
    try:
        table = [mount.filesystem for mount in parse_mounts(mounts.read_text(errors="replace"))]
    except OSError:
        table = []
    above = [each for each in table if folder.is_relative_to(each.mount)]
    found = max(above, key=lambda each: len(each.mount), default=FilesystemReading(str(folder)))
    if found.kind in IN_MEMORY:
        raise NotHere(f"{folder} is kept in memory ({found.kind}): there is no disk to read")
    return found


def _place(filesystem: FilesystemReading) -> str:
    """Return what makes it comparable with those of other nodes, empty where its kind cannot be told."""
    return f"{filesystem.kind} at {filesystem.mount}" if filesystem.kind else ""


def _is_served(machine: BenchMachine) -> bool:
    kind, _, _ = machine.topology.partition(" at ")
    return kind in NETWORK_KINDS


def _refuse_without_room(folder: Path, size_bytes: int) -> None:
    space = os.statvfs(folder)
    free_bytes, total_bytes = space.f_bavail * space.f_frsize, space.f_blocks * space.f_frsize
    wanted_bytes = size_bytes + KEPT_FREE * total_bytes
    if free_bytes < wanted_bytes:
        raise NotHere(
            f"{folder} has {free_bytes / GIGABYTE:.1f} GB free, and a scratch file of {size_bytes / GIGABYTE:.1f} GB "
            f"that leaves {KEPT_FREE:.0%} free takes {wanted_bytes / GIGABYTE:.1f} GB"
        )


def _write(file: ScratchFile, blocks: int, seconds: float, say: Say, monotonic: Callable[[], float]) -> int:
    """Return how many blocks were written in the time, which is all of them on a disk of usual speed."""
    began_s = monotonic()
    for number in range(blocks):
        file.write(number)
        say(Progress(0.5 * (number + 1) / blocks, "writing the scratch file"))
        if monotonic() - began_s >= seconds:
            return number + 1
    return blocks


def _read(file: ScratchFile, blocks: int, seconds: float, say: Say, monotonic: Callable[[], float]) -> _Readings:
    """Read the file once, or as much of it as the time allows."""
    readings = _Readings()
    began_s = monotonic()
    for number in range(blocks):
        before_s = monotonic()
        file.read(number)
        after_s = monotonic()
        readings.times_s.append(after_s - before_s)
        if not file.holds(number):
            readings.wrong.append(number)
        say(Progress(0.5 + 0.5 * (number + 1) / blocks, "reading the scratch file"))
        if after_s - began_s >= seconds:
            break
    return readings


def _failed(folder: Path, machine: BenchMachine, error: OSError) -> BenchResult:
    """Return what an error of the disk means: that it is ill. Any other error, and one of a file server, is the test's.

    Raises:
        Broken: it says nothing of this machine.
    """
    because = f"The scratch file in {folder} cannot be written and read: {error.strerror}."
    if error.errno != errno.EIO or _is_served(machine):
        raise Broken(because) from error
    fault = BenchFault("io_error", because, str(folder))
    return BenchResult(Benchmark.STORAGE, Outcome.FAIL, because, faults=(fault,), machine=machine)


def _result(folder: Path, machine: BenchMachine, readings: _Readings, *, is_direct: bool) -> BenchResult:
    number = number_of(METRIC, BLOCK_BYTES / GIGABYTE, readings.times_s, device=str(folder))
    notes = () if is_direct else (f"{folder} has no direct reading: the page cache may have answered for the disk",)
    count = len(readings.times_s)
    if readings.wrong:
        because = f"{len(readings.wrong)} of {count} blocks of {folder} came back other than they were written"
        because = f"{because}, the first at {readings.wrong[0] * BLOCK_BYTES} bytes."
        outcome = Outcome.WARN if _is_served(machine) else Outcome.FAIL
        fault = BenchFault("wrong_result", because, str(folder), outcome)
        return BenchResult(Benchmark.STORAGE, outcome, because, (number,), (fault,), machine, notes=notes)
    because = f"{count * BLOCK_BYTES / GIGABYTE:.2f} GB of {folder} were read and are as they were written."
    return BenchResult(Benchmark.STORAGE, Outcome.PASS, because, (number,), machine=machine, notes=notes)


if __name__ == "__main__":
    carry_out(run)
