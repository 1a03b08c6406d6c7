"""Processes that measure for a benchmark's process: whatever they do, it goes on."""

from __future__ import annotations

import os
import sys

import msgspec
import pytest

from agent.bench.child import Broken, Progress
from agent.bench.passes import MOST_BYTES, Late, result_of, run_to_end
from agent.bench.watch import watch_of
from checks.bench_outcome import Outcome
from checks.bench_result import Benchmark, BenchResult
from tests.support.bench_child import Said, has_life, wish_for

RESULT = BenchResult(Benchmark.GEMM, Outcome.PASS, "It was measured.")
WISH = wish_for(Benchmark.GEMM)


def python(code: str) -> tuple[str, str, str]:
    return sys.executable, "-c", code


def result(code: str, said: Said, *, limit_s: float = 20.0) -> BenchResult:
    return result_of(python(code), WISH, os.environ, say=said, watch=watch_of(limit_s))


def printed(*lines: bytes) -> str:
    """Return Python that prints lines and ends."""
    return f"import os; os.write(1, {b''.join(line + chr(10).encode() for line in lines)!r})"


def encoded(line: object) -> bytes:
    return msgspec.json.encode(line)


def test_a_result_is_returned_and_the_rest_passed_on() -> None:
    said = Said()

    assert result(printed(encoded(Progress(0.5)), encoded(RESULT)), said) == RESULT
    assert said.lines == [Progress(0.5)]


def test_what_a_library_prints_in_between_is_left_out() -> None:
    said = Said()

    assert result(printed(b"NCCL WARN \xff", b"", b"[]", b'{"type":"else"}', encoded(RESULT)), said) == RESULT
    assert said.lines == []


def test_the_process_gets_the_wish() -> None:
    code = f"import os, sys; wish = sys.stdin.readline(); os.write(1, {encoded(RESULT)!r} + b'\\n' * ('gemm' in wish))"

    assert result(code, Said()) == RESULT


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("", "the process that measures ended with code 0 without a result"),
        ("raise SystemExit(3)", "the process that measures ended with code 3 without a result"),
        ("import os; os.kill(os.getpid(), 11)", "the process that measures was ended by signal 11 without a result"),
    ],
)
def test_an_end_without_a_result_is_an_error(code: str, says: str) -> None:
    with pytest.raises(Broken) as broken:
        result(code, Said())

    assert str(broken.value) == says


@pytest.mark.parametrize("code", ["import time; time.sleep(60)", "import os, time; os.close(1); time.sleep(60)"])
def test_a_process_that_does_not_end_is_killed(code: str) -> None:
    pids: list[int] = []
    shown = f"import os; os.write(1, b'%d\\n' % os.getpid()); {code}"

    with pytest.raises(Late, match="did not end in time: it is in state S"):
        run_to_end(python(shown), os.environ, watch_of(3.0), take=lambda line: pids.append(int(line)))

    assert not has_life(pids[0])


def test_a_process_that_talks_without_end_is_killed() -> None:
    with pytest.raises(Broken, match=f"says more than {MOST_BYTES >> 20} MiB"):
        result("import os\nwhile True: os.write(1, b'x' * 65536)", Said())


def test_a_process_whose_parent_is_gone_already_does_nothing() -> None:
    init = 1

    assert (
        run_to_end((sys.executable, "-m", "agent.bench.nccl_pass", str(init), "0.0"), os.environ, watch_of(20.0)) == 1
    )


def test_a_program_that_is_not_there_is_an_error() -> None:
    with pytest.raises(Broken, match="no-such-program cannot be started"):
        run_to_end(("no-such-program",), os.environ, watch_of(3.0))
