"""The kernel log as a stream: history, news, losses, floods, any bytes, and the real /dev/kmsg."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.simulation.kernel_log import KernelLogFiles
from agent.sources.kernel_log import BATCH_RECORDS, DeviceReader, KernelLogSource, PipeReader
from checks.errors import CannotObserve
from checks.readings import KernelRecord
from tests.support.eventually import eventually

KMSG = Path("/dev/kmsg")
RATE_LIMIT = Path("/proc/sys/kernel/printk_devkmsg")
LIMIT_S = 10.0


@pytest.fixture
def log(tmp_path: Path) -> KernelLogFiles:
    files = KernelLogFiles(tmp_path, wall=lambda: 2.0)
    files.create()
    return files


def write(log: KernelLogFiles, *lines: str) -> None:
    log.append(lines, severity=4, booted_at=1.0)


def follow(log: KernelLogFiles, after_sequence: int = -1) -> KernelLogSource:
    return KernelLogSource(
        lambda: PipeReader(log.history, log.pipe), after_sequence=after_sequence, monotonic=lambda: 7.0
    )


async def take(source: KernelLogSource, count: int, then: Callable[[int], None] = lambda _: None) -> list[KernelRecord]:
    """Return the next records; `then` is called with how many there are so far."""
    taken: list[KernelRecord] = []
    async with asyncio.timeout(LIMIT_S), aclosing(source.records()) as stream:
        async for record in stream:
            taken.append(record)
            then(len(taken))
            if len(taken) == count:
                break
    return taken


async def test_history_comes_first_and_news_as_they_are_written(log: KernelLogFiles) -> None:
    write(log, "one", "two")

    def news(count: int) -> None:
        if count == 2:
            write(log, "three")
        if count == 3:
            write(log, "four", "back\\slash \x07 é")

    records = await take(follow(log), 5, news)
    expected = [KernelRecord(1.0, "one", 0, 4, 0), KernelRecord(1.000001, "two", 0, 4, 1)]
    assert expected == records[:2]
    assert [record.text for record in records[2:]] == ["three", "four", "back\\slash \x07 é"]
    assert [record.sequence for record in records] == [0, 1, 2, 3, 4]


async def test_news_wake_a_reader_that_waits(log: KernelLogFiles) -> None:
    source = follow(log)
    taking = asyncio.create_task(take(source, 1))
    await eventually("it reads", lambda: source.state().readable)
    await asyncio.sleep(0.05)
    began = time.monotonic()
    write(log, "now")
    assert [record.text for record in await taking] == ["now"]
    assert time.monotonic() - began < 0.5


async def test_what_was_seen_before_is_left_out(log: KernelLogFiles) -> None:
    write(log, "one", "two", "three")
    assert [record.text for record in await take(follow(log, after_sequence=1), 1)] == ["three"]


async def test_a_line_that_came_both_ways_is_told_once(log: KernelLogFiles) -> None:
    source = follow(log)
    assert source.state().readable
    write(log, "one")
    pipe = os.open(log.pipe, os.O_WRONLY | os.O_NONBLOCK)
    os.write(pipe, b"4,0,1000000,-;one\n")
    os.close(pipe)
    records = await take(source, 2, lambda count: write(log, "two") if count == 1 else None)
    assert [record.text for record in records] == ["one", "two"]


async def test_lines_that_a_full_pipe_did_not_take_are_counted_as_lost(log: KernelLogFiles) -> None:
    source = follow(log)
    assert source.state().readable
    log.history.write_bytes(b"")
    write(log, *(f"line {number} " + "x" * 200 for number in range(2000)))
    log.history.write_bytes(b"")
    taken: list[int] = []

    def after(count: int) -> None:
        if count == 1:
            log.history.write_bytes(b"4,1999,5,-;last\n")
            write(log, "new")

    async with asyncio.timeout(LIMIT_S), aclosing(source.records()) as stream:
        async for record in stream:
            taken.append(record.sequence or 0)
            after(len(taken))
            if record.sequence == 2000:
                break
    state = source.state()
    assert 0 < state.lost_records == 2001 - len(taken)
    assert state.lost_records == state.lost_recently
    assert source.state().lost_recently == 0


class Script:
    """The system call `read`, as a kernel with such a ring would answer it."""

    def __init__(self, *answers: bytes | int) -> None:
        self._answers = iter(answers)

    def __call__(self, _descriptor: int, _count: int) -> bytes:
        answer = next(self._answers, errno.EAGAIN)
        if isinstance(answer, int):
            raise OSError(answer, os.strerror(answer))
        return answer


def record(sequence: int, text: str = "text") -> bytes:
    return f"4,{sequence},1000000,-;{text}\n SUBSYSTEM=pci\n".encode()


def scripted(*answers: bytes | int, path: Path, after_sequence: int = -1) -> KernelLogSource:
    os.mkfifo(path)
    return KernelLogSource(lambda: DeviceReader(path, read=Script(*answers)), after_sequence=after_sequence)


@pytest.mark.parametrize(
    ("answers", "after", "sequences", "lost"),
    [
        pytest.param([record(5), record(6)], -1, [5, 6], 0, id="first start: what was before is not ours"),
        pytest.param([record(5), record(6)], 3, [5, 6], 1, id="overwritten while the agent was away"),
        pytest.param([record(5), errno.EPIPE, record(40)], -1, [5, 40], 34, id="overrun"),
        pytest.param([errno.EPIPE, record(40)], -1, [40], 1, id="overrun at once"),
        pytest.param([record(5), errno.EPIPE, errno.EPIPE, record(9)], -1, [5, 9], 3, id="overrun twice"),
        pytest.param([record(5), errno.EINVAL, record(7)], -1, [5, 7], 1, id="too long a record"),
        pytest.param([record(5), record(9)], -1, [5, 9], 0, id="numbers that the kernel left out"),
        pytest.param([record(5), b"\xff\x00", b"\n", record(6)], -1, [5, None, 6], 0, id="no record at all"),
    ],
)
async def test_losses_are_counted_by_record_number(
    tmp_path: Path, answers: list[bytes | int], after: int, sequences: list[int | None], lost: int
) -> None:
    source = scripted(*answers, path=tmp_path / "kmsg", after_sequence=after)
    assert sequences == [each.sequence for each in await take(source, len(sequences))]
    state = source.state()
    assert (lost, lost) == (state.lost_records, state.lost_recently)


async def test_an_error_ends_the_stream_and_the_state_says_so(tmp_path: Path) -> None:
    source = scripted(record(5), errno.EIO, path=tmp_path / "kmsg")
    with pytest.raises(CannotObserve, match="reading failed: Input/output error"):
        await take(source, 2)
    state = source.state()
    assert (state.readable, state.because) == (False, "reading failed: Input/output error")


@pytest.mark.parametrize("file", ["/dev/zero", "/etc/passwd"])
async def test_a_file_that_is_no_kernel_log_is_not_taken_for_a_quiet_one(file: str) -> None:
    source = KernelLogSource(lambda: DeviceReader(Path(file)))
    with pytest.raises(CannotObserve, match="it is no kernel log, its first record has no number"):
        await take(source, 1)
    assert not source.state().readable


async def test_a_log_that_is_not_there_is_told() -> None:
    source = KernelLogSource(lambda: DeviceReader(Path("/no/such/log")))
    state = source.state()
    assert (state.readable, state.because) == (False, "/no/such/log: No such file or directory")
    with pytest.raises(CannotObserve, match="No such file"):
        await take(source, 1)


async def test_a_log_that_may_not_be_read_says_what_it_takes() -> None:
    def refuse() -> DeviceReader:
        raise PermissionError(errno.EPERM, "Operation not permitted", "/dev/kmsg")

    state = KernelLogSource(refuse).state()
    assert not state.readable
    assert state.because == "/dev/kmsg: Operation not permitted; it takes root or CAP_SYSLOG"


async def test_a_plain_file_in_place_of_the_log_is_an_error_and_no_busy_loop(tmp_path: Path) -> None:
    (tmp_path / "kmsg").write_bytes(record(1))
    source = KernelLogSource(lambda: DeviceReader(tmp_path / "kmsg"))
    with pytest.raises(CannotObserve, match="no kernel log"):
        await take(source, 2)


async def test_a_flood_starves_nobody_and_loses_nothing(log: KernelLogFiles) -> None:
    count, turns = 50_000, 0
    write(log, *(f"NVRM: line {number}" for number in range(count)))

    async def watch() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    source = follow(log)
    assert source.state().readable
    watching = asyncio.create_task(watch())
    records = await take(source, count)
    watching.cancel()
    assert [(0, "NVRM: line 0"), (count - 1, f"NVRM: line {count - 1}")] == [
        (record.sequence, record.text) for record in (records[0], records[-1])
    ]
    assert source.state().lost_records == 0
    assert turns >= count // BATCH_RECORDS - 2


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(noise=st.lists(st.binary(max_size=300), max_size=8))
def test_no_bytes_stop_the_reader(tmp_path_factory: pytest.TempPathFactory, noise: list[bytes]) -> None:
    files = KernelLogFiles(tmp_path_factory.mktemp("log"))
    files.create()
    files.history.write_bytes(b"\n".join(noise) + b"\n4,99999999999999999999,1,-;the last\n")

    async def read() -> str:
        source = follow(files)
        async with asyncio.timeout(LIMIT_S), aclosing(source.records()) as stream:
            async for each in stream:
                if each.text == "the last":
                    return each.text
        return ""

    assert asyncio.run(read()) == "the last"


def is_writable() -> bool:
    try:
        os.close(os.open(KMSG, os.O_RDWR | os.O_NONBLOCK))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not is_writable(), reason="needs root and /dev/kmsg")
async def test_a_record_of_the_real_kernel_log_comes_at_once_and_as_a_process_wrote_it() -> None:
    source = KernelLogSource()
    text = f"fleetmend test {os.getpid()}"
    writing = asyncio.get_running_loop().call_later(0.1, lambda: KMSG.write_bytes(f"<4>{text}\n".encode()))
    async with asyncio.timeout(LIMIT_S):
        async for each in source.records():
            if each.text == text:
                assert (each.facility, each.severity) == (1, 4)
                break
    writing.cancel()
    assert source.state().lost_records == 0


@contextmanager
def unlimited_writes() -> Iterator[None]:
    """Let this process write to the kernel log as fast as it can; the host's setting is put back."""
    before = RATE_LIMIT.read_text().strip()
    RATE_LIMIT.write_text("on\n")
    try:
        yield
    finally:
        RATE_LIMIT.write_text(f"{before}\n")


def flood(count: int) -> None:
    with unlimited_writes(), KMSG.open("wb", buffering=0) as kernel_log:
        for number in range(count):
            kernel_log.write(f"<7>fleetmend flood {number} {'x' * 200}\n".encode())


@pytest.mark.skipif(not is_writable() or not os.access(RATE_LIMIT, os.W_OK), reason="needs root and /dev/kmsg")
@pytest.mark.parametrize("reopen", [False, True])
async def test_the_real_kernel_log_tells_how_many_records_were_overwritten(*, reopen: bool) -> None:
    source = KernelLogSource()
    if reopen:
        (first,) = await take(source, 1)
        flood(20_000)
        (then,) = await take(source, 1)
    else:
        first, then = await take(source, 2, lambda count: flood(20_000) if count == 1 else None)
    assert (then.sequence or 0) > (first.sequence or 0) + 1
    assert source.state().lost_records == (then.sequence or 0) - (first.sequence or 0) - 1
