"""The storage benchmark on a real file system, and with a disk that errs in the one place where that can be made."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

import pytest

from agent.bench.child import Broken, NotHere, Progress
from agent.bench.children.storage import run
from agent.bench.scratch_file import BLOCK_BYTES, ScratchFile
from checks.bench_limits import shipped_limits
from checks.bench_outcome import Outcome
from checks.bench_result import Benchmark, BenchResult
from tests.support.bench_child import BenchProcess, Said, wish_for
from tests.support.surroundings import write_files

FOUR_BLOCKS = str(4 * BLOCK_BYTES)


def machine(tmp_path: Path, kind: str) -> Path:
    """Return the root of a machine on which everything lies on one file system."""
    root = tmp_path.with_name(f"{tmp_path.name}-machine")
    gpu = "Model: \t\t NVIDIA H200\nGPU UUID: \t GPU-0\n"
    write_files(
        root,
        {
            "proc/self/mountinfo": f"22 1 8:1 / / rw,relatime shared:1 - {kind} /dev/sda1 rw\n",
            "proc/driver/nvidia/gpus/0000:3b:00.0/information": gpu,
        },
    )
    return root


def measure(tmp_path: Path, *, kind: str = "ext4", make_file: type[ScratchFile] = ScratchFile) -> BenchResult:
    wish = wish_for(Benchmark.STORAGE, {"path": str(tmp_path), "bytes": FOUR_BLOCKS})
    return run(wish, Said(), make_file=make_file, root=machine(tmp_path, kind))


def test_a_file_system_is_read_and_nothing_is_left_of_it(tmp_path: Path) -> None:
    result = measure(tmp_path)
    assert result.outcome is Outcome.PASS
    (number,) = result.numbers
    assert (number.metric, number.device, number.samples) == ("storage_read", str(tmp_path), 4)
    assert number.value is not None and number.value == pytest.approx(BLOCK_BYTES / 1e9 / number.p50_s)
    assert number.p50_s <= number.p99_s
    assert (result.machine.sku, result.machine.topology) == ("H200", "ext4 at /")
    assert list(tmp_path.iterdir()) == []
    assert shipped_limits().metric(number.metric).unit == "GB/s"


def test_the_process_says_how_far_it_is_and_ends_with_the_result(tmp_path: Path) -> None:
    wish = wish_for(Benchmark.STORAGE, {"path": str(tmp_path), "bytes": FOUR_BLOCKS})
    with BenchProcess(wish) as process:
        assert isinstance(process.next_line(), Progress)
        result = process.result()
    assert result.outcome in {Outcome.PASS, Outcome.SKIP}, result.because


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_a_process_that_is_ended_leaves_no_file_and_no_space_taken(tmp_path: Path, ending: signal.Signals) -> None:
    """It is ended while it writes: the first line comes after the first block."""
    wish = wish_for(Benchmark.STORAGE, {"path": str(tmp_path), "bytes": str(1 << 30)}, limit_s=600.0)
    with BenchProcess(wish) as process:
        line = process.next_line()
        if isinstance(line, BenchResult):
            pytest.skip(line.because)
        assert any(tmp_path.name in str(each.readlink()) for each in Path(f"/proc/{process.pid}/fd").iterdir())
        assert process.end_group(ending) == -ending
    assert list(tmp_path.iterdir()) == []


def test_it_ends_in_time_on_a_slow_disk(tmp_path: Path) -> None:
    """Each look at the clock costs a second here, so that two seconds end after two blocks of sixteen."""
    now_s = iter(range(1000))
    wish = wish_for(Benchmark.STORAGE, {"path": str(tmp_path), "bytes": str(16 * BLOCK_BYTES)}, limit_s=5.0)
    result = run(wish, Said(), monotonic=lambda: float(next(now_s)), root=machine(tmp_path, "ext4"))
    assert result.outcome is Outcome.PASS
    assert result.numbers[0].samples == 1


class Changed(ScratchFile):
    """A disk that gives one block for another."""

    def read(self, number: int) -> None:
        super().read(max(0, number - 1))


class Failing(ScratchFile):
    """A disk that gives nothing back."""

    def read(self, number: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), f"block {number}")


class Full(ScratchFile):
    """A disk that somebody else has filled meanwhile."""

    def write(self, number: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), f"block {number}")


def test_a_disk_that_gives_back_something_else_fails(tmp_path: Path) -> None:
    result = measure(tmp_path, make_file=Changed)
    assert result.outcome is Outcome.FAIL
    assert [(fault.code, fault.device) for fault in result.faults] == [("wrong_result", str(tmp_path))]
    assert "3 of 4 blocks" in result.because


def test_wrong_blocks_may_be_a_file_servers_fault(tmp_path: Path) -> None:
    result = measure(tmp_path, kind="lustre", make_file=Changed)
    assert (result.outcome, result.faults[0].severity) == (Outcome.WARN, Outcome.WARN)


def test_a_disk_that_gives_nothing_back_fails(tmp_path: Path) -> None:
    result = measure(tmp_path, make_file=Failing)
    assert (result.outcome, result.faults[0].code) == (Outcome.FAIL, "io_error")


def test_a_file_server_that_gives_nothing_back_condemns_no_node(tmp_path: Path) -> None:
    with pytest.raises(Broken, match="Input/output error"):
        measure(tmp_path, kind="nfs4", make_file=Failing)


def test_a_disk_that_is_full_condemns_no_node(tmp_path: Path) -> None:
    with pytest.raises(Broken, match="No space left"):
        measure(tmp_path, make_file=Full)


def test_what_lies_in_memory_is_no_disk(tmp_path: Path) -> None:
    with pytest.raises(NotHere, match="in memory"):
        measure(tmp_path, kind="tmpfs")


def test_a_file_system_without_room_is_left_alone(tmp_path: Path) -> None:
    space = os.statvfs(tmp_path)
    if space.f_bavail * space.f_frsize - 0.05 * space.f_blocks * space.f_frsize >= 64 << 30:
        pytest.skip("this disk has room for the largest scratch file")
    with pytest.raises(NotHere, match="free"):
        wish = wish_for(Benchmark.STORAGE, {"path": str(tmp_path), "bytes": str(64 << 30)})
        run(wish, Said(), root=machine(tmp_path, "xfs"))


def test_a_file_system_that_knows_neither_way_is_read_through_the_page_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old tmpfs or a FUSE file system answers so. Source: open(2), O_DIRECT and O_TMPFILE."""
    real = os.open

    def refuse(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return real(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", refuse)
    result = measure(tmp_path)
    assert result.outcome is Outcome.PASS
    assert "page cache" in result.notes[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"path": "relative"}, "absolute"),
        ({"path": "/nowhere/at/all"}, "no folder"),
        ({"path": "/" + "a" * 1_000}, "cannot be looked at: File name too long"),
        ({"path": "/\0"}, "absolute"),
        ({"bytes": "1"}, "option bytes"),
        ({"bytes": "1e9"}, "option bytes"),
        ({"seconds": "-1"}, "option seconds"),
        ({"seconds": "nan"}, "option seconds"),
    ],
)
def test_options_that_make_no_sense_are_named(tmp_path: Path, options: dict[str, str], said: str) -> None:
    with pytest.raises(Broken, match=said):
        run(wish_for(Benchmark.STORAGE, {"path": str(tmp_path), **options}), Said())


def test_without_a_path_nothing_is_read() -> None:
    with pytest.raises(NotHere, match="path"):
        run(wish_for(Benchmark.STORAGE), Said())
